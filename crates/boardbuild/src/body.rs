//! The image as a plan: everything decided, nothing written.

use std::{collections::BTreeMap, sync::Arc};

use imgcore::{Blob, Digest, Epoch, Finding, Layout, ReadAt, Report, SectorSize, Sectors};
use rawimg::{Content, Extents, fat, gpt};
use talosimg::{Bootloader, Version, boot, cmdline, disk, kernel, meta, release};

use crate::{
    allow::Allowed,
    board::Board,
    error::{Error, Exit, Result},
    front::Front,
    initrd::{Initramfs, LayerRecord},
    inputs::Input,
    proof::layout,
    request::Request,
};

/// A driver that only the kernels of the SoC's maker have: it owns the console of their boards.
const VENDOR_KERNEL: &[u8] = b"rockchip,fiq-debugger\0";

/// Whose kernel it is, so that its device tree can be asked for the same.
fn generation(kernel: &kernel::KernelInfo) -> dtbtool::BindingGeneration {
    if kernel.has.first() == Some(&true) {
        dtbtool::BindingGeneration::Vendor
    } else {
        dtbtool::BindingGeneration::Mainline
    }
}

/// Largest image that is built: what the readers of compressed images take.
const LARGEST: u64 = 64 << 30;

/// What the table of releases says about a request.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The Talos release as the user wrote it.
    pub version: Version,
    /// Its row.
    pub release: &'static release::Release,
    /// The boot loader of the image.
    pub bootloader: Bootloader,
    /// Size of the image in bytes.
    pub size: u64,
}

impl Target {
    /// Decides release, boot loader and size.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a version or size that is none. A release outside the tested range is a finding.
    pub(crate) fn decide(request: &Request, board: &Board, default_talos: &str) -> Result<(Self, Report)> {
        let mut report = Report::new();
        let text = request.talos.as_deref().unwrap_or(default_talos);
        let version = Version::parse(text).map_err(|error| {
            Error::usage(format!("--talos: {error}")).or_help("write a release as vX.Y.Z: v1.13.9, say")
        })?;
        let release = match release::find(&version) {
            Ok(release) => release,
            Err(outside) => {
                let nearest = release::nearest(&version);
                report.push(Finding::error("VER001", outside.to_string()).help(format!(
                    "use a release of that range, or --allow VER001 to build it by the rules of v{}.{}",
                    nearest.minor.0, nearest.minor.1
                )));
                nearest
            }
        };
        let wanted = request.bootloader.or(board.overlay.as_ref().and_then(|overlay| overlay.bootloader));
        let bootloader = wanted.unwrap_or(release.bootloader);
        if bootloader == Bootloader::Grub {
            return Err(Error::usage("GRUB images are not written by this version").or_help("use --bootloader sd-boot"));
        }
        let size = request.size.unwrap_or(release.disk_size);
        if size == 0 || !size.is_multiple_of(512) {
            return Err(Error::usage(format!("--size: not a multiple of 512 bytes: {size}")).or_help(&format!(
                "the nearest ones are {} and {}",
                size / 512 * 512,
                (size / 512).saturating_add(1).saturating_mul(512)
            )));
        }
        if size > LARGEST {
            return Err(Error::usage(format!("--size: {size} bytes are more than an image may have: {LARGEST}"))
                .or_help(
                    "Talos grows into the whole disk at its first boot; the image need not be as large as the disk",
                ));
        }
        Ok((Self { version, release, bootloader, size }, report))
    }

    /// The partition table that is asked for.
    pub(crate) fn table(&self, offset: u64) -> gpt::Spec {
        disk::table(self.release, self.bootloader, self.size, Sectors(offset))
    }
}

/// Where an input ends up in the image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", tag = "in")]
pub enum Place {
    /// Bytes in front of the partitions.
    Disk {
        /// First byte.
        start: u64,
        /// Count of bytes.
        length: u64,
    },
    /// A file on the ESP.
    Esp {
        /// Its path.
        path: String,
    },
    /// A section of the unified kernel image.
    Uki {
        /// Path of the unified kernel image on the ESP.
        path: String,
        /// Its name.
        section: String,
        /// The bytes of the section that it is, first and behind the last; all of them without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<(u64, u64)>,
    },
    /// The sections of the stub are those of the unified kernel image.
    Stub,
    /// The file `spi.bin`.
    Spi,
    /// A layer of the installer image.
    Installer,
    /// A file system image in the initramfs.
    Extension {
        /// Its name there.
        image: String,
    },
    /// Part of a device tree on the ESP.
    Tree {
        /// Its path.
        path: String,
    },
}

/// A finished plan.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Release, boot loader, size.
    pub target: Target,
    /// Kernel command line.
    pub command_line: String,
    /// Release that the kernel says it has.
    pub kernel_release: Option<String>,
    /// Who owns which bytes.
    pub layout: Layout,
    /// The image.
    pub disk: Extents,
    /// The unified kernel image.
    pub uki: Blob,
    /// systemd-boot.
    pub sd_boot: Blob,
    /// System extensions, in the order of the nodes' list.
    pub extensions: Vec<LayerRecord>,
    /// Inputs with the SHA-256 of the bytes in the image and where those are.
    pub inputs: Vec<(Input, Digest, Place)>,
    /// SHA-256 over what the image is made of and where; the same in every version of the compressors.
    pub digest: Digest,
    /// What was found.
    pub report: Report,
}

/// Inputs other than those of the board.
pub(crate) struct Materials<'a> {
    /// The board.
    pub board: &'a Board,
    /// Its files.
    pub front: &'a Front,
    /// The Talos files by role.
    pub base: BTreeMap<&'static str, Input>,
    /// The instant that reaches bytes.
    pub epoch: Epoch,
    /// What the kernel is.
    pub kernel: Option<kernel::KernelInfo>,
    /// The kernel command line.
    pub command_line: cmdline::Cmdline,
    /// The initramfs with everything that is put behind it.
    pub initramfs: Option<Initramfs>,
}

/// Looks at the kernel: its release, and whose it is.
pub(crate) fn look_at_kernel(base: &BTreeMap<&'static str, Input>) -> (Option<kernel::KernelInfo>, Report) {
    let Some(input) = base.get("kernel") else { return (None, Report::new()) };
    let (info, report) = kernel::look(&input.blob, &[VENDOR_KERNEL]);
    (info, report.owned_by("kernel", 0))
}

impl Plan {
    /// Proves and plans the image. Every reason to refuse is collected before it refuses.
    ///
    /// # Errors
    /// [`Exit::Refused`] with findings at error level that were not allowed.
    pub(crate) fn make(
        target: Target,
        request: &Request,
        materials: &Materials<'_>,
        allowed: &Allowed,
        mut report: Report,
    ) -> Result<Self> {
        let Materials { board, front, base, epoch, kernel: kernel_info, command_line, initramfs: whole } = materials;
        report.extend(front.report.clone());
        let (spec, layout) = prove_layout(&target, board, front, &mut report)?;
        let input = |role: &str| -> Result<&Input> {
            base.get(role).ok_or_else(|| {
                let finding = Finding::error("SRC001", format!("the build needs the input {role}"))
                    .help(format!("give it as --source {role}=FILE or with --base dir:DIR"));
                Error::new(Exit::Input, finding)
            })
        };
        let (kernel_input, initramfs) = (input("kernel")?, input("initramfs")?);
        let (sd_boot, stub) = (input("systemd-boot")?, input("systemd-stub")?);
        check_initramfs(&initramfs.blob, &mut report)?;
        for (role, program) in [("systemd-boot", sd_boot), ("systemd-stub", stub)] {
            check_efi_program(role, &program.blob, &mut report)?;
        }
        let mut found = command_line.check().owned_by("kernel command line", 0);
        for finding in &mut found {
            finding.message = crate::record::redact(&finding.message);
        }
        report.extend(found);
        if let Some(tree) = &front.dtb {
            let text = command_line.to_string();
            let generation = kernel_info.as_ref().map(generation);
            report.extend(tree.prove(&[text.as_str()], generation, front.chain.abilities()));
        }
        report.extend(prove_flow(&target, board, front));
        let meta_bytes = if request.meta.is_empty() {
            None
        } else {
            Some(meta::encode(&request.meta).map_err(|error| Error::usage(format!("--meta: {error}")))?)
        };

        let report = allowed.apply(report);
        if report.has_errors() {
            return Err(Error::refused(report));
        }

        let refuse = |error: &dyn std::fmt::Display| {
            Error::refused(std::iter::once(Finding::error("VER003", error.to_string())).collect()).after(report.clone())
        };
        let kernel_release = kernel_info.as_ref().map(|info| info.release.clone());
        let assets = boot::Assets {
            kernel: kernel_input.blob.clone(),
            initramfs: whole.as_ref().map_or_else(|| initramfs.blob.clone(), |whole| whole.blob.clone()),
            stub: stub.blob.clone(),
            sd_boot: sd_boot.blob.clone(),
            splash: base.get("splash").map(|input| input.blob.clone()),
            uname: kernel_release.clone(),
        };
        let uki = boot::uki(target.release, &target.version, &assets, command_line, *epoch)
            .map_err(|error| refuse(&error))?;
        let uki_blob = Blob::new("unified kernel image", Arc::new(uki.clone()), None);
        let extra: Vec<(String, Blob)> = front.dtb.iter().map(|tree| (tree.path.clone(), tree.blob.clone())).collect();
        let tree = boot::esp(target.release, &target.version, uki, sd_boot.blob.clone(), &extra)
            .map_err(|error| refuse(&error))?;

        let table = gpt::plan(&spec).map_err(|error| too_small(&error))?;
        let mut disk = Extents::new(target.size);
        let planned = |error: rawimg::Error| too_small(&error);
        table.insert_into(&mut disk).map_err(planned)?;
        for file in front.in_image() {
            disk.insert(file.placement.start, &file.placement.name, file.blob.clone().into()).map_err(planned)?;
        }
        for partition in &table.partitions {
            let content = match partition.name.as_str() {
                "EFI" => {
                    let options = disk::fat_options(target.release, target.size, partition, *epoch);
                    Some(fat::plan(&tree, &options).map_err(planned)?.extents.into())
                }
                "META" => meta_bytes.clone().map(Into::into),
                _ => None,
            };
            if let Some(content) = content {
                table.insert_partition(&mut disk, partition, content).map_err(planned)?;
            }
        }
        let before = whole.as_ref().map_or(0, |whole| whole.before);
        let inputs = place_inputs(&target, front, base, before);
        let digest = plan_digest(&disk)?;
        Ok(Self {
            command_line: command_line.to_string(),
            kernel_release,
            layout,
            disk,
            uki: uki_blob,
            sd_boot: sd_boot.blob.clone(),
            extensions: whole.as_ref().map(|whole| whole.layers.clone()).unwrap_or_default(),
            inputs,
            digest,
            report,
            target,
        })
    }
}

/// Proves the layout; findings go to the report, a table that does not fit is an error at once.
pub(crate) fn prove_layout(
    target: &Target,
    board: &Board,
    front: &Front,
    report: &mut Report,
) -> Result<(gpt::Spec, Layout)> {
    let spec = target.table(board.partition_offset());
    let placements = front.placements();
    let (map, found) =
        layout::prove(&spec, &placements, &board.reserved).map_err(|error| too_small(&error).after(report.clone()))?;
    report.extend(found);
    // The proof is of installs too, which may write what this image leaves to the flash; the picture is of the image.
    let map = if front.spi_boot {
        layout::map(layout::Situation::Image, SectorSize::B512, &spec, &[], &board.reserved)
            .map_err(|error| too_small(&error))?
    } else {
        map
    };
    if placements.is_empty() && board.overlay.is_some() && front.spi.is_none() {
        report.push(
            Finding::warning("LAY006", "the image carries no boot loader in front of its partitions")
                .of(board.name.clone())
                .help("the board starts only if it has a boot loader elsewhere, in SPI flash say"),
        );
    }
    Ok((spec, map))
}

/// Proves that the board's boot loader starts an image of this kind.
pub(crate) fn prove_flow(target: &Target, board: &Board, front: &Front) -> Report {
    let mut trees = Vec::new();
    if let Some(tree) = &front.dtb {
        trees.push(rkboot::flow::CarriedTree::new(format!("/{}", tree.path), &tree.bytes));
    }
    let carried = rkboot::flow::Carried {
        efi_fallback_loader: true,
        // systemd-boot finds the image of an upgrade by the variable LoaderEntryOneShot or LoaderEntryDefault.
        needs_efi_variables: target.bootloader == Bootloader::SdBoot,
        trees,
        ..rkboot::flow::Carried::default()
    };
    let scenario = Some((board, front.scenario.as_deref()));
    let mut report = front.chain.check(&carried, scenario);
    if let Some(other) = &front.other_chain {
        report.extend(other.check(&carried, scenario));
    }
    report
}

fn too_small(error: &rawimg::Error) -> Error {
    let code = match error.kind() {
        rawimg::ErrorKind::Overlap { .. } => "LAY003",
        _ => "LAY004",
    };
    Error::refused(std::iter::once(Finding::error(code, error.to_string())).collect())
        .or_help("give a larger --size, or leave it out")
}

fn check_initramfs(blob: &Blob, report: &mut Report) -> Result<()> {
    let mut head = [0; 6];
    let known: [&[u8]; 5] =
        [b"070701", &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X', b'Z'], &[0x1f, 0x8b], b"070702"];
    let count = blob.read_at(0, &mut head)?;
    let head = head.get(..count).unwrap_or_default();
    if !known.iter().any(|magic| head.starts_with(magic)) {
        report.push(
            Finding::error("VER003", "no initramfs: neither a cpio archive nor one compressed by zstd, xz or gzip")
                .at(0..blob.size().min(6))
                .of("initramfs")
                .help("the kernel would stop with `unable to mount root fs`; give initramfs.xz of the Talos release"),
        );
    }
    Ok(())
}

/// A PE32+ program for AArch64: `MZ`, the header offset at 0x3c, `PE\0\0`, machine AA64.
fn check_efi_program(role: &str, blob: &Blob, report: &mut Report) -> Result<()> {
    let mut head = [0; 64];
    let mut machine = [0; 6];
    let mut good = blob.size() > 64;
    if good {
        blob.read_exact_at(0, &mut head)?;
        let at = u64::from(u32::from_le_bytes([head[60], head[61], head[62], head[63]]));
        good = head.starts_with(b"MZ") && blob.size().saturating_sub(6) >= at;
        if good {
            blob.read_exact_at(at, &mut machine)?;
            good = machine == *b"PE\0\0\x64\xaa";
        }
    }
    if !good {
        report.push(
            Finding::error("VER003", format!("{role} is no EFI program for arm64"))
                .at(0..blob.size().min(64))
                .of(role)
                .help("the firmware would skip it and the board would stay dark; give the arm64 file of the Talos release"),
        );
    }
    Ok(())
}

fn place_inputs(
    target: &Target,
    front: &Front,
    base: &BTreeMap<&'static str, Input>,
    before: u64,
) -> Vec<(Input, Digest, Place)> {
    let uki = boot::uki_path(&target.version);
    let mut inputs = Vec::new();
    for file in front.in_image() {
        let place = Place::Disk { start: file.placement.start, length: file.placement.written };
        inputs.push((file.input.clone(), file.digest, place));
    }
    if let Some(tree) = &front.dtb {
        inputs.push((tree.input.clone(), tree.digest, Place::Esp { path: tree.path.clone() }));
        for overlay in &tree.overlays {
            inputs.push((overlay.clone(), overlay.sha256, Place::Tree { path: tree.path.clone() }));
        }
    }
    if let Some(input) = front.spi.as_ref().and_then(|spi| spi.input.as_ref()) {
        inputs.push((input.clone(), input.sha256, Place::Spi));
    }
    for (role, input) in base {
        let section = |name: &str| Place::Uki { path: uki.clone(), section: name.to_owned(), range: None };
        let place = match *role {
            "kernel" => section(".linux"),
            // What extensions add stands behind it, microcode in front of it.
            "initramfs" => {
                let range = Some((before, before.saturating_add(input.blob.size())));
                Place::Uki { path: uki.clone(), section: ".initrd".to_owned(), range }
            }
            "splash" => section(".splash"),
            "systemd-boot" => Place::Esp { path: boot::SD_BOOT_PATH.to_owned() },
            _ => Place::Stub,
        };
        inputs.push((input.clone(), input.sha256, place));
    }
    inputs
}

/// SHA-256 over every piece of the image: where it starts, how long it is, what its bytes are.
fn plan_digest(disk: &Extents) -> Result<Digest> {
    let mut hasher = imgcore::Hasher::new();
    hasher.update(format!("plan 1\n{}\n", disk.len()).as_bytes());
    for leaf in disk.leaves() {
        let digest = match &leaf.content {
            // An input knows its digest; it is not read again.
            Content::Blob(blob) => blob.compute_digest()?,
            Content::Bytes(bytes) => Digest::of(bytes),
            _ => continue,
        };
        let range = leaf.range();
        hasher.update(format!("{}..{} {digest}\n", range.start, range.end).as_bytes());
    }
    Ok(hasher.finish())
}
