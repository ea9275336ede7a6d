//! The image for a board's SPI flash: given, or put together from the boot files that go onto the medium.

use imgcore::{Blob, ByteSize, Digest, Finding, Report};

use crate::{
    board::Spi,
    error::Result,
    front::{BOOT_FILE_LIMIT, BootFile, read},
    inputs::Input,
};

/// File name of the image, as sbc-rockchip names it.
pub(crate) const SPI_BIN: &str = "spi.bin";

/// Smallest flash that boards with a boot loader in it have; taken where the board file does not say the size.
const USUAL_FLASH: u64 = 16 << 20;

/// An image for SPI flash.
#[derive(Debug, Clone)]
pub(crate) struct SpiImage {
    /// Role, the name in findings.
    pub name: String,
    /// The input, if it was given.
    pub input: Option<Input>,
    /// The bytes.
    pub blob: Blob,
    /// Their SHA-256.
    pub digest: Digest,
    /// The same bytes, for those who look inside.
    pub bytes: Vec<u8>,
    /// What they are.
    pub file: rkboot::BootFile,
    /// Findings about them.
    report: Report,
}

impl SpiImage {
    /// An image that the user or the lock file gives.
    pub(crate) fn given(input: &Input, bytes: Vec<u8>, soc: Option<rkboot::Soc>) -> Self {
        Self::new(&input.name, Some(input.clone()), bytes, soc)
    }

    fn new(name: &str, input: Option<Input>, bytes: Vec<u8>, soc: Option<rkboot::Soc>) -> Self {
        let (file, report) = rkboot::examine(&bytes, soc);
        Self {
            name: name.to_owned(),
            input,
            blob: Blob::from_bytes(SPI_BIN, bytes.clone()),
            digest: Digest::of(&bytes),
            bytes,
            file,
            report,
        }
    }

    /// Proves that the BootROM finds the boot loader in the flash, and that all of it is inside.
    pub(crate) fn prove(&self, spi: &Spi, soc: Option<rkboot::Soc>) -> Report {
        let mut report = self.report.clone().owned_by(&self.name, 0);
        let flash = spi.size.unwrap_or(USUAL_FLASH);
        let size = self.bytes.len() as u64;
        if size > flash {
            report.push(
                Finding::error(
                    "LAY010",
                    format!("{} has {}, the SPI flash {}", self.name, ByteSize(size), ByteSize(flash)),
                )
                .at(flash..size)
                .of(self.name.clone())
                .help("take the image that was built for the flash (u-boot-rockchip-spi.bin), or correct spi.size"),
            );
        }
        let expected = soc.and_then(|soc| Some((soc, rkboot::combined::spi_idblock_offset(soc)?)));
        match (expected, self.idblock_start()) {
            (Some((soc, expected)), Some(start)) if start != expected => report.push(
                Finding::error(
                    "LAY011",
                    format!(
                        "the idblock of {} is at byte {start:#x}, the BootROM of {soc} looks at {expected:#x} in SPI flash",
                        self.name,
                    ),
                )
                .at(start..start.saturating_add(512))
                .of(self.name.clone())
                .help("this is the image for SD card and eMMC, or for another SoC; take u-boot-rockchip-spi.bin"),
            ),
            (_, None) => report.push(
                Finding::error("LAY011", format!("{} holds no idblock: the BootROM finds nothing to start", self.name))
                    .of(self.name.clone())
                    .help("take u-boot-rockchip-spi.bin of the board's U-Boot"),
            ),
            _ => {}
        }
        report
    }

    fn idblock_start(&self) -> Option<u64> {
        match &self.file.kind {
            rkboot::BootFileKind::Combined { idblock_range, .. } => Some(idblock_range.start),
            rkboot::BootFileKind::IdBlock(_) | rkboot::BootFileKind::IdBlockV1 { .. } => {
                self.file.copies.first().map(|copy| copy.start)
            }
            _ => None,
        }
    }
}

/// Puts the image together from the boot files of a scenario: U-Boot's build makes both from the same parts.
///
/// # Errors
/// When a boot file cannot be read.
pub(crate) fn derive(
    spi: &Spi,
    soc: Option<rkboot::Soc>,
    files: &[BootFile],
    report: &mut Report,
) -> Result<Option<SpiImage>> {
    let mut idblock = None;
    let mut fit = None;
    for file in files {
        let bytes = read(&file.input, BOOT_FILE_LIMIT)?;
        let part = |range: &std::ops::Range<u64>| {
            let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            bytes.get(clamp(range.start)..clamp(range.end)).unwrap_or_default().to_vec()
        };
        let examined = &file.placement.file;
        match &examined.kind {
            rkboot::BootFileKind::Combined { idblock_range, fit_range, .. } => {
                idblock = Some(part(idblock_range));
                fit = Some(part(fit_range));
            }
            rkboot::BootFileKind::IdBlock(_) | rkboot::BootFileKind::IdBlockV1 { .. } => {
                idblock = examined.copies.first().map(part);
            }
            rkboot::BootFileKind::Fit(_) => fit = Some(part(&(0..examined.content_end))),
            _ => {}
        }
    }
    let (Some(soc), Some(idblock), Some(fit)) = (soc, idblock, fit) else { return Ok(None) };
    let options = rkboot::combined::SpiOptions { fit_offset: spi.fit_offset, flash_size: spi.size };
    match rkboot::combined::plan_spi(soc, &idblock, &fit, &options) {
        Ok(image) => Ok(Some(SpiImage::new(&spi.source, None, image.to_bytes(), Some(soc)))),
        Err(error) => {
            report.push(
                Finding::warning("LAY013", format!("no {SPI_BIN}: {error}")).of("spi").help(
                    "give the image that U-Boot's build makes for the flash: --source spi=u-boot-rockchip-spi.bin",
                ),
            );
            Ok(None)
        }
    }
}
