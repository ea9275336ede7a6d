//! `rkboot build fit`, `combined`, `spi`.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use imgcore::{Epoch, Finding, Report, Severity};
use rkboot::{
    Assembly, BootFileKind, Soc, check_fit_parts, combined, examine,
    fit::build::{self, DeviceTree, HashAlgorithm, Options, Parts, Tee},
};
use serde_json::{Value, json};

use crate::{
    Failure, Outcome,
    files::{parse_soc, read, replace_with},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot build fit --soc rk3588 --u-boot u-boot-nodtb.bin --dtb rockchip/rk3588-rock-5b.dtb \\
      --bl31 rk3588_bl31_v1.48.elf -o u-boot.itb
  rkboot build fit --soc rk3568 --u-boot u-boot-nodtb.bin --dtb a.dtb --dtb b.dtb --bl31 bl31.elf --tee tee.bin \\
      --hash crc32 --load 0xa00000 --timestamp 1700000000 -o u-boot.itb
  rkboot build fit --soc rk3588 --form vendor --copies 2 --u-boot u-boot-nodtb.bin --dtb u-boot.dtb \\
      --bl31 bl31.elf --tee bl32.bin -o uboot.img

Write the result at sector 16384:
  dd if=u-boot.itb of=/dev/sdX seek=16384 conv=notrunc

Exit codes: 0 done, 1 refused, 2 usage, 3 input missing, 4 input or output failed")]
pub(crate) struct Fit {
    /// SoC as mkimage names it; rk3588s is taken as rk3588
    #[arg(long)]
    soc: String,
    /// u-boot-nodtb.bin
    #[arg(long, value_name = "FILE")]
    u_boot: PathBuf,
    /// A device tree of U-Boot, one configuration each (repeatable; the first is the default)
    #[arg(long, value_name = "FILE", required = true)]
    dtb: Vec<PathBuf>,
    /// TF-A as ELF file, which 64-bit SoCs need
    #[arg(long, value_name = "FILE")]
    bl31: Option<PathBuf>,
    /// OP-TEE: tee.elf, tee.bin or a plain program
    #[arg(long, value_name = "FILE")]
    tee: Option<PathBuf>,
    /// Where a plain OP-TEE goes [default: 0x8400000 behind the start of the DRAM]
    #[arg(long, value_name = "ADDR", value_parser = number, requires = "tee")]
    tee_load: Option<u64>,
    /// The hash of each image
    #[arg(long, default_value = "sha256")]
    hash: Hash,
    /// For whose SPL
    #[arg(long, default_value = "mainline")]
    form: Form,
    /// Where U-Boot goes, its CONFIG_TEXT_BASE [default: what it was linked for]
    #[arg(long, value_name = "ADDR", value_parser = number)]
    load: Option<u64>,
    /// The FIT's timestamp, in seconds since 1970
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", default_value_t = 0)]
    timestamp: u64,
    /// Pack that many slots of 2 MiB, as the vendor's uboot.img has two (with --form vendor)
    #[arg(long, value_name = "COUNT")]
    copies: Option<u32>,
    /// Where the FIT goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Hash {
    Sha256,
    Crc32,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Mainline U-Boot
    Mainline,
    /// Rockchip's U-Boot 2017.09
    Vendor,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  rkboot build combined --idbloader idbloader.img --fit u-boot.itb -o u-boot-rockchip.bin

Write the result at sector 64:
  dd if=u-boot-rockchip.bin of=/dev/sdX seek=64 conv=notrunc

Exit codes: 0 done, 1 refused, 2 usage, 3 input missing, 4 input or output failed")]
pub(crate) struct Combined {
    /// idbloader.img
    #[arg(long, value_name = "FILE")]
    idbloader: PathBuf,
    /// u-boot.itb
    #[arg(long, value_name = "FILE")]
    fit: PathBuf,
    /// Where the FIT is in the file (CONFIG_SPL_PAD_TO) [default: 0x7f8000; puma-rk3399 has 0x38000]
    #[arg(long, value_name = "BYTES", value_parser = number)]
    pad_to: Option<u64>,
    /// Refuse a file of more bytes, such as what lies between sector 64 and the first partition
    #[arg(long, value_name = "BYTES", value_parser = number)]
    limit: Option<u64>,
    /// Where the file goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot build spi --soc rk3588 --idbloader idbloader.img --fit u-boot.itb -o u-boot-rockchip-spi.bin
  rkboot build spi --soc rk3568 --idbloader idbloader.img --fit u-boot.itb --fit-offset 0x100000 -o odroid-m1-spi.bin

The idbloader is the one for cards; it is spread as the BootROM reads it where the SoC needs that.
Write the result at the start of the flash.

Exit codes: 0 done, 1 refused, 2 usage, 3 input missing, 4 input or output failed")]
pub(crate) struct Spi {
    /// SoC as mkimage names it; rk3588s is taken as rk3588
    #[arg(long)]
    soc: String,
    /// idbloader.img
    #[arg(long, value_name = "FILE")]
    idbloader: PathBuf,
    /// u-boot.itb
    #[arg(long, value_name = "FILE")]
    fit: PathBuf,
    /// Where the SPL looks for the FIT [default: 0xe0000 on RK3399, 0x60000 on RK3328 and RK35xx]
    #[arg(long, value_name = "BYTES", value_parser = number)]
    fit_offset: Option<u64>,
    /// Size of the flash: refuse a larger file
    #[arg(long, value_name = "BYTES", value_parser = number)]
    flash_size: Option<u64>,
    /// Where the file goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// `0x800000` or `8388608`.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.map_err(|error| format!("{error}; write 8388608 or 0x800000"))
}

pub(crate) fn address(value: Option<u64>, option: &str) -> Result<Option<u32>, Failure> {
    value.map(u32::try_from).transpose().map_err(|_| usage(format!("{option}: the address is above 4 GiB")))
}

fn usage(message: String) -> Failure {
    Failure { code: 2, error: anyhow::Error::msg(message) }
}

pub(crate) fn refused(error: rkboot::Error) -> Failure {
    Failure { code: 1, error: error.into() }
}

/// `rockchip/rk3588-rock-5b` for `…/rockchip/rk3588-rock-5b.dtb`: the name by which U-Boot's build knows the tree.
fn tree_name(path: &Path) -> String {
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.display().to_string());
    let folder = path.parent().and_then(Path::file_name);
    if folder.is_some_and(|folder| folder == "rockchip") { format!("rockchip/{stem}") } else { stem }
}

pub(crate) fn fit(arguments: &Fit) -> Result<Outcome, Failure> {
    let soc = parse_soc(&arguments.soc)?;
    if arguments.copies.is_some() && arguments.form != Form::Vendor {
        return Err(usage("--copies goes with --form vendor: a mainline SPL reads one FIT".to_owned()));
    }
    let u_boot = read(&arguments.u_boot)?;
    let trees =
        arguments.dtb.iter().map(|path| Ok((tree_name(path), read(path)?))).collect::<Result<Vec<_>, Failure>>()?;
    let bl31 = arguments.bl31.as_deref().map(read).transpose()?;
    let tee = arguments.tee.as_deref().map(read).transpose()?;
    let tee_load = address(arguments.tee_load, "--tee-load")?;
    let parts = Parts {
        soc,
        u_boot: &u_boot,
        device_trees: trees.iter().map(|(name, bytes)| DeviceTree { name, bytes }).collect(),
        bl31: bl31.as_deref(),
        tee: tee.as_deref().map(|bytes| Tee { bytes, load: tee_load }),
    };
    let options = Options {
        form: match arguments.form {
            Form::Mainline => build::Form::Mainline,
            Form::Vendor => build::Form::Vendor,
        },
        hash: match arguments.hash {
            Hash::Sha256 => Some(HashAlgorithm::Sha256),
            Hash::Crc32 => Some(HashAlgorithm::Crc32),
            Hash::None => None,
        },
        load: address(arguments.load, "--load")?,
        timestamp: Some(Epoch(arguments.timestamp)),
    };
    let plan = build::plan(&parts, &options).map_err(refused)?;
    let name = name(&arguments.output);
    let mut report = check_fit_parts(&parts);
    report.extend(plan.report.owned_by(&name, 0));
    let what = format!("FIT for {soc}, U-Boot at {:#x}", plan.load);
    let extra = json!({ "soc": soc.name(), "load": plan.load });
    match arguments.copies {
        None => write(&arguments.output, &what, &plan.file, report, extra),
        Some(copies) => {
            let bytes = plan.file.to_bytes();
            let slots = combined::plan_slots(&bytes, combined::SLOT, copies).map_err(refused)?;
            write(&arguments.output, &what, &slots, report, extra)
        }
    }
}

/// A part of a file of both stages: the first copy in the given file, without what packers put around it.
struct Given {
    bytes: Vec<u8>,
    part: Range<usize>,
    report: Report,
}

impl Given {
    fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = read(path)?;
        let (file, found) = examine(&bytes, None);
        let content = match &file.kind {
            BootFileKind::IdBlock(_) | BootFileKind::IdBlockV1(_) => file.copies.first().cloned(),
            // Less than a page behind it is the packer's own rounding.
            BootFileKind::Fit(_) if file.copies.len() > 1 || file.length - file.content_end >= 4096 => {
                Some(0..file.content_end)
            }
            _ => None,
        };
        let end = bytes.len();
        let clamp = |at: u64| usize::try_from(at).map_or(end, |at| at.min(end));
        let part = content.map_or(0..end, |range| clamp(range.start)..clamp(range.end));
        let name = name(path);
        // Errors are refused with the part, and what is left out is no loss.
        let mut report: Report = found.into_iter().filter(|finding| finding.severity == Severity::Warning).collect();
        if part != (0..end) {
            let copies =
                if file.copies.len() > 1 { format!(" of {} copies", file.copies.len()) } else { String::new() };
            report.push(Finding::info(
                "RKB002",
                format!("bytes {}..{} of {end} are used: the first{copies}, without padding", part.start, part.end),
            ));
        }
        Ok(Self { bytes, part, report: report.owned_by(&name, 0) })
    }

    fn part(&self) -> &[u8] {
        self.bytes.get(self.part.clone()).unwrap_or_default()
    }
}

pub(crate) fn card(arguments: &Combined) -> Result<Outcome, Failure> {
    let (idblock, fit) = (Given::read(&arguments.idbloader)?, Given::read(&arguments.fit)?);
    let options =
        combined::CardOptions { pad_to: arguments.pad_to.unwrap_or(combined::PAD_TO), limit: arguments.limit };
    let file = combined::plan(idblock.part(), fit.part(), &options).map_err(refused)?;
    let report = idblock.report.iter().chain(&fit.report).cloned().collect();
    write(&arguments.output, "idblock and FIT for cards", &file, report, json!({}))
}

pub(crate) fn spi(arguments: &Spi) -> Result<Outcome, Failure> {
    let soc: Soc = parse_soc(&arguments.soc)?;
    let (idblock, fit) = (Given::read(&arguments.idbloader)?, Given::read(&arguments.fit)?);
    let options = combined::SpiOptions { fit_offset: arguments.fit_offset, flash_size: arguments.flash_size };
    let file = combined::plan_spi(soc, idblock.part(), fit.part(), &options).map_err(refused)?;
    let what = format!("idblock and FIT for SPI flash of {soc}");
    let report = idblock.report.iter().chain(&fit.report).cloned().collect();
    write(&arguments.output, &what, &file, report, json!({ "soc": soc.name() }))
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.display().to_string())
}

fn write(path: &Path, what: &str, file: &Assembly<'_>, report: Report, extra: Value) -> Result<Outcome, Failure> {
    use std::fmt::Write as _;
    let digest = replace_with(path, |writer| {
        let mut writer = imgcore::HashingWriter::new(writer);
        file.write_to(&mut writer)?;
        Ok(writer.finish().1)
    })
    .map_err(|error| Failure { code: 4, error })?;
    let mut text = format!("{}: {what}, {} bytes, {digest}\n", path.display(), file.size());
    let mut parts = Vec::new();
    for (name, range) in file.parts() {
        let size = range.end - range.start;
        let _ = writeln!(text, "  {:#9x}  {size:>9}  {name}", range.start);
        parts.push(json!({ "name": name, "offset": range.start, "size": size }));
    }
    let mut result = json!({ "size": file.size(), "digest": digest, "parts": parts });
    if let (Some(result), Value::Object(extra)) = (result.as_object_mut(), extra) {
        result.extend(extra);
    }
    Ok(Outcome { text, report, result })
}
