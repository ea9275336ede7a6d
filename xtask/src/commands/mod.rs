//! One file per command.

mod bless;
mod boards;
mod cache;
mod ci;
mod docs;
mod fetch;
mod fixtures;
mod image;
mod inspect;
mod lock;
mod pull;
mod push;
mod vendor;
mod verify;

use std::path::PathBuf;

use boardbuild::{Context, Error, Home, Network, NetworkOptions, Secret, Store};

use crate::{
    args::{Command, Global},
    progress::Reporter,
    render::Outcome,
};

type Run = Box<dyn FnOnce(&Global) -> Result<Outcome, Error>>;

/// The name and the function of a command.
pub(crate) fn dispatch(command: Command) -> (&'static str, Run) {
    match command {
        Command::Image(args) => ("image", Box::new(move |global| image::image(&args, global))),
        Command::Overlay(args) => ("overlay", Box::new(move |global| image::overlay(&args, global))),
        Command::Installer(args) => ("installer", Box::new(move |global| image::installer(&args, global))),
        Command::Boards(args) => ("boards", Box::new(move |_| boards::run(args))),
        Command::Lock(args) => ("lock", Box::new(move |global| lock::run(&args, global))),
        Command::Verify(args) => ("verify", Box::new(move |global| verify::run(&args, global))),
        Command::Inspect(args) => ("inspect", Box::new(move |_| inspect::run(&args))),
        Command::Fetch(args) => ("fetch", Box::new(move |global| fetch::run(&args, global))),
        Command::Vendor(args) => ("vendor", Box::new(move |global| vendor::run(&args, global))),
        Command::Push(args) => ("push", Box::new(move |global| push::run(&args, global))),
        Command::Pull(args) => ("pull", Box::new(move |global| pull::run(&args, global))),
        Command::Cache(args) => ("cache", Box::new(move |global| cache::run(args.command, global))),
        Command::Ci(args) => ("ci", Box::new(move |global| ci::run(&args, global))),
        Command::Docs(args) => ("docs", Box::new(move |_| docs::run(&args))),
        Command::Fixtures(args) => ("fixtures", Box::new(move |_| fixtures::run(&args))),
        Command::Bless => ("bless", Box::new(|_| bless::run())),
    }
}

/// The workspace: where `boards/` is.
fn home() -> Result<Home, Error> {
    let built_in = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default();
    let here = std::env::current_dir()?;
    Home::find(&built_in, &here)
}

fn store(global: &Global) -> Result<Store, Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let root = global
        .cache_dir
        .clone()
        .or_else(|| variable("TALOS_RK_CACHE").map(PathBuf::from))
        .or_else(|| Store::default_root(variable))
        .ok_or_else(|| {
            Error::usage("no folder for the store: the environment names no home")
                .or_help("give one with --cache-dir DIR")
        })?;
    Store::open(&root)
}

/// Runs `work` with everything that a build needs.
fn with_context<T>(global: &Global, work: impl FnOnce(&Context<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let reporter = Reporter::new(global.json);
    let (home, store) = (home()?, store(global)?);
    let network = Network::new(NetworkOptions {
        offline: global.offline,
        plain_http: global.plain_http.clone(),
        ca_file: global.ca_file.clone(),
        mirrors: global.mirrors.clone(),
        auth_files: boardbuild::auth_files(|name| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        }),
        github_token: std::env::var("GITHUB_TOKEN").ok().filter(|token| !token.is_empty()).map(Secret::new),
    })
    .cancelled_by(reporter.stopper())
    .telling(reporter.teller());
    work(&Context { home: &home, store: &store, network: &network, progress: &reporter })
}
