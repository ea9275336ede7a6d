//! The overlay image: artifacts, installer executables, profile, in the tree that Talos' imager expects.

use std::collections::BTreeMap;

use imgcore::{Blob, Digest, Epoch, ReadAt as _};
use ocipack::{Entry, Image, Platform, archive, layer};
use talosimg::{
    overlay::{self, OverlayJson},
    profile::Profile,
};

use crate::{
    board::{Board, Overlay},
    error::{Error, Exit, Result},
    front::Front,
};

/// File name of the overlay image.
pub(crate) const OVERLAY_TAR: &str = "overlay.tar";

/// An installer executable for one architecture, in the words of the OCI specification.
#[derive(Debug, Clone)]
pub(crate) struct Installer {
    /// `arm64` or `amd64`.
    pub arch: &'static str,
    /// The executable.
    pub blob: Blob,
}

/// What the installer needs to know of the board.
pub(crate) fn describe(board: &Board, overlay: &Overlay, front: &Front) -> OverlayJson {
    let mut options = overlay.options.clone();
    options.entry("board".to_owned()).or_insert_with(|| board.name.clone());
    let files = front.boot_files.iter().map(|file| overlay::BootFile {
        digest: file.digest,
        length: file.blob.size(),
        offset: file.placement.start,
        path: boot_file_path(board, &file.input.name),
        size: file.blob.size(),
    });
    let esp = front.dtb.iter().map(|tree| overlay::EspFile {
        destination: tree.path.clone(),
        digest: tree.digest,
        path: format!("arm64/{}", tree.path),
        size: tree.blob.size(),
    });
    OverlayJson {
        boards: vec![overlay::Board {
            esp: esp.collect(),
            files: files.collect(),
            kernel_args: overlay.kernel_args.clone(),
            name: board.name.clone(),
            options,
            partition_offset: overlay.partition_offset,
            spi: board
                .spi
                .iter()
                .zip(&front.spi)
                .map(|(spi, image)| overlay::SpiFile {
                    digest: image.digest,
                    option: spi.option.clone(),
                    path: spi_path(board),
                    size: image.blob.size(),
                })
                .next(),
        }],
        name: overlay.name.clone(),
        schema: overlay::SCHEMA,
    }
}

/// Where a boot file lies below `artifacts/`: named after its role, because the name of the user's file must not reach
/// bytes.
fn boot_file_path(board: &Board, role: &str) -> String {
    format!("arm64/u-boot/{}/{role}.img", board.name)
}

/// Where the image for SPI flash lies below `artifacts/`.
fn spi_path(board: &Board) -> String {
    format!("arm64/u-boot/{}/{}", board.name, crate::spi::SPI_BIN)
}

fn wrong(overlay: &Overlay, error: &dyn std::fmt::Display) -> Error {
    Error::new(Exit::Refused, imgcore::Finding::error("BRD003", format!("overlay {}: {error}", overlay.name)))
}

/// Everything below `artifacts/`.
///
/// # Errors
/// [`Exit::Refused`] for a board that the overlay cannot describe.
pub(crate) fn artifacts(board: &Board, overlay: &Overlay, front: &Front) -> Result<Vec<Entry>> {
    let json = describe(board, overlay, front).to_json().map_err(|error| wrong(overlay, &error))?;
    let json = Blob::from_bytes("overlay.json", json.into_bytes());
    let mut entries = vec![Entry::file("artifacts/overlay.json", 0o644, json)];
    for file in &front.boot_files {
        let path = format!("artifacts/{}", boot_file_path(board, &file.input.name));
        entries.push(Entry::file(path, 0o644, file.blob.clone()));
    }
    if let Some(spi) = &front.spi {
        entries.push(Entry::file(format!("artifacts/{}", spi_path(board)), 0o644, spi.blob.clone()));
    }
    if let Some(tree) = &front.dtb {
        entries.push(Entry::file(format!("artifacts/arm64/{}", tree.path), 0o644, tree.blob.clone()));
    }
    Ok(entries)
}

/// Plans the archive.
///
/// # Errors
/// [`Exit::Io`] when an artifact cannot be read, [`Exit::Refused`] for a board that the overlay cannot describe.
pub(crate) fn plan(
    board: &Board,
    overlay: &Overlay,
    front: &Front,
    installers: &[Installer],
    epoch: Epoch,
) -> Result<archive::Archive> {
    let profile = Profile { bootloader: overlay.bootloader, ..Profile::default() };
    let profile = profile.to_yaml().map_err(|error| wrong(overlay, &error))?;
    let mut entries = artifacts(board, overlay, front)?;
    let path = format!("profiles/{}.yaml", overlay.name);
    entries.push(Entry::file(path, 0o644, Blob::from_bytes("profile", profile.into_bytes())));
    // Both platforms share this layer; the executable alone is in the second.
    let artifacts = layer::build(&entries, epoch).map_err(|error| pack_error(&error))?;
    let mut images = Vec::new();
    for installer in installers {
        let entry = Entry::file(format!("installers/{}", overlay.name), 0o755, installer.blob.clone());
        let executable = layer::build(&[entry], epoch).map_err(|error| pack_error(&error))?;
        let platform = Platform::new("linux", installer.arch);
        images.push(Image::new(platform, vec![artifacts.clone(), executable], epoch));
    }
    let options = archive::Options {
        repository: Some(format!("talos-rk/overlay-{}", board.name)),
        annotations: annotations(board, overlay),
        ..archive::Options::default()
    };
    archive::plan(&images, &options).map_err(|error| pack_error(&error))
}

/// What a registry says of the image to who has not pulled it: kind, board, the releases that it was tested with.
fn annotations(board: &Board, overlay: &Overlay) -> BTreeMap<String, String> {
    let title = format!("Talos overlay {} for {}", overlay.name, board.title.as_deref().unwrap_or(&board.name));
    [
        ("org.opencontainers.image.title", title),
        ("io.talos-rk.kind", "overlay".to_owned()),
        ("io.talos-rk.board", board.name.clone()),
        ("io.talos-rk.overlay", overlay.name.clone()),
        ("io.talos-rk.tested", talosimg::release::range()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// What makes an overlay image, for the store's key.
pub(crate) fn key(
    board: &Board,
    overlay: &Overlay,
    front: &Front,
    installers: &[Installer],
    epoch: Epoch,
) -> Result<Digest> {
    let mut digests = Vec::new();
    for installer in installers {
        digests.push((installer.arch, installer.blob.compute_digest()?));
    }
    let value = serde_json::json!({
        "action": "overlay",
        "program": crate::build::program(),
        "overlay": describe(board, overlay, front),
        "annotations": annotations(board, overlay),
        "bootloader": overlay.bootloader,
        "installers": digests,
        "epoch": epoch,
    });
    Ok(Digest::of(&crate::store::canonical_json(&value)))
}

fn pack_error(error: &ocipack::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Error::io(OVERLAY_TAR, io);
        }
        source = current.source();
    }
    Error::new(Exit::Refused, imgcore::Finding::error("BRD003", format!("{OVERLAY_TAR}: {error}")))
}
