//! Makes FITs: `u-boot.itb` as U-Boot's build makes it, and the vendor's form.
//!
//! The mainline form has the nodes, properties and order of binman's template (`arch/arm/dts/rockchip-u-boot.dtsi` of
//! U-Boot v2026.01) and is byte for byte what `mkimage -E -B 0x200` makes of the same source. The leftovers of binman
//! (`filename`, `insert-template`, `offset`, `size`, `image-pos`, empty subnodes) are left out: no SPL reads them. The
//! vendor form has those of Rockchip's `fit_nodes.sh` (U-Boot v2017.09): a `totalsize` in the root, from which the
//! vendor's SPL takes how much to read, and data that counts from the tree's end rounded up to 512 bytes.
//!
//! ```
//! use rkboot::{Soc, fit::{self, build::{DeviceTree, Options, Parts, plan}}};
//!
//! let tree = dtbtool::model::DeviceTree::new().to_bytes(&dtbtool::WriteOptions::default())?;
//! # let mut bl31 = vec![0; 120];
//! # bl31[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
//! # (bl31[18], bl31[26], bl31[32], bl31[54], bl31[56], bl31[64], bl31[72]) = (183, 4, 64, 56, 1, 1, 120);
//! # (bl31[90], bl31[96], bl31[104]) = (4, 4, 4);
//! # bl31.extend_from_slice(b"code");
//! let parts = Parts {
//!     soc: Soc::Rk3588,
//!     u_boot: b"u-boot-nodtb.bin",
//!     device_trees: vec![DeviceTree { name: "rockchip/rk3588-board", bytes: &tree }],
//!     bl31: Some(&bl31), // an ELF file with one segment for 0x40000
//!     tee: None,
//! };
//! let plan = plan(&parts, &Options::default())?;
//! let bytes = plan.file.to_bytes();
//! assert_eq!(plan.file.size(), bytes.len() as u64);
//!
//! let (fit, _) = fit::parse(&bytes);
//! let fit = fit.unwrap();
//! assert_eq!(fit.image("u-boot").unwrap().load, Some(0x80_0000));
//! assert_eq!(fit.configurations[0].firmware.as_deref(), Some("atf-1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;

use imgcore::{Epoch, Finding, Report, Severity};

use super::{
    flat::{self, Node, Property},
    hash,
};
use crate::{
    Assembly, Error, ErrorKind, Soc,
    elf::{self, Elf},
};

/// Blobs and tree begin at multiples of this: SPLs read whole blocks (`fit,align` of binman, `FIT_ALIGN` of the vendor).
const ALIGN: usize = 512;

/// What a FIT is made of.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// Sets the architecture and the default addresses.
    pub soc: Soc,
    /// `u-boot-nodtb.bin`.
    pub u_boot: &'a [u8],
    /// U-Boot's own device trees, one configuration each; the first is the default. The vendor form has one.
    pub device_trees: Vec<DeviceTree<'a>>,
    /// TF-A as ELF file. 64-bit SoCs need it, 32-bit ones have none.
    pub bl31: Option<&'a [u8]>,
    /// OP-TEE.
    pub tee: Option<Tee<'a>>,
}

/// A device tree for U-Boot.
#[derive(Debug, Clone, Copy)]
pub struct DeviceTree<'a> {
    /// Its name without `.dtb`, such as `rockchip/rk3588-rock-5b`.
    pub name: &'a str,
    /// The tree, flattened.
    pub bytes: &'a [u8],
}

/// OP-TEE: an ELF file (`tee.elf`), a file with OP-TEE's header (`tee.bin`), or the plain program (rkbin's `bl32`).
#[derive(Debug, Clone, Copy)]
pub struct Tee<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// Where a plain program goes; without it to 132 MiB behind the start of the DRAM, where Rockchip has it.
    pub load: Option<u32>,
}

/// How it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// For which SPL.
    pub form: Form,
    /// The hash of each image. SPLs that check hashes (`CONFIG_SPL_FIT_SIGNATURE`) look at what is there.
    pub hash: Option<HashAlgorithm>,
    /// Where U-Boot goes. Without it: where it says that it was linked for ([`text_base`]), else where the SoC's
    /// configurations have it.
    pub load: Option<u32>,
    /// The root's `timestamp`. mkimage always writes one, and its readers (`dumpimage`, `bootm`) refuse a FIT without:
    /// with `None` the property is left out, for SPLs alone.
    pub timestamp: Option<Epoch>,
}

impl Default for Options {
    fn default() -> Self {
        Self { form: Form::Mainline, hash: Some(HashAlgorithm::Sha256), load: None, timestamp: Some(Epoch(0)) }
    }
}

/// Whose SPL reads the FIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Mainline U-Boot.
    Mainline,
    /// Rockchip's U-Boot v2017.09.
    Vendor,
}

/// Hashes that FITs of our own have; SPLs are built with one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// The CRC-32 of zlib.
    Crc32,
    /// SHA-256.
    Sha256,
}

impl HashAlgorithm {
    /// `crc32`, `sha256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Sha256 => "sha256",
        }
    }
}

/// A FIT that is ready to be written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan<'a> {
    /// The file: the tree, the images, zeros between them.
    pub file: Assembly<'a>,
    /// Where U-Boot is loaded.
    pub load: u32,
    /// What this crate's reader says about the file; never errors.
    pub report: Report,
}

/// The address that a 64-bit U-Boot was linked for, which it keeps behind its first two instructions.
///
/// `arch/arm/cpu/armv8/start.S`: a branch, `nop`, then `_TEXT_BASE`. `None` for 32-bit and foreign programs.
pub fn text_base(u_boot: &[u8]) -> Option<u64> {
    let (branch, rest) = u_boot.split_first_chunk::<4>()?;
    let (nop, rest) = rest.split_first_chunk::<4>()?;
    let base = u64::from_le_bytes(*rest.first_chunk::<8>()?);
    let is_branch = u32::from_le_bytes(*branch) >> 26 == 0b00_0101;
    (is_branch && u32::from_le_bytes(*nop) == 0xd503_201f && base != 0).then_some(base)
}

/// What an image of the FIT is, before it has a place.
struct Piece<'a> {
    node: Node,
    name: String,
    data: Cow<'a, [u8]>,
    /// Addresses that it occupies.
    memory: Option<std::ops::Range<u64>>,
    /// Of which part it is. Those of one program may share memory that it clears itself.
    part: &'static str,
}

/// Plans a FIT.
///
/// # Errors
/// A part that is empty, missing, or not what it should be; an address that is not known or above 4 GiB; two parts
/// that would be loaded over each other; more than 4 GiB.
pub fn plan<'a>(parts: &Parts<'a>, options: &Options) -> Result<Plan<'a>, Error> {
    let is_64 = is_64(parts.soc);
    if parts.u_boot.is_empty() {
        return Err(ErrorKind::EmptyImage { what: "U-Boot" }.into());
    }
    let load = match (options.load, text_base(parts.u_boot).filter(|_| is_64), default_base(parts.soc, options.form)) {
        (Some(load), ..) => load,
        (None, Some(base), _) => cell(base, "U-Boot")?,
        (None, None, Some(base)) => base,
        (None, None, None) => return Err(ErrorKind::NoLoadAddress { soc: parts.soc }.into()),
    };

    let mut pieces = vec![u_boot(parts, options, load)];
    let bl31 = bl31_pieces(parts, options.form)?;
    let tee = tee_pieces(parts, options.form)?;
    let firmware: Vec<String> = if is_64 {
        bl31.iter().map(|piece| piece.name.clone()).chain(tee.iter().map(|piece| piece.name.clone())).collect()
    } else {
        tee.iter().map(|piece| piece.name.clone()).collect()
    };
    pieces.extend(bl31);
    pieces.extend(tee);
    refuse_overlaps(&pieces)?;
    let trees = tree_pieces(parts, options.form)?;
    let u_boot_name = pieces.first().map(|piece| piece.name.clone()).unwrap_or_default();
    let configurations = configurations(parts, options.form, &u_boot_name, &firmware);
    pieces.extend(trees);

    let file = lay_out(parts, options, pieces, configurations)?;
    let bytes = file.to_bytes();
    let (fit, report) = super::parse(&bytes);
    let complaint = |finding: &Finding| ErrorKind::SelfCheck { finding: finding.to_string() };
    if let Some(finding) = report.iter().find(|finding| finding.severity == Severity::Error) {
        return Err(complaint(finding).into());
    }
    debug_assert!(fit.is_some());
    Ok(Plan { file, load, report })
}

fn cell(value: u64, what: &str) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| {
        ErrorKind::BadPart { what: what.to_owned(), problem: format!("its address {value:#x} is above 4 GiB") }.into()
    })
}

/// Whether the cores run 64-bit TF-A in front of U-Boot.
fn is_64(soc: Soc) -> bool {
    matches!(
        soc,
        Soc::Px30
            | Soc::Rk1808
            | Soc::Rk3308
            | Soc::Rk3326
            | Soc::Rk3328
            | Soc::Rk3368
            | Soc::Rk3399
            | Soc::Rk3528
            | Soc::Rk3562
            | Soc::Rk3568
            | Soc::Rk3576
            | Soc::Rk3588
    )
}

/// `CONFIG_TEXT_BASE` of the SoC's configurations, where they agree: U-Boot v2026.01 (RK3588 had 0x00a00000 up to
/// v2025.10), Rockchip's v2017.09.
fn default_base(soc: Soc, form: Form) -> Option<u32> {
    match (soc, form) {
        (Soc::Rk3588, Form::Mainline) => Some(0x0080_0000),
        (Soc::Rk3568, _) => Some(0x00a0_0000),
        (Soc::Rk3588, Form::Vendor) | (Soc::Px30 | Soc::Rk3326 | Soc::Rk3328 | Soc::Rk3368 | Soc::Rk3399, _) => {
            Some(0x0020_0000)
        }
        _ => None,
    }
}

/// Where the DRAM starts, for the place of OP-TEE.
fn dram_base(soc: Soc) -> u32 {
    match soc {
        Soc::Rk3576 => 0x4000_0000,
        Soc::Rk3036 | Soc::Rk3066 | Soc::Rk3128 | Soc::Rk3188 | Soc::Rk322x | Soc::Px3se | Soc::Rv1108 => 0x6000_0000,
        _ => 0,
    }
}

fn arch(soc: Soc) -> &'static str {
    if is_64(soc) { "arm64" } else { "arm" }
}

fn u_boot<'a>(parts: &Parts<'a>, options: &Options, load: u32) -> Piece<'a> {
    let mainline = options.form == Form::Mainline;
    let name = if mainline { "u-boot" } else { "uboot" };
    let mut node =
        Node::new(name).with(Property::text("description", "U-Boot")).with(Property::text("type", "standalone"));
    if mainline {
        node = node.with(Property::text("os", "u-boot")).with(Property::text("arch", arch(parts.soc)));
    } else {
        node = node.with(Property::text("arch", arch(parts.soc))).with(Property::text("os", "U-Boot"));
    }
    node = node.with(Property::text("compression", "none")).with(Property::cell("load", load));
    if mainline {
        node = node.with(Property::cell("entry", load));
    }
    let start = u64::from(load);
    let memory = Some(start..start.saturating_add(parts.u_boot.len() as u64));
    Piece { node, name: name.to_owned(), data: parts.u_boot.into(), memory, part: "U-Boot" }
}

/// The first error of a report about a part.
fn refuse_errors(what: &str, report: &Report) -> Result<(), Error> {
    match report.iter().find(|finding| finding.severity == Severity::Error) {
        Some(finding) => Err(ErrorKind::BadPart { what: what.to_owned(), problem: finding.message.clone() }.into()),
        None => Ok(()),
    }
}

fn read_elf(what: &str, bytes: &[u8], machine: u16) -> Result<Elf, Error> {
    let refuse = |problem: String| Err(ErrorKind::BadPart { what: what.to_owned(), problem }.into());
    let (elf, report) = elf::parse(bytes);
    refuse_errors(what, &report)?;
    let Some(elf) = elf else { return refuse("no ELF file".to_owned()) };
    if elf.machine != machine {
        return refuse(format!("it is for ELF machine {}, expected {machine}", elf.machine));
    }
    if elf.segments.is_empty() {
        return refuse("it has no segment to load".to_owned());
    }
    Ok(elf)
}

fn segments<'a>(
    what: &'static str,
    elf: &Elf,
    bytes: &'a [u8],
    mut node: impl FnMut(usize, u32) -> Node,
    with_entry: bool,
) -> Result<Vec<Piece<'a>>, Error> {
    let mut pieces = Vec::new();
    for (index, segment) in elf.segments.iter().enumerate() {
        let mut node = node(index + 1, cell(segment.address, what)?);
        if index == 0 && with_entry {
            node = node.with(Property::cell("entry", cell(elf.entry, what)?));
        }
        pieces.push(Piece {
            name: node.name.clone(),
            node,
            data: segment.bytes(bytes).unwrap_or_default().into(),
            memory: Some(segment.memory_range()),
            part: what,
        });
    }
    Ok(pieces)
}

fn bl31_pieces<'a>(parts: &Parts<'a>, form: Form) -> Result<Vec<Piece<'a>>, Error> {
    let bytes = match (parts.bl31, is_64(parts.soc)) {
        (Some(bytes), true) => bytes,
        (None, false) => return Ok(Vec::new()),
        (None, true) => return Err(ErrorKind::MissingFirmware { soc: parts.soc }.into()),
        (Some(_), false) => {
            let problem = format!("{} has 32-bit cores and starts without TF-A; leave it out", parts.soc);
            return Err(ErrorKind::BadPart { what: "BL31".to_owned(), problem }.into());
        }
    };
    let elf = read_elf("BL31", bytes, elf::AARCH64)?;
    let node = |number: usize, load: u32| {
        Node::new(format!("atf-{number}"))
            .with(Property::text("description", "ARM Trusted Firmware"))
            .with(Property::text("type", "firmware"))
            .with(Property::text("arch", "arm64"))
            .with(Property::text("os", "arm-trusted-firmware"))
            .with(Property::text("compression", "none"))
            .with(Property::cell("load", load))
    };
    segments("BL31", &elf, bytes, node, form == Form::Mainline)
}

fn tee_pieces<'a>(parts: &Parts<'a>, form: Form) -> Result<Vec<Piece<'a>>, Error> {
    let Some(tee) = parts.tee else { return Ok(Vec::new()) };
    if tee.bytes.is_empty() {
        return Err(ErrorKind::EmptyImage { what: "OP-TEE" }.into());
    }
    let mainline = form == Form::Mainline;
    let single = !mainline || !is_64(parts.soc);
    let node = |number: usize, load: u32| {
        let name = match (mainline, is_64(parts.soc)) {
            (true, true) => format!("tee-{number}"),
            (true, false) => "op-tee".to_owned(),
            (false, _) => "optee".to_owned(),
        };
        Node::new(name)
            .with(Property::text("description", if single { "OP-TEE" } else { "TEE" }))
            .with(Property::text("type", if mainline { "tee" } else { "firmware" }))
            .with(Property::text("arch", arch(parts.soc)))
            .with(Property::text("os", if mainline { "tee" } else { "op-tee" }))
            .with(Property::text("compression", "none"))
            .with(Property::cell("load", load))
    };
    if elf::is_elf(tee.bytes) {
        let elf = read_elf("OP-TEE", tee.bytes, if is_64(parts.soc) { elf::AARCH64 } else { elf::ARM })?;
        if single && elf.segments.len() > 1 {
            let problem = format!("it has {} segments, and this form of FIT has one image for it", elf.segments.len());
            return Err(ErrorKind::BadPart { what: "OP-TEE".to_owned(), problem: problem + "; give tee.bin" }.into());
        }
        return segments("OP-TEE", &elf, tee.bytes, node, mainline);
    }
    let (data, stored) = strip_header(tee.bytes)?;
    let load = tee.load.or(stored).unwrap_or_else(|| dram_base(parts.soc).saturating_add(0x0840_0000));
    let mut node = node(1, load);
    if mainline {
        node = node.with(Property::cell("entry", load));
    }
    let start = u64::from(load);
    let memory = Some(start..start.saturating_add(data.len() as u64));
    Ok(vec![Piece { name: node.name.clone(), node, data: data.into(), memory, part: "OP-TEE" }])
}

/// What OP-TEE's header says: the program and its address. A file without the header is the program.
///
/// `OPTE`, version, architecture, flags u16; version 1: size, address high, address low, memory, paged size; version 2:
/// count of images, for each address high, address low, id (0 pager, 1 pageable), size. All little-endian
/// (`scripts/gen_tee_bin.py` of OP-TEE). An address of all ones is the reader's choice.
fn strip_header(bytes: &[u8]) -> Result<(&[u8], Option<u32>), Error> {
    let refuse = |problem: String| -> Error { ErrorKind::BadPart { what: "OP-TEE".to_owned(), problem }.into() };
    if !bytes.starts_with(b"OPTE") {
        return Ok((bytes, None));
    }
    let word = |index: usize| {
        let at = bytes.get(8 + index * 4..).and_then(<[u8]>::first_chunk::<4>);
        at.map(|word| u32::from_le_bytes(*word)).ok_or_else(|| refuse("its header is cut".to_owned()))
    };
    let (size, high, low, header) = match bytes.get(4) {
        Some(1) => {
            if word(4)? != 0 {
                return Err(refuse("it has a pageable part, which no Rockchip SPL loads".to_owned()));
            }
            (word(0)?, word(1)?, word(2)?, 28)
        }
        Some(2) => {
            if word(0)? != 1 || word(3)? != 0 {
                return Err(refuse("it has a pageable part, which no Rockchip SPL loads".to_owned()));
            }
            (word(4)?, word(1)?, word(2)?, 28)
        }
        version => return Err(refuse(format!("its header has version {version:?}, known are 1 and 2"))),
    };
    let end = usize::try_from(size).ok().and_then(|size| size.checked_add(header));
    let data = end.and_then(|end| bytes.get(header..end)).filter(|data| !data.is_empty());
    let Some(data) = data else {
        return Err(refuse(format!(
            "its header promises {size} bytes, the file has {}",
            bytes.len() - header.min(bytes.len())
        )));
    };
    match (high, low) {
        (u32::MAX, u32::MAX) => Ok((data, None)),
        (0, low) => Ok((data, Some(low))),
        _ => Err(refuse("its address is above 4 GiB".to_owned())),
    }
}

fn refuse_overlaps(pieces: &[Piece<'_>]) -> Result<(), Error> {
    for (index, second) in pieces.iter().enumerate() {
        let Some(range) = &second.memory else { continue };
        for first in pieces.iter().take(index).filter(|first| first.part != second.part) {
            if let Some(other) =
                first.memory.as_ref().filter(|other| range.start < other.end && other.start < range.end)
            {
                return Err(ErrorKind::LoadsOverlap {
                    first: first.name.clone(),
                    first_range: other.clone(),
                    second: second.name.clone(),
                    second_range: range.clone(),
                }
                .into());
            }
        }
    }
    Ok(())
}

fn tree_pieces<'a>(parts: &Parts<'a>, form: Form) -> Result<Vec<Piece<'a>>, Error> {
    let mut pieces: Vec<Piece<'a>> = Vec::new();
    if parts.device_trees.is_empty() {
        return Err(ErrorKind::EmptyImage { what: "the list of device trees" }.into());
    }
    if form == Form::Vendor && parts.device_trees.len() > 1 {
        let problem = format!("{} are given, the vendor's form has one", parts.device_trees.len());
        return Err(ErrorKind::BadPart { what: "device trees".to_owned(), problem }.into());
    }
    for (index, tree) in parts.device_trees.iter().enumerate() {
        let refuse = |problem: String| -> Error {
            ErrorKind::BadPart { what: format!("device tree {}", tree.name), problem }.into()
        };
        dtbtool::Fdt::parse(tree.bytes).map_err(|error| refuse(error.to_string()))?;
        if tree.name.is_empty() || tree.name.contains(|c: char| c.is_control()) {
            return Err(refuse("its name is empty or holds control characters".to_owned()));
        }
        if parts.device_trees.iter().take(index).any(|other| other.name == tree.name) {
            return Err(refuse("it is given twice".to_owned()));
        }
        let node = if form == Form::Mainline {
            Node::new(format!("fdt-{}", index + 1))
                .with(Property::text("description", &format!("fdt-{}", tree.name)))
                .with(Property::text("compression", "none"))
                .with(Property::text("type", "flat_dt"))
        } else {
            Node::new("fdt")
                .with(Property::text("description", "U-Boot dtb"))
                .with(Property::text("type", "flat_dt"))
                .with(Property::text("arch", arch(parts.soc)))
                .with(Property::text("compression", "none"))
        };
        pieces.push(Piece {
            name: node.name.clone(),
            node,
            data: tree.bytes.into(),
            memory: None,
            part: "device tree",
        });
    }
    Ok(pieces)
}

fn configurations(parts: &Parts<'_>, form: Form, u_boot: &str, firmware: &[String]) -> Node {
    // The first that there is of TF-A (or OP-TEE on 32-bit SoCs) and U-Boot is started, all else is loaded.
    let (first, loadables) = match firmware.split_first() {
        Some((first, rest)) => {
            (first.as_str(), std::iter::once(u_boot).chain(rest.iter().map(String::as_str)).collect::<Vec<_>>())
        }
        None => (u_boot, Vec::new()),
    };
    let loadables = (!loadables.is_empty()).then(|| Property::texts("loadables", loadables));
    if form == Form::Vendor {
        let board = parts.device_trees.first().map_or("", |tree| tree.name);
        let mut node = Node::new("conf")
            .with(Property::text("description", board.rsplit('/').next().unwrap_or(board)))
            .with(Property::cell("rollback-index", 0))
            .with(Property::text("firmware", first));
        node.properties.extend(loadables);
        node = node.with(Property::text("fdt", "fdt")).with_child(
            Node::new("signature")
                .with(Property::text("algo", "sha256,rsa2048"))
                .with(Property::text("key-name-hint", "dev"))
                .with(Property::texts("sign-images", ["firmware", "loadables", "fdt"])),
        );
        return Node::new("configurations").with(Property::text("default", "conf")).with_child(node);
    }
    let mut all = Node::new("configurations").with(Property::text("default", "config-1"));
    for (tree, number) in parts.device_trees.iter().zip(1..) {
        let mut node = Node::new(format!("config-{number}"))
            .with(Property::text("description", &format!("{}.dtb", tree.name)))
            .with(Property::text("fdt", &format!("fdt-{number}")))
            .with(Property::text("firmware", first));
        node.properties.extend(loadables.clone());
        let compatible = dtbtool::Fdt::parse(tree.bytes).ok().and_then(|fdt| fdt.root().property("compatible"));
        node.properties.extend(compatible.map(|property| Property::bytes("compatible", property.value())));
        all = all.with_child(node);
    }
    all
}

/// Gives every image its place, and writes the tree.
fn lay_out<'a>(
    parts: &Parts<'a>,
    options: &Options,
    pieces: Vec<Piece<'a>>,
    configurations: Node,
) -> Result<Assembly<'a>, Error> {
    let vendor = options.form == Form::Vendor;
    let too_large = || {
        Error::from(ErrorKind::TooLarge {
            what: "the FIT".to_owned(),
            size: u64::from(u32::MAX) + 1,
            limit: u64::from(u32::MAX),
        })
    };
    let mut images = Node::new("images");
    let mut blobs = Vec::new();
    let mut offset = 0_usize;
    for Piece { mut node, name, data, .. } in pieces {
        let number = |value: usize| u32::try_from(value).map_err(|_| too_large());
        // binman has it behind all else, the vendor's script behind the description.
        node.data_at = Some(if vendor { 1 } else { node.properties.len() });
        node.added =
            vec![Property::cell("data-size", number(data.len())?), Property::cell("data-offset", number(offset)?)];
        if let Some(algorithm) = options.hash {
            let mut child = Node::new("hash").with(Property::text("algo", algorithm.name()));
            child.added = vec![Property::bytes("value", hash::value(algorithm, &data))];
            node = node.with_child(child);
        }
        images = images.with_child(node);
        offset = offset.saturating_add(data.len()).next_multiple_of(ALIGN);
        blobs.push((name, data));
    }

    let description = match (vendor, is_64(parts.soc)) {
        (true, _) => "FIT Image with ATF/OP-TEE/U-Boot/MCU",
        (false, true) => "FIT image for U-Boot with bl31 (TF-A)",
        (false, false) => "FIT image with OP-TEE",
    };
    let mut root = Node::new("")
        .with(Property::text("description", description))
        .with(Property::cell("#address-cells", 1))
        .with_child(images)
        .with_child(configurations);
    let timestamp = match options.timestamp {
        Some(Epoch(seconds)) => Some(u32::try_from(seconds).map_err(|_| {
            let problem = format!("{seconds} seconds do not fit the 32-bit field");
            Error::from(ErrorKind::BadPart { what: "timestamp".to_owned(), problem })
        })?),
        None => None,
    };
    let mut added = Vec::new();
    added.extend(timestamp.map(|_| "timestamp"));
    added.extend(vendor.then_some(["totalsize", "version"]).into_iter().flatten());
    added.extend(options.hash.map(|_| "value"));
    added.extend(["data-offset", "data-size"]);
    let mut tree = |totalsize: u32| {
        root.added.clear();
        if vendor {
            root.added.extend([Property::cell("version", 0), Property::cell("totalsize", totalsize)]);
        }
        root.added.extend(timestamp.map(|seconds| Property::cell("timestamp", seconds)));
        flat::write(&root, &added, if vendor { 1 } else { ALIGN })
    };
    // The size of the tree does not depend on the number in it.
    let end = tree(0).len().next_multiple_of(ALIGN).saturating_add(offset);
    let tree = tree(u32::try_from(end).map_err(|_| too_large())?);

    let mut file = Assembly::new();
    file.push("tree", tree);
    for (name, data) in blobs {
        file.fill_to(file.size().next_multiple_of(ALIGN as u64), 0);
        file.push(name, data);
    }
    file.fill_to(end as u64, 0);
    Ok(file)
}
