//! `rkboot flow`.

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, ValueEnum};
use imgcore::Report;
use rkboot::{
    Soc,
    flow::{self, Abilities, Carried, CarriedTree, FirstStage, Medium, Scenario},
    pairing,
};
use serde_json::{Value, json};

use crate::{Failure, Outcome, files::read};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot flow u-boot-rockchip.bin
  rkboot flow idbloader.img uboot.img --carries efi
  rkboot flow u-boot.itb --dtb dtb/rockchip/rk3588s-nanopi-m6.dtb
  rkboot flow u-boot.itb --carries efi --dtb dtb/rockchip/rk3588s-nanopi-m6.dtb=rk3588s-nanopi-m6.dtb --medium sd

Exit codes: 0 done, 1 nothing of what the image carries is started, or the stages do not fit, 2 usage, 3 input missing,
4 input or output failed")]
pub(crate) struct Flow {
    /// An idbloader, and what it starts: a FIT, a LOADER image, a combined file, u-boot.bin or a UEFI firmware
    #[arg(required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// What the image carries, to be compared with what is started
    #[arg(long, value_delimiter = ',')]
    carries: Vec<Way>,
    /// The boot loader of the image needs EFI variables that the running system sets
    #[arg(long)]
    needs_efi_variables: bool,
    /// A device tree on the boot partition, with the file it is made of; without --carries its name and board alone are
    /// compared
    #[arg(long, value_name = "PATH[=FILE]")]
    dtb: Vec<String>,
    /// The medium that the boot loader is written to
    #[arg(long)]
    medium: Option<On>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// EFI/BOOT/BOOTAA64.EFI
    Efi,
    /// extlinux/extlinux.conf
    Extlinux,
    /// boot.scr
    Script,
    /// An Android boot image
    Android,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Sd,
    Emmc,
    Nvme,
    Spi,
}

pub(crate) fn run(arguments: &Flow) -> Result<Outcome, Failure> {
    let mut first: Option<FirstStage> = None;
    let mut second: Option<(Abilities, Vec<u8>, String)> = None;
    let mut report = Report::new();
    let mut front: Option<(Vec<u8>, String)> = None;
    for path in &arguments.files {
        let bytes = read(path)?;
        let name = path.file_name().map_or_else(String::new, |name| name.display().to_string());
        let usage = |what: &str| Failure {
            code: 2,
            error: anyhow::anyhow!("{}: a second {what} stage; give one boot chain", path.display()),
        };
        if let Some(stage) = flow::first_stage(&bytes) {
            if first.replace(stage).is_some() {
                return Err(usage("first"));
            }
            front = Some((bytes.clone(), name.clone()));
        }
        let (found, findings) = flow::abilities(&bytes);
        report.extend(findings.owned_by(&name, 0));
        if let Some(found) = found
            && second.replace((found, bytes, name)).is_some()
        {
            return Err(usage("second"));
        }
    }
    let mut made = None;
    if let Some((abilities, bytes, name)) = &second {
        let (scenario, findings) = flow::scenario(first.as_ref(), abilities, bytes);
        made = scenario;
        if let Some((front, name)) = &front {
            report.extend(pairing::check(front, bytes).owned_by(name, 0));
        }
        report.extend(findings.owned_by(name, 0));
        let carried = carried(arguments)?;
        if !arguments.carries.is_empty() || arguments.needs_efi_variables {
            report.extend(flow::check(abilities, &carried).owned_by(name, 0));
        } else if !arguments.dtb.is_empty() {
            report.extend(flow::check_trees(abilities, &carried).owned_by(name, 0));
        }
    } else {
        report.extend(flow::check_missing(first.as_ref(), &carried(arguments)?));
    }
    if let Some(medium) = arguments.medium {
        let medium = match medium {
            On::Sd => Medium::Sd,
            On::Emmc => Medium::Emmc,
            On::Nvme => Medium::Nvme,
            On::Spi => Medium::Spi,
        };
        report.extend(flow::check_media(second.as_ref().map(|(abilities, ..)| abilities), medium));
    }
    let abilities = second.as_ref().map(|(abilities, ..)| abilities);
    let text = render(first.as_ref(), abilities, made, &report);
    Ok(Outcome { text, result: result(first.as_ref(), abilities, made), report })
}

fn carried(arguments: &Flow) -> Result<Carried, Failure> {
    let has = |way| arguments.carries.contains(&way);
    let mut carried = Carried {
        // What needs EFI variables is started by EFI.
        efi_fallback_loader: has(Way::Efi) || (arguments.carries.is_empty() && arguments.needs_efi_variables),
        extlinux: has(Way::Extlinux),
        boot_script: has(Way::Script),
        android: has(Way::Android),
        needs_efi_variables: arguments.needs_efi_variables,
        trees: Vec::new(),
    };
    for dtb in &arguments.dtb {
        carried.trees.push(match dtb.split_once('=') {
            Some((path, file)) => CarriedTree::new(path, &read(file.as_ref())?),
            None => CarriedTree::named(dtb),
        });
    }
    Ok(carried)
}

fn render(
    first: Option<&FirstStage>,
    second: Option<&Abilities>,
    scenario: Option<Scenario>,
    report: &Report,
) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16}{value}");
    };
    if let Some(stage) = first {
        let version = stage.version.as_deref().map_or_else(String::new, |version| format!(", {version}"));
        row("first stage", &format!("{}{version}", stage.kind.describe()));
        if let Some(soc) = stage.soc {
            row("", &format!("for {soc}"));
        }
    }
    match second {
        None => row("second stage", "none in these files"),
        Some(found) => {
            let version = found.version.as_deref().map_or_else(String::new, |version| format!(", {version}"));
            row("second stage", &format!("{}{version}", found.kind.describe()));
            row("scenario", scenario.map_or("none that is known", Scenario::name));
            row("starts", &found.starts());
            row(
                "EFI",
                &format!(
                    "{}, boot manager {}, variables {}",
                    found.efi,
                    found.efi_boot_manager,
                    found.efi_variables.name()
                ),
            );
            if let Some(command) = &found.boot_command {
                row("boot command", command);
            }
            let targets: Vec<_> = found.targets.iter().map(describe).collect();
            if !targets.is_empty() {
                row("looks at", &targets.join(", "));
            }
            match &found.fdtfile {
                Some(name) => row("device tree", name),
                None => row("device tree", "named at run time, or its own"),
            }
            if !found.other_fdtfiles.is_empty() {
                row("", &format!("also names {}", found.other_fdtfiles.join(", ")));
            }
            if !found.dtb_prefixes.is_empty() {
                row("", &format!("looked for in {}", found.dtb_prefixes.join(" ")));
            }
            if let Some(tree) = &found.tree {
                let model = tree.model.as_deref().unwrap_or("no model");
                row("built-in tree", &format!("{model} ({})", tree.compatible.join(", ")));
            }
            let hex = |name: &str, value: Option<u64>| value.map(|value| format!("{name} {value:#x}"));
            let addresses: Vec<_> = [
                hex("U-Boot", found.load_address),
                hex("kernel", found.addresses.kernel),
                hex("ramdisk", found.addresses.ramdisk),
                hex("tree", found.addresses.fdt),
            ]
            .into_iter()
            .flatten()
            .collect();
            if !addresses.is_empty() {
                row("loaded to", &addresses.join(", "));
            }
            let console = [found.stdout_path.clone(), found.baud.map(|baud| format!("{baud} baud"))];
            let console: Vec<_> = console.into_iter().flatten().collect();
            if !console.is_empty() {
                row("console", &console.join(", "));
            }
            if !found.environment.is_empty() {
                row("environment", &found.environment.join(", "));
            }
            row("stable MAC", found.stable_mac.name());
        }
    }
    for finding in report {
        let _ = writeln!(text, "{finding}");
    }
    text
}

fn describe(target: &flow::Target) -> String {
    match target.medium {
        Some(medium) if target.name.starts_with("mmc") => format!("{} ({})", target.name, medium.name()),
        _ => target.name.clone(),
    }
}

fn result(first: Option<&FirstStage>, second: Option<&Abilities>, scenario: Option<Scenario>) -> Value {
    let second = second.map(|found| {
        json!({
            "kind": found.kind.name(),
            "version": found.version,
            "efi": found.efi.name(),
            "efi_boot_manager": found.efi_boot_manager.name(),
            "efi_variables": found.efi_variables.name(),
            "extlinux": found.extlinux.name(),
            "boot_scripts": found.boot_scripts.name(),
            "android": found.android.name(),
            "boot_command": found.boot_command,
            "targets": found.targets.iter().map(|target| json!({
                "name": target.name,
                "device": target.device,
                "medium": target.medium.map(Medium::name),
            })).collect::<Vec<_>>(),
            "fdtfile": found.fdtfile,
            "other_fdtfiles": found.other_fdtfiles,
            "dtb_prefixes": found.dtb_prefixes,
            "dtb_paths": found.dtb_paths(),
            "load_address": found.load_address,
            "fdt_addr_r": found.addresses.fdt,
            "kernel_addr_r": found.addresses.kernel,
            "ramdisk_addr_r": found.addresses.ramdisk,
            "stdout_path": found.stdout_path,
            "baud": found.baud,
            "environment": found.environment,
            "tree": found.tree.as_ref().map(|tree| json!({
                "model": tree.model, "compatible": tree.compatible, "offset": tree.offset,
            })),
            "soc": found.soc.map(Soc::name),
            "stable_mac": found.stable_mac.name(),
            "evidence": found.evidence.iter().map(|evidence| json!({
                "what": evidence.what, "offset": evidence.offset,
            })).collect::<Vec<_>>(),
        })
    });
    json!({
        "first": first.map(|stage| json!({
            "kind": stage.kind.name(),
            "version": stage.version,
            "offset": stage.offset,
            "soc": stage.soc.map(Soc::name),
        })),
        "second": second,
        "scenario": scenario.map(Scenario::name),
    })
}
