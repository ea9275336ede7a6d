//! From bytes to abilities.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use dtbtool::Fdt;
use imgcore::{Finding, Report};

use super::{
    Abilities, Addresses, Answer, BuiltInTree, EfiVariables, Evidence, FirmwareKind, Medium, Target,
    environment::Environment,
    strings::{holds, texts},
};
use crate::{
    Fit, IDBLOCK_OFFSET, Soc,
    bootfile::{find_fit, first_stage_base},
    fit::{self, Image},
    loader, rules,
    util::{SECTOR, quote, slice, tail},
};

/// Images of a FIT that are looked into; real ones have one second stage.
const MAX_BODIES: usize = 4;

/// Words of `boot_targets` that are kept; real lists have ten.
const MAX_TARGETS: usize = 64;

/// Names of other device trees that are kept.
const MAX_NAMES: usize = 16;

/// A program that the SPL starts.
struct Body<'a> {
    bytes: std::borrow::Cow<'a, [u8]>,
    /// Where it is in the file.
    offset: u64,
    load: Option<u64>,
}

/// Finds the second stage in a file and tells what it can start.
///
/// The file may be a FIT (`u-boot.itb`, `uboot.img`), a file with an idblock in front of one (`u-boot-rockchip.bin`),
/// a `LOADER` image, or a plain program (`u-boot.bin`, a UEFI firmware volume). `None` when there is nothing to look at.
pub fn abilities(bytes: &[u8]) -> (Option<Abilities>, Report) {
    let mut report = Report::new();
    if bytes.is_empty() {
        return (None, report);
    }
    if let Some((at, fit)) = locate_fit(bytes) {
        let found = from_fit(bytes, at, &fit, &mut report);
        return (Some(found), report);
    }
    if first_stage_base(bytes).is_some() || loader::is_loader(bytes) || bytes.starts_with(b"BL3X") {
        // An idblock, a loader file, a trust image: none holds a second stage.
        return (None, report);
    }
    let (body, tree_from) = match loader_image(bytes) {
        Some(body) => (body, None),
        None => (Body { bytes: bytes.into(), offset: 0, load: None }, Some(0)),
    };
    let mut found = read_body(&body);
    found.load_address = body.load;
    // `u-boot.bin` has its tree behind the program.
    let base = tree_from.unwrap_or(body.offset);
    if found.kind != FirmwareKind::Edk2
        && found.kind != FirmwareKind::Unknown
        && let Some((at, fdt)) = last_tree(&body.bytes)
    {
        read_tree(&fdt, base.saturating_add(at as u64), &mut found);
    }
    if found.kind == FirmwareKind::Unknown {
        report.push(unknown("the file"));
    }
    (Some(found), report)
}

/// The FIT at the start, or behind an idblock.
pub(super) fn locate_fit(bytes: &[u8]) -> Option<(u64, Fit)> {
    if fit::is_tree(bytes) {
        return fit::parse(bytes).0.map(|fit| (0, fit));
    }
    let base = first_stage_base(bytes)?;
    find_fit(bytes, base.saturating_add(SECTOR)).map(|(at, fit, _)| (at, fit))
}

/// Whether the firmware of edk2-porting finds its variable store, an image of the FIT that nothing loads code from. It
/// looks at a fixed place of the medium, which is in the FIT only if that begins at 0x100000.
fn edk2_store(bytes: &[u8], at: u64) -> EfiVariables {
    const EDK2_FIT: u64 = 0x10_0000;
    match first_stage_base(bytes) {
        // A file of its own does not say where it is written.
        None => EfiVariables::Unknown,
        // What begins with the idblock is written at sector 64, the rest from the start of the medium.
        Some(0) if at.saturating_add(IDBLOCK_OFFSET) == EDK2_FIT => EfiVariables::Store,
        Some(base) if base > 0 && at == EDK2_FIT => EfiVariables::Store,
        Some(_) => EfiVariables::None,
    }
}

fn unknown(what: &str) -> Finding {
    Finding::warning(
        rules::FLW_UNKNOWN,
        format!("{what} is neither a U-Boot nor a UEFI firmware that is known here: nothing tells what it starts"),
    )
    .help("look at the board's serial console, or take a U-Boot whose version text can be read")
}

fn from_fit(bytes: &[u8], at: u64, fit: &Fit, report: &mut Report) -> Abilities {
    let rest = tail(bytes, at);
    let mut found = Abilities::unknown();
    let default = fit.default.as_ref().and_then(|name| fit.configurations.iter().find(|found| found.name == *name));
    let configuration = default.or(fit.configurations.first());
    // What the default configuration loads comes first; a FIT may hold images that nothing names.
    let named = |image: &Image| {
        configuration.is_some_and(|configuration| {
            configuration.loadables.contains(&image.name) || configuration.firmware.as_ref() == Some(&image.name)
        })
    };
    let mut candidates: Vec<&Image> = fit.images.iter().filter(|image| is_second_stage(image)).collect();
    candidates.sort_by_key(|image| (!says_second_stage(image), !named(image)));
    for image in candidates.iter().take(MAX_BODIES) {
        let Some(data) = unpacked(image, rest, report) else { continue };
        let offset = image.data.as_ref().map_or(at, |(_, range)| at.saturating_add(range.start));
        let body = read_body(&Body { bytes: data, offset, load: image.load });
        if body.kind != FirmwareKind::Unknown {
            found = body;
            found.load_address = image.load;
            break;
        }
        if found.load_address.is_none() {
            found.load_address = image.load;
        }
    }
    let trees = configuration.map(|configuration| configuration.fdt.as_slice()).unwrap_or_default();
    let tree = trees.iter().find_map(|name| fit.image(name)).or(fit.images.iter().find(|image| image.is_flat_dt()));
    if let Some(image) = tree
        && let Some(data) = unpacked(image, rest, report)
        && let Ok(fdt) = Fdt::parse(&data)
    {
        let offset = image.data.as_ref().map_or(at, |(_, range)| at.saturating_add(range.start));
        read_tree(&fdt, offset, &mut found);
    }
    if found.kind == FirmwareKind::Edk2 {
        let nvdata = fit.image("nvdata").and_then(|image| image.data.as_ref());
        if let Some((_, range)) = nvdata {
            let offset = at.saturating_add(range.start);
            found.evidence.push(Evidence { what: "variable store", offset });
        }
        if nvdata.is_some() || found.efi_variables == EfiVariables::Store {
            found.efi_variables = edk2_store(bytes, at);
        }
    }
    // binman names each configuration after the tree's source file, which is the default of `fdtfile` too.
    let described = configuration.and_then(|configuration| configuration.description.as_deref());
    if found.kind == FirmwareKind::UBootMainline
        && found.fdtfile.is_none()
        && fit.configurations.len() == 1
        && found.other_fdtfiles.is_empty()
        && let Some(name) = described.filter(|name| is_tree_name(name))
        && name.len() <= 128
    {
        found.fdtfile = Some(quote(name));
        found.evidence.push(Evidence { what: "description of the configuration", offset: at });
    }
    if found.kind == FirmwareKind::Unknown && report.is_empty() {
        report.push(unknown("the second stage of this FIT"));
    }
    found
}

/// Code that is neither TF-A nor a trusted operating system.
fn is_second_stage(image: &Image) -> bool {
    let os = image.os.as_deref().unwrap_or_default();
    !image.is_flat_dt()
        && !matches!(os, "arm-trusted-firmware" | "tee" | "op-tee")
        && !image.name.starts_with("atf")
        && !image.name.starts_with("optee")
}

fn says_second_stage(image: &Image) -> bool {
    let os = image.os.as_deref().unwrap_or_default();
    let named = matches!(image.name.as_str(), "u-boot" | "uboot" | "edk2");
    named || os.eq_ignore_ascii_case("u-boot") || os.eq_ignore_ascii_case("edk2")
}

fn unpacked<'a>(image: &Image, fit: &'a [u8], report: &mut Report) -> Option<std::borrow::Cow<'a, [u8]>> {
    if let Some(data) = image.uncompressed(fit) {
        return Some(data);
    }
    if image.is_uncompressed() {
        return None;
    }
    report.push(
        Finding::info(
            rules::FLW_COMPRESSED,
            format!(
                "image {} is compressed ({}) and cannot be unpacked here: what it starts is not known",
                quote(&image.name),
                quote(image.compression.as_deref().unwrap_or_default())
            ),
        )
        .at(image.data.as_ref().map_or(image.node..image.node.saturating_add(4), |(_, range)| range.clone()))
        .help("unpack it with `dumpimage -T flat_dt -p N` and gzip, and look at the result"),
    );
    None
}

/// The program in a legacy image of the vendor: 2 KiB header, load address at 16, size at 20.
fn loader_image(bytes: &[u8]) -> Option<Body<'_>> {
    let word = |at: u64| Some(u32::from_le_bytes(slice(bytes, &(at..at.saturating_add(4))).try_into().ok()?));
    if !bytes.starts_with(b"LOADER  ") {
        return None;
    }
    let (load, size) = (word(16)?, word(20)?);
    let data = slice(bytes, &(2048..2048_u64.saturating_add(u64::from(size))));
    Some(Body { bytes: data.into(), offset: 2048, load: Some(u64::from(load)) })
}

/// The last sound device tree in a program.
pub(super) fn last_tree(bytes: &[u8]) -> Option<(usize, Fdt<'_>)> {
    const MAX_ATTEMPTS: usize = 16;
    let magic = dtbtool::MAGIC.to_be_bytes();
    let places = bytes.chunks_exact(4).enumerate().rev().filter(|(_, word)| **word == magic);
    places.take(MAX_ATTEMPTS).find_map(|(index, _)| {
        let at = index.checked_mul(4)?;
        let fdt = Fdt::parse(bytes.get(at..)?).ok()?;
        fdt.root().property("compatible").is_some().then_some((at, fdt))
    })
}

/// What the texts of a U-Boot say.
#[derive(Default)]
struct Signs {
    version: Option<(usize, String)>,
    vendor: bool,
    bootefi: bool,
    fallback: bool,
    method_efi: bool,
    method_efi_manager: bool,
    method_extlinux: bool,
    method_script: bool,
    method_android: bool,
    variable_file: bool,
    variable_tee: bool,
    cpuid: bool,
    serial_mac: bool,
    prefixes: [bool; 3],
    stores: Vec<&'static str>,
    fdtfiles: Vec<String>,
}

/// `rockchip/rk3588-rock-5b.dtb`, as U-Boot writes it: it compares case too.
fn is_tree_name(text: &str) -> bool {
    text.strip_prefix("rockchip/").and_then(|rest| rest.strip_suffix(".dtb")).is_some_and(|name| !name.is_empty())
}

/// What every version text begins with: years and quarters since 2008.
const VERSION: &str = "U-Boot 20";

/// Drivers of the environment by their names in U-Boot.
const STORES: [(&str, &str); 6] = [
    (NOWHERE, NOWHERE),
    ("SPIFlash", "SPIFlash"),
    // The defaults of CONFIG_ENV_EXT4_FILE and CONFIG_ENV_FAT_FILE.
    ("/uboot.env", "EXT4"),
    ("uboot.env", "FAT"),
    ("Writing to %sMMC(%d)... ", "MMC"),
    ("Reading from MMC(%d)... ", "MMC"),
];

/// The driver that stores nothing. U-Boot asks it last.
const NOWHERE: &str = "nowhere";

/// Folders that mainline's EFI boot method looks into, besides the root.
const PREFIXES: [&str; 3] = ["/dtb", "/dtb/current", "/dtbs"];

fn signs(body: &[u8], offset: u64, evidence: &mut Vec<Evidence>) -> Signs {
    let mut signs = Signs::default();
    for (at, text) in texts(body) {
        let mut see = |what: &'static str, flag: &mut bool| {
            if !*flag {
                *flag = true;
                evidence.push(Evidence { what, offset: offset.saturating_add(at as u64) });
            }
        };
        // Other texts of a U-Boot hold its version too: the banner is the longest and begins with it.
        if let Some(start) = text.find(VERSION) {
            let version = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
            let is_version = version.get(11..12) == Some(".");
            if is_version && signs.version.as_ref().is_none_or(|(_, known)| version.len() > known.len()) {
                signs.version = Some((at, version.chars().take(160).collect()));
            }
        }
        match text {
            _ if text.ends_with("bootmeth_efi_mgr") => see("boot method efi_mgr", &mut signs.method_efi_manager),
            _ if text.ends_with("bootmeth_efi") => see("boot method efi", &mut signs.method_efi),
            _ if text.ends_with("bootmeth_extlinux") || text.ends_with("bootmeth_distro") => {
                see("boot method extlinux", &mut signs.method_extlinux);
            }
            _ if text.ends_with("bootmeth_script") => see("boot method script", &mut signs.method_script),
            _ if text.ends_with("bootmeth_android") => see("boot method android", &mut signs.method_android),
            _ if text.ends_with("bootefi") || text.contains("Boots an EFI payload") => {
                see("command bootefi", &mut signs.bootefi);
            }
            "ubootefi.var" => see("EFI variables in ubootefi.var", &mut signs.variable_file),
            "rkimgtest" | "bootrkp" | "boot_android" => see("vendor command", &mut signs.vendor),
            "rockchip_set_ethaddr" => see("Ethernet address from the chip", &mut signs.serial_mac),
            _ if text.contains("StandaloneMm") || text.contains("EFI_MM_") => {
                see("EFI variables in OP-TEE", &mut signs.variable_tee);
            }
            _ if text.starts_with("cpuid#") => see("serial number from the chip", &mut signs.cpuid),
            _ => {}
        }
        if text.len() >= 12 && text.to_ascii_lowercase().ends_with("bootaa64.efi") {
            see("EFI fallback name", &mut signs.fallback);
        }
        for (prefix, flag) in PREFIXES.iter().zip(&mut signs.prefixes) {
            *flag |= text == *prefix;
        }
        for (mark, name) in STORES {
            if text == mark && !signs.stores.contains(&name) {
                signs.stores.push(name);
            }
        }
        if is_tree_name(text)
            && text.len() <= 128
            && signs.fdtfiles.len() < MAX_NAMES
            && !signs.fdtfiles.iter().any(|known| known == text)
        {
            signs.fdtfiles.push(text.to_owned());
        }
    }
    signs
}

fn read_body(body: &Body<'_>) -> Abilities {
    let mut found = Abilities::unknown();
    let mut evidence = Vec::new();
    // Without a version the other texts say nothing, and a large file of something else is not searched for them.
    let signs = if holds(&body.bytes, VERSION.as_bytes()) {
        signs(&body.bytes, body.offset, &mut evidence)
    } else {
        Signs::default()
    };
    let Some((at, version)) = signs.version.clone() else {
        if let Some(at) = firmware_volume(&body.bytes) {
            uefi(&body.bytes, body.offset, at, &mut found);
        }
        return found;
    };
    found.evidence = evidence;
    found.evidence.push(Evidence { what: "version", offset: body.offset.saturating_add(at as u64) });
    found.kind = if signs.vendor || version.contains("U-Boot 2017.09") {
        FirmwareKind::UBootVendor
    } else {
        FirmwareKind::UBootMainline
    };
    found.version = Some(version);
    let environment = Environment::find(&body.bytes);
    if let Some((at, ..)) = environment.entries.first() {
        found.evidence.push(Evidence { what: "default environment", offset: body.offset.saturating_add(*at as u64) });
    }
    ways(&signs, &environment, &mut found);
    found.targets = environment
        .get("boot_targets")
        .map(|list| list.split_ascii_whitespace().take(MAX_TARGETS).map(target).collect())
        .unwrap_or_default();
    found.fdtfile = environment.get("fdtfile").filter(|name| !name.is_empty()).map(quote);
    if found.fdtfile.is_some()
        && let Some(at) = environment.offset("fdtfile")
    {
        found.evidence.push(Evidence { what: "fdtfile", offset: body.offset.saturating_add(at as u64) });
    }
    found.other_fdtfiles = signs.fdtfiles.into_iter().filter(|name| Some(name) != found.fdtfile.as_ref()).collect();
    found.dtb_prefixes = prefixes(&environment, signs.prefixes);
    found.addresses = Addresses {
        fdt: environment.address("fdt_addr_r"),
        kernel: environment.address("kernel_addr_r"),
        ramdisk: environment.address("ramdisk_addr_r"),
    };
    found.baud = environment.get("baudrate").and_then(|text| text.parse().ok());
    found.environment = signs.stores;
    if found.environment.len() > 1 {
        found.environment.retain(|name| *name != NOWHERE);
    }
    found.stable_mac = if signs.cpuid || signs.serial_mac { Answer::Yes } else { Answer::Unknown };
    found
}

/// Which ways there are, and whether the default boot command walks them.
fn ways(signs: &Signs, environment: &Environment<'_>, found: &mut Abilities) {
    let command = environment.get("bootcmd").map(str::to_owned);
    // `run NAME` is followed a few steps: `bootcmd=run distro_bootcmd`.
    let mut walked = command.clone().unwrap_or_default();
    for _ in 0..3 {
        let mut more = String::new();
        for (_, key, value) in &environment.entries {
            if *key != "bootcmd" && mentions(&walked, key) && !walked.contains(value) {
                more.push(' ');
                more.push_str(value);
            }
        }
        if more.is_empty() || walked.len() > 64 * 1024 {
            break;
        }
        walked.push_str(&more);
    }
    // distro_bootcmd runs `bootcmd_${target}`, which names cannot be followed; all of it is there for that.
    let distro = mentions(&walked, "distro_bootcmd") || walked.contains("bootcmd_${target}");
    let standard = walked.contains("bootflow");
    // Without a known command, what is compiled in is all that there is to say.
    let silent = command.is_none();
    let chosen = |name: &str| match environment.get("bootmeths") {
        Some(list) if !list.trim().is_empty() => list.split_ascii_whitespace().any(|word| word == name),
        _ => true,
    };
    let method = |present: bool, name: &str| present && chosen(name) && (standard || silent);
    let script = |key: &str| distro && environment.get(key).is_some();
    let answer = |yes: bool| if yes { Answer::Yes } else { Answer::No };
    let efi = method(signs.method_efi && signs.fallback, "efi")
        || script("scan_dev_for_efi")
        || (signs.bootefi && walked.contains("bootefi"));
    let manager = method(signs.method_efi_manager, "efi_mgr")
        || (signs.bootefi && (script("boot_efi_bootmgr") || walked.contains("bootefi bootmgr")));
    found.efi = answer(efi);
    found.efi_boot_manager = answer(manager);
    found.extlinux = answer(
        method(signs.method_extlinux, "extlinux") || script("scan_dev_for_extlinux") || walked.contains("sysboot"),
    );
    found.boot_scripts =
        answer(method(signs.method_script, "script") || script("scan_dev_for_scripts") || walked.contains("source "));
    found.android = answer(method(signs.method_android, "android") || walked.contains("boot_android"));
    found.efi_variables = if !efi && !manager {
        EfiVariables::None
    } else if signs.variable_file {
        EfiVariables::File
    } else if signs.variable_tee {
        EfiVariables::Unknown
    } else {
        EfiVariables::None
    };
    found.boot_command = command.map(|text| text.chars().take(400).collect());
}

/// Whether a command text names a variable as a word.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).take(16).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let behind = text.get(at.saturating_add(name.len())..).and_then(|rest| rest.chars().next());
        !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    })
}

fn target(name: &str) -> Target {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let medium = match kind {
        "nvme" => Some(Medium::Nvme),
        "scsi" | "sata" | "ahci" => Some(Medium::Scsi),
        "usb" => Some(Medium::Usb),
        "spi" | "sf" | "mtd" => Some(Medium::Spi),
        "pxe" | "dhcp" | "ethernet" | "net" => Some(Medium::Network),
        _ => None,
    };
    Target { name: quote(name), device: None, medium }
}

/// With a trailing slash each, in the order in which they are tried.
fn prefixes(environment: &Environment<'_>, seen: [bool; 3]) -> Vec<String> {
    const MAX_PREFIXES: usize = 16;
    if let Some(list) = environment.get("efi_dtb_prefixes") {
        return list.split_ascii_whitespace().take(MAX_PREFIXES).map(quote).collect();
    }
    let [dtb, current, dtbs] = seen;
    if !dtb {
        return Vec::new();
    }
    let all = [("/dtb/", dtb), ("/", dtb), ("/dtb/current/", current), ("/dtbs/", dtbs)];
    all.iter().filter(|(_, there)| *there).map(|(prefix, _)| (*prefix).to_owned()).collect()
}

/// Where a sound UEFI firmware volume starts: `_FVH` at 40 and a 16-bit sum of zero over its header.
fn firmware_volume(bytes: &[u8]) -> Option<usize> {
    const MAX_ATTEMPTS: usize = 64;
    let marks = bytes.chunks_exact(8).enumerate().filter(|(_, word)| word.starts_with(b"_FVH"));
    marks.take(MAX_ATTEMPTS).find_map(|(index, _)| {
        let start = index.checked_mul(8)?.checked_sub(40)?;
        let header = bytes.get(start..)?;
        let length = usize::from(u16::from_le_bytes(header.get(48..50)?.try_into().ok()?));
        let words = header.get(..length).filter(|header| header.len() >= 56)?.chunks_exact(2);
        let sum = words.fold(0_u16, |sum, word| match word {
            [low, high] => sum.wrapping_add(u16::from_le_bytes([*low, *high])),
            _ => sum,
        });
        (sum == 0).then_some(start)
    })
}

fn uefi(bytes: &[u8], offset: u64, at: usize, found: &mut Abilities) {
    /// EFI_SYSTEM_NV_DATA_FV_GUID, the file system of a volume that holds variables (UEFI PI specification, volume 3).
    const VARIABLE_STORE: [u8; 16] =
        [0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50];
    found.kind = FirmwareKind::Edk2;
    found.efi = Answer::Yes;
    found.efi_boot_manager = Answer::Yes;
    found.extlinux = Answer::No;
    found.boot_scripts = Answer::No;
    found.android = Answer::No;
    found.evidence.push(Evidence { what: "UEFI firmware volume", offset: offset.saturating_add(at as u64) });
    if bytes
        .chunks_exact(8)
        .zip(bytes.chunks_exact(8).skip(1))
        .any(|(low, high)| VARIABLE_STORE.starts_with(low) && VARIABLE_STORE.ends_with(high))
    {
        found.efi_variables = EfiVariables::Store;
    }
}

/// Identity, console, and what `mmc0` and `mmc1` mean.
fn read_tree(fdt: &Fdt<'_>, offset: u64, found: &mut Abilities) {
    const MAX_COMPATIBLE: usize = 16;
    let root = fdt.root();
    found.tree = Some(BuiltInTree {
        model: root.property("model").and_then(|model| model.as_str()).map(quote),
        compatible: root.compatible().take(MAX_COMPATIBLE).map(quote).collect(),
        offset,
    });
    found.soc = root_soc(fdt);
    found.evidence.push(Evidence { what: "device tree", offset });
    let chosen = fdt.find("/chosen").and_then(|chosen| chosen.property("stdout-path"));
    found.stdout_path = chosen.and_then(|path| path.as_str()).map(quote);
    let of_word = |word: &str| dtbtool::devices(fdt, word).into_iter().map(|device| device.path).collect::<Vec<_>>();
    let (cards, chips) = (of_word("sd"), of_word("emmc"));
    for target in &mut found.targets {
        let Some(path) = target.name.starts_with("mmc").then(|| fdt.alias(&target.name)).flatten() else { continue };
        target.device = Some(quote(path));
        target.medium = if chips.iter().any(|chip| chip == path) {
            Some(Medium::Emmc)
        } else if cards.iter().any(|card| card == path) {
            Some(Medium::Sd)
        } else {
            fdt.find(path).and_then(mmc_medium)
        };
    }
}

/// The SoC that a tree's root names: the last word of Rockchip's that is known, since the most general comes last.
pub(super) fn root_soc(fdt: &Fdt<'_>) -> Option<Soc> {
    fdt.root().compatible().filter_map(|text| Soc::from_name(text.strip_prefix("rockchip,")?)).last()
}

/// U-Boot's trees are stripped of much that tells a card from a chip; what is left is the controller.
fn mmc_medium(node: dtbtool::Node<'_>) -> Option<Medium> {
    let has = |name: &str| node.property(name).is_some();
    let fast = ["mmc-hs200-1_8v", "mmc-hs400-1_8v", "mmc-hs400-enhanced-strobe", "no-sd"];
    if fast.iter().any(|name| has(name))
        || node.compatible().any(|text| text.ends_with("dwcmshc") || text.contains("sdhci"))
    {
        Some(Medium::Emmc)
    } else if has("no-mmc") || has("cd-gpios") || has("disable-wp") || has("cap-sd-highspeed") {
        Some(Medium::Sd)
    } else {
        None
    }
}
