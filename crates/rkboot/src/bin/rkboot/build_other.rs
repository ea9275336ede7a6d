//! `rkboot build loader-image`, `build dtbo`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use imgcore::{Digest, Report};
use rkboot::{dtbo_table, examine, legacy::loader_image};
use serde_json::json;

use crate::{
    Failure, Outcome,
    build_fit::{address, number, refused},
    files::{read, replace},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot build loader-image --data u-boot.bin --load 0x200000 -o uboot.img
  rkboot build loader-image --kind tee --data tee.bin --load 0x8400000 -o trust.img

Write U-Boot at sector 16384, OP-TEE at sector 24576:
  dd if=uboot.img of=/dev/sdX seek=16384 conv=notrunc

Exit codes: 0 done, 1 refused, 2 usage, 3 input missing, 4 input or output failed")]
pub(crate) struct LoaderImage {
    /// What it is for
    #[arg(long, value_enum, default_value_t = Kind::UBoot)]
    kind: Kind,
    /// The code: u-boot.bin or tee.bin
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where it is loaded, CONFIG_SYS_TEXT_BASE of the U-Boot
    #[arg(long, value_name = "ADDR", value_parser = number, default_value = "0x200000")]
    load: u64,
    /// Rollback index; 0 for none
    #[arg(long = "rollback-index", value_name = "NUMBER", default_value_t = 0)]
    rollback: u32,
    /// Size of a copy with its padding, a multiple of 64 KiB
    #[arg(long, value_name = "BYTES", value_parser = number, default_value = "0x100000")]
    slot: u64,
    /// How many copies
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    copies: u64,
    /// Where the image goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// `LOADER  `
    UBoot,
    /// `TOS     `
    Tee,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot build dtbo camera.dtbo display.dtbo -o dtbo.img
  rkboot build dtbo --page-size 4096 a.dtbo -o dtbo.img

The boot loader takes a tree by its place in the table. Write the result to the partition dtbo.

Exit codes: 0 done, 1 refused, 2 usage, 3 input missing, 4 input or output failed")]
pub(crate) struct Dtbo {
    /// The overlays in their order
    #[arg(required = true, value_name = "FILE")]
    overlays: Vec<PathBuf>,
    /// Page size of the flash
    #[arg(long, value_name = "BYTES", default_value_t = 2048)]
    page_size: u32,
    /// Version of the table
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1))]
    table_version: u32,
    /// Where the table goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn loader_image(arguments: &LoaderImage) -> Result<Outcome, Failure> {
    let load = address(Some(arguments.load), "--load")?.unwrap_or_default();
    let data = read(&arguments.data)?;
    let parts = loader_image::Parts {
        kind: match arguments.kind {
            Kind::UBoot => loader_image::Kind::UBoot,
            Kind::Tee => loader_image::Kind::Trust,
        },
        data: &data,
        version: arguments.rollback,
        load,
        slot: arguments.slot,
        copies: arguments.copies,
    };
    let bytes = loader_image::build(&parts).map_err(refused)?;
    let what = format!("{} image, {} copies", parts.kind.magic().trim_end(), parts.copies);
    finish(&arguments.output, &what, &bytes)
}

pub(crate) fn dtbo(arguments: &Dtbo) -> Result<Outcome, Failure> {
    let trees = arguments.overlays.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let overlays: Vec<_> =
        trees.iter().map(|tree| dtbo_table::Overlay { tree, ..dtbo_table::Overlay::default() }).collect();
    let parts =
        dtbo_table::Parts { overlays: &overlays, page_size: arguments.page_size, version: arguments.table_version };
    let bytes = dtbo_table::build(&parts).map_err(refused)?;
    finish(&arguments.output, &format!("table of {} device trees", overlays.len()), &bytes)
}

/// Writes what was made, if our own reader calls it sound.
fn finish(path: &std::path::Path, what: &str, bytes: &[u8]) -> Result<Outcome, Failure> {
    let (file, report) = examine(bytes, None);
    if let Some(finding) = report.iter().find(|finding| finding.severity == imgcore::Severity::Error) {
        return Err(Failure { code: 1, error: anyhow::anyhow!("the parts make no sound file: {finding}") });
    }
    replace(path, bytes).map_err(|error| Failure { code: 4, error })?;
    let digest = Digest::of(bytes);
    let text = format!("{}: {what}, {} bytes, {digest}\n", path.display(), bytes.len());
    let result = json!({ "kind": file.kind.name(), "size": bytes.len(), "digest": digest });
    Ok(Outcome { text, report: Report::new(), result })
}
