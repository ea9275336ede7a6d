//! The installer executables of an overlay image: given, built here, or missing with a reason.

use imgcore::{Finding, Report};

use crate::{
    build::Context,
    error::{Error, Exit, Result},
    installer_bin::{self, Arch},
    overlay_image::Installer,
    request::Request,
};

/// Finds or builds the executables. What is missing is a warning, or an error if `--require-arch` names it.
///
/// # Errors
/// [`Exit::Usage`] for an unknown architecture, [`Exit::Input`] for a required one that is missing or a file that is no
/// such executable.
pub(crate) fn find(request: &Request, context: &Context<'_>) -> Result<(Vec<Installer>, Report)> {
    let mut wanted = installer_bin::Request::new();
    wanted.offline = context.network.options().offline;
    for (arch, path) in &request.installer_bin {
        wanted.given.insert(arch.parse()?, path.clone());
    }
    let mut required = Vec::new();
    for arch in &request.require_arch {
        required.push(arch.parse::<Arch>()?);
    }
    let outcome = installer_bin::provide(&wanted, context.progress)?;
    let mut report = Report::new();
    for lack in &outcome.lacks {
        let arch = lack.arch.oci();
        let needed = required.contains(&lack.arch);
        let finding = if needed {
            Finding::error("OVL102", format!("the overlay would lack the installer for {arch}: {}", lack.why))
        } else {
            Finding::warning("OVL101", format!("the overlay lacks the installer for {arch}: {}", lack.why))
        };
        report.push(finding.help(format!("{}\nor give one with --installer-bin {arch}=FILE", lack.command)));
        if needed {
            return Err(Error::new(
                Exit::Input,
                Finding::error("OVL102", format!("--require-arch {arch} cannot be met")),
            )
            .after(report));
        }
    }
    if outcome.provided.is_empty() {
        report.push(
            Finding::warning(
                "OVL103",
                "no overlay image is written: there is no installer executable for any architecture",
            )
            .help("see the findings above for the command that adds a compile target"),
        );
    }
    let installers =
        outcome.provided.into_iter().map(|provided| Installer { arch: provided.arch.oci(), blob: provided.blob });
    Ok((installers.collect(), report))
}
