//! The command line of talos-rk: parses arguments, calls one function of `boardbuild`, renders what it says.

mod args;
mod commands;
mod corpus;
mod demo;
mod progress;
mod render;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, render::Outcome};

fn main() -> ExitCode {
    let json = std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return render::clap_error(&error, json),
    };
    let (name, run) = commands::dispatch(cli.command);
    let outcome = run(&cli.global);
    render::finish(name, &cli.global, outcome.unwrap_or_else(|error| Outcome::failed(&error)))
}
