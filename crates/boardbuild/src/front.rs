//! The board's side of a build: boot files, device tree, offset, options. No Talos file is needed for it.

use std::collections::BTreeMap;

use imgcore::{Blob, Digest, Finding, ReadAt as _, Report};

use crate::{
    board::{Board, SECTOR, Scenario},
    error::Result,
    inputs::Input,
    proof::{flow::Chain, layout::Placement},
    spi::{self, SpiImage},
    tree::BoardTree,
};

/// Boot files are a few MiB; more than this is another kind of file.
pub(crate) const BOOT_FILE_LIMIT: u64 = 24 << 20;

/// What a board brings.
#[derive(Debug)]
pub(crate) struct Front {
    /// Scenario, if the board has any.
    pub scenario: Option<String>,
    /// Boot files where they are written.
    pub boot_files: Vec<BootFile>,
    /// Whether the image starts from SPI flash: the boot files are in the overlay image, not in this image.
    pub spi_boot: bool,
    /// The image for SPI flash, if the board has one.
    pub spi: Option<SpiImage>,
    /// The stages that start the image.
    pub chain: Chain,
    /// The stages that start it from the other of flash and medium, where they are other ones.
    pub other_chain: Option<Chain>,
    /// The device tree.
    pub dtb: Option<BoardTree>,
    /// What was found in them.
    pub report: Report,
}

/// A boot file, read and cut.
#[derive(Debug)]
pub(crate) struct BootFile {
    /// The input as it came.
    pub input: Input,
    /// The bytes that are written.
    pub blob: Blob,
    /// SHA-256 of the bytes that are written.
    pub digest: Digest,
    /// Where it is written and what it is.
    pub placement: Placement,
}

impl Front {
    /// Reads and checks the board's files. `inputs` has one for every role of the scenario and the device tree, and for
    /// the SPI image if it is at hand. With `spi_boot` the boot loader is that in SPI flash, and no boot file is written.
    ///
    /// # Errors
    /// When a file cannot be read; what is wrong inside a file is in the report.
    pub(crate) fn read(
        board: &Board,
        scenario: Option<(&str, &Scenario)>,
        inputs: &BTreeMap<String, Input>,
        spi_boot: bool,
    ) -> Result<Self> {
        let mut report = board.report.clone();
        let soc = board.soc.as_deref().and_then(rkboot::Soc::from_name);
        let mut boot_files = Vec::new();
        let mut chain = Chain::default();
        for file in scenario.iter().flat_map(|(_, scenario)| &scenario.files) {
            if let Some(input) = inputs.get(&file.source) {
                let bytes = read(input, BOOT_FILE_LIMIT)?;
                let boot_file = BootFile::new(file, input, &bytes, soc, &mut report)?;
                chain.add(&file.source, 0, &boot_file.placement.file, &bytes);
                boot_files.push(boot_file);
            }
        }
        let mut spi = None;
        if let Some(wanted) = &board.spi {
            spi = match inputs.get(&wanted.source) {
                Some(input) => Some(SpiImage::given(input, read(input, BOOT_FILE_LIMIT)?, soc)),
                None => spi::derive(wanted, soc, &boot_files, &mut report)?,
            };
            if let Some(image) = &spi {
                report.extend(image.prove(wanted, soc));
            }
        }
        let spi_chain = || {
            let mut chain = Chain::default();
            if let Some(image) = &spi {
                chain.add(&image.name, 0, &image.file, &image.bytes);
            }
            chain
        };
        let given = spi.as_ref().is_some_and(|image| image.input.is_some());
        let (chain, other_chain) = match (spi_boot, given) {
            (true, given) => (spi_chain(), given.then_some(chain)),
            (false, true) => (chain, Some(spi_chain())),
            // What is made of the boot files has nothing to say that they have not said.
            (false, false) => (chain, None),
        };
        let dtb = match &board.dtb {
            Some(wanted) => BoardTree::read(wanted, inputs, &mut report)?,
            None => None,
        };
        Ok(Self {
            scenario: scenario.map(|(name, _)| name.to_owned()),
            boot_files,
            spi_boot,
            spi,
            chain,
            other_chain,
            dtb,
            report,
        })
    }

    /// Where the boot files go.
    pub(crate) fn placements(&self) -> Vec<Placement> {
        self.boot_files.iter().map(|file| file.placement.clone()).collect()
    }

    /// The boot files that are in the image.
    pub(crate) fn in_image(&self) -> &[BootFile] {
        if self.spi_boot { &[] } else { &self.boot_files }
    }
}

impl BootFile {
    fn new(
        file: &crate::board::BootFile,
        input: &Input,
        bytes: &[u8],
        soc: Option<rkboot::Soc>,
        report: &mut Report,
    ) -> Result<Self> {
        if bytes.is_empty() {
            report.push(
                Finding::error("SRC005", "the file is empty")
                    .of(file.source.clone())
                    .help("the board would find nothing to start; fetch the file again"),
            );
        }
        let (examined, findings) = rkboot::examine(bytes, soc);
        report.extend(findings.owned_by(&file.source, 0));
        let mut length = bytes.len() as u64;
        if file.trim_copies {
            match rkboot::trim(&examined) {
                Ok(cut) => length = length.min(cut),
                Err(error) => report.push(
                    Finding::error("LAY005", format!("trim-copies: {error}"))
                        .of(file.source.clone())
                        .help("take trim-copies away and use a larger partition-offset, or use a sound file"),
                ),
            }
        }
        let blob = input.blob.slice(0..length);
        let trimmed = length < input.blob.size();
        let digest = if trimmed { blob.compute_digest()? } else { input.sha256 };
        let placement = Placement {
            name: file.source.clone(),
            file: examined,
            start: file.at_sector.saturating_mul(SECTOR),
            written: length,
            trimmed,
        };
        Ok(Self { input: input.clone(), blob, digest, placement })
    }
}

/// Reads an input whole, if it is as small as inputs of its kind are.
pub(crate) fn read(input: &Input, limit: u64) -> Result<Vec<u8>> {
    input.blob.read_all(limit).map_err(|error| {
        if error.kind() != std::io::ErrorKind::FileTooLarge {
            return error.into();
        }
        let finding = Finding::error("VER003", format!("{error}: this is another kind of file"))
            .of(input.name.clone())
            .help("give the file that the role asks for, not a disk image");
        crate::Error::refused(std::iter::once(finding).collect())
    })
}

/// Everything that is checked of a device tree.
pub(crate) fn check_dtb(bytes: &[u8], dtb: &crate::board::Dtb) -> Report {
    // What the strict view refuses, the scan has called an error.
    let (_, mut report) = dtbtool::scan(bytes);
    if let Ok(tree) = dtbtool::Fdt::parse(bytes) {
        let expectations = dtbtool::Expectations {
            compatible: dtb.compatible.clone(),
            require: dtb.require.clone(),
            file_name: Some(dtb.path.clone()),
        };
        report.extend(dtbtool::check_board(&tree, &expectations));
    }
    report
}
