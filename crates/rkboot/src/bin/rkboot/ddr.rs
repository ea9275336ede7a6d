//! `rkboot ddr`.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use imgcore::{Digest, Report};
use rkboot::{
    BootFileKind, ddr_params, examine,
    idblock::{self, Uart},
    identity,
};
use serde_json::json;

use crate::{
    Failure, Outcome,
    files::{read, replace},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot ddr rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin
  rkboot ddr rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin --uart 9 --baud 115200 -o uart9.bin

Only the word of the UART changes, so the same call always gives the same bytes, and setting it back gives the original.
An idbloader is shown, not changed: change the blob and run `rkboot build idbloader`.

Exit codes: 0 done, 1 no DDR parameters or refused, 2 usage, 3 input missing, 4 input or output failed")]
pub(crate) struct Ddr {
    /// DDR init code of rkbin (rkXXXX_ddr_*.bin); an idbloader v2 with it is shown, but never changed
    file: PathBuf,
    /// Number of the UART to print to, 0 to 15
    #[arg(long, requires = "output", value_parser = clap::value_parser!(u8).range(0..16))]
    uart: Option<u8>,
    /// Which of its pin groups, 0 to 15
    #[arg(long, requires = "output", value_parser = clap::value_parser!(u8).range(0..16))]
    iomux: Option<u8>,
    /// Bits per second
    #[arg(long, requires = "output", value_parser = clap::value_parser!(u32).range(1..0x100_0000))]
    baud: Option<u32>,
    /// Where the changed blob goes
    #[arg(short, long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Ddr) -> Result<Outcome, Failure> {
    let mut bytes = read(&arguments.file)?;
    let name = arguments.file.file_name().map_or_else(String::new, |name| name.display().to_string());
    let refused = |error: anyhow::Error| Failure { code: 1, error };
    if let Some(output) = &arguments.output {
        if (arguments.uart, arguments.iomux, arguments.baud) == (None, None, None) {
            let error = anyhow::anyhow!("nothing to set: give --uart, --iomux or --baud with --output");
            return Err(Failure { code: 2, error });
        }
        // What is not given stays; what is no plain blob is refused with the reason.
        let old = ddr_params::parse(&bytes).0.and_then(|found| found.uart);
        let old = old.unwrap_or(Uart { id: 0, iomux: 0, baud: 1 });
        let uart = Uart {
            id: arguments.uart.unwrap_or(old.id),
            iomux: arguments.iomux.unwrap_or(old.iomux),
            baud: arguments.baud.unwrap_or(old.baud),
        };
        let before = ddr_params::set_uart(&mut bytes, uart)
            .map_err(|error| refused(anyhow::Error::from(error).context(name.clone())))?;
        replace(output, &bytes).map_err(|error| Failure { code: 4, error })?;
        let digest = Digest::of(&bytes);
        let text = format!("{}: {before} is {uart} in it, {} bytes, {digest}\n", output.display(), bytes.len());
        let result =
            json!({ "before": uart_value(before), "uart": uart_value(uart), "size": bytes.len(), "digest": digest });
        return Ok(Outcome { text, report: Report::new(), result });
    }
    let (start, code) = code_of(&bytes);
    let (found, report) = ddr_params::parse(code);
    let report = report.owned_by(&name, start);
    let blob = identity::identify(code).into_iter().next();
    let mut text =
        format!("{name}: {}\n", blob.as_ref().map_or_else(|| "not recognised".to_owned(), ToString::to_string));
    if start > 0 {
        let _ = writeln!(text, "  DDR init code at byte {start}");
    }
    if let Some(found) = &found {
        let _ = writeln!(text, "  parameters of version {} at byte {:#x}", found.version, start + found.offset);
        if let Some(uart) = found.uart {
            let _ = writeln!(text, "  prints to {uart}");
        }
        for section in &found.sections {
            let words: Vec<_> = section.words.iter().map(|word| format!("{word:08x}")).collect();
            let _ = writeln!(text, "  {:<8} {:#x}: {}", section.name, start + section.range.start, words.join(" "));
        }
    }
    for finding in &report {
        let _ = writeln!(text, "{finding}");
    }
    let result = json!({
        "offset": start,
        "version": blob.as_ref().and_then(|blob| blob.version.clone()),
        "text": blob.as_ref().and_then(|blob| blob.text.clone()),
        "known": blob.iter().flat_map(|blob| &blob.known).map(|known| known.path.clone()).collect::<Vec<_>>(),
        "uart_changed": blob.as_ref().is_some_and(|blob| blob.uart.is_some()),
        "layout": found.as_ref().map(|found| found.version),
        "uart": found.as_ref().and_then(|found| found.uart).map(uart_value),
        "sections": found.iter().flat_map(|found| &found.sections).map(|section| json!({
            "name": section.name,
            "start": section.range.start,
            "end": section.range.end,
            "words": section.words,
        })).collect::<Vec<_>>(),
    });
    Ok(Outcome { text, report, result })
}

fn uart_value(uart: Uart) -> serde_json::Value {
    json!({ "id": uart.id, "iomux": uart.iomux, "baud": uart.baud })
}

/// The DDR init code: the file itself, or the image of an idblock that holds it.
fn code_of(bytes: &[u8]) -> (u64, &[u8]) {
    if !idblock::is_v2(bytes) {
        return (0, bytes);
    }
    if let BootFileKind::IdBlock(block) = examine(bytes, None).0.kind {
        for image in &block.images {
            let (Ok(start), Ok(end)) = (usize::try_from(image.range.start), usize::try_from(image.range.end)) else {
                continue;
            };
            if let Some(code) = bytes.get(start..end)
                && ddr_params::parse(code).0.is_some()
            {
                return (image.range.start, code);
            }
        }
    }
    (0, bytes)
}
