//! `ci`: what `.ci/run` runs, step by step, each of which a developer can run alone.

use std::process::Command;

use boardbuild::{Error, Exit, Finding};

use crate::{
    args::{CiArgs, Global},
    commands::home,
    render::Outcome,
};

/// A step: its name, what it proves, its command.
struct Step {
    name: &'static str,
    proves: &'static str,
    command: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const fn step(name: &'static str, proves: &'static str, command: &'static [&'static str]) -> Step {
    Step { name, proves, command, environment: &[] }
}

/// The steps in order. The last is the README's own test command, so that its closing line ends the output.
const STEPS: &[Step] = &[
    step("fmt", "the text is formatted", &["cargo", "fmt", "--all", "--check"]),
    step(
        "clippy",
        "no lint speaks",
        &["cargo", "clippy", "--workspace", "--all-targets", "--all-features", "--quiet", "--", "-D", "warnings"],
    ),
    Step {
        name: "doc",
        proves: "the documentation builds without a warning",
        command: &["cargo", "doc", "--workspace", "--no-deps", "--all-features", "--quiet"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    step(
        "deny",
        "dependencies are licensed, known and without bans",
        &["cargo", "deny", "--all-features", "--log-level", "error", "check", "bans", "licenses", "sources"],
    ),
    step("docs", "generated pages are those of their generator", &["cargo", "xtask", "docs", "--check"]),
    step("fixtures", "fixtures are those of their generator", &["cargo", "xtask", "fixtures", "--check"]),
    step("demo", "the README's first command works", &["cargo", "xtask", "image", "demo"]),
    step(
        "features",
        "libraries stand without their default features",
        &["cargo", "check", "--quiet", "-p", "rawimg", "-p", "talosimg", "-p", "rkboot", "--no-default-features"],
    ),
    step(
        "programs",
        "the libraries' programs do what their help says",
        &[
            "cargo",
            "test",
            "--quiet",
            "-p",
            "rkboot",
            "-p",
            "dtbtool",
            "-p",
            "ocipack",
            "-p",
            "rawimg",
            "--features",
            "rkboot/cli,dtbtool/cli,ocipack/cli,rawimg/cli",
            "--test",
            "cli",
            "--test",
            "cli_judge",
            "--test",
            "golden",
        ],
    ),
    step(
        "installers",
        "an installer executable does not know the folder it was compiled in",
        &["cargo", "test", "-p", "boardbuild", "--lib", "--quiet", "--", "--ignored"],
    ),
    step("test", "the README's second command", &["cargo", "test", "--workspace"]),
];

/// Runs the steps.
pub(crate) fn run(args: &CiArgs, global: &Global) -> Result<Outcome, Error> {
    let home = home()?;
    for wanted in &args.steps {
        if !STEPS.iter().any(|step| step.name == wanted) {
            let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            return Err(Error::usage(format!("no step of this name: {wanted}"))
                .or_help(&format!("steps: {}", names.join(", "))));
        }
    }
    let mut done = Vec::new();
    for step in STEPS.iter().filter(|step| args.steps.is_empty() || args.steps.iter().any(|name| name == step.name)) {
        if !global.json {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "== {}: {}", step.name, step.proves);
        }
        let (program, arguments) = step.command.split_first().unwrap_or((&"true", &[]));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&home.root).envs(step.environment.iter().copied());
        if global.json {
            command.stdout(std::process::Stdio::null());
        }
        let status = command.status().map_err(|error| {
            let finding = Finding::error("SRC001", format!("{program} cannot be started: {error}"))
                .help(".ci/run installs what the steps need");
            Error::new(Exit::Input, finding)
        })?;
        if !status.success() {
            let finding = Finding::error("VFY001", format!("step {} failed: {status}", step.name))
                .help(format!("run it alone with `cargo xtask ci --step {}`", step.name));
            return Err(Error::new(Exit::Refused, finding));
        }
        done.push(step.name);
    }
    Ok(Outcome { result: serde_json::json!({ "steps": done }), ..Outcome::default() })
}
