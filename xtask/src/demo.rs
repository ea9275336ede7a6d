//! The inputs of the board `demo`: small files of our own making that are valid in every format and boot nothing.

use boardbuild::Error;
use dtbtool::{
    WriteOptions,
    model::{DeviceTree, Node, Property},
};
use imgcore::{Blob, Digest, Epoch};

/// What every executable byte of the demo says.
const WORDS: &str = "This is talos-rk's demo board. It shows the whole job and boots nothing.\n";

/// Paths below `fixtures/demo/` and their bytes.
pub(crate) fn files() -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let base = "base/usr/install/arm64/";
    debug_assert!(base.ends_with('/'));
    let fault = |error: &dyn std::fmt::Display| Error::usage(format!("the demo fixtures cannot be made: {error}"));
    let idblock = rkboot::idblock::Parts { soc: soc()?, init: &text(6000), boot: Some(&text(20_000)) };
    Ok(vec![
        ("idbloader.img", rkboot::idblock::build(&idblock).map_err(|error| fault(&error))?),
        ("u-boot.itb", fit().map_err(|error| fault(&error))?),
        ("rk3588s-demo.dtb", device_tree().map_err(|error| fault(&error))?),
        ("base/usr/install/arm64/vmlinuz", kernel()),
        ("base/usr/install/arm64/initramfs.xz", initramfs()),
        (
            "base/usr/install/arm64/systemd-boot.efi",
            efi_program(&[(".text", &text(3000)), (".sdmagic", b"#### LoaderInfo: demo ####\0")]),
        ),
        ("installer-base.tar", installer_base().map_err(|error| fault(&error))?),
        (
            "base/usr/install/arm64/systemd-stub.efi",
            efi_program(&[
                (".text", &text(2500)),
                (".sbat", SBAT.as_bytes()),
                (".sdmagic", b"#### LoaderInfo: demo ####\0"),
            ]),
        ),
    ])
}

const SBAT: &str =
    "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\ndemo,1,talos-rk,demo,1,\n";

fn soc() -> Result<rkboot::Soc, Error> {
    rkboot::Soc::from_name("rk3588s").ok_or_else(|| Error::usage("the table of SoCs lacks rk3588s"))
}

/// The words, repeated to a length.
fn text(length: usize) -> Vec<u8> {
    WORDS.bytes().cycle().take(length).collect()
}

/// A FIT as mainline U-Boot's binman lays it out: tree, then data at offsets from the end of the tree.
fn fit() -> Result<Vec<u8>, dtbtool::Error> {
    let images = [
        ("u-boot", "standalone", "u-boot", Some(0x0080_0000_u32), text(9000)),
        ("atf-1", "firmware", "arm-trusted-firmware", Some(0x0004_0000), text(4000)),
        ("fdt-1", "flat_dt", "", None, device_tree()?),
    ];
    let mut nodes = Node::new("images");
    let mut data = Vec::new();
    for (name, kind, os, load, bytes) in images {
        let mut node = Node::new(name)
            .with(Property::string("description", name))
            .with(Property::string("type", kind))
            .with(Property::string("arch", "arm64"))
            .with(Property::string("compression", "none"));
        if !os.is_empty() {
            node = node.with(Property::string("os", os));
        }
        if let Some(load) = load {
            node = node.with(Property::u32("load", load)).with(Property::u32("entry", load));
        }
        let size = u32::try_from(bytes.len()).unwrap_or(0);
        let offset = u32::try_from(data.len()).unwrap_or(0);
        node = node.with(Property::u32("data-size", size)).with(Property::u32("data-offset", offset)).with_child(
            Node::new("hash")
                .with(Property::string("algo", "sha256"))
                .with(Property::new("value", Digest::of(&bytes).raw().to_vec())),
        );
        nodes = nodes.with_child(node);
        data.extend_from_slice(&bytes);
        data.resize(data.len().next_multiple_of(512), 0);
    }
    let configuration = Node::new("config-1")
        .with(Property::string("description", "demo"))
        .with(Property::string("firmware", "atf-1"))
        .with(Property::string("loadables", "u-boot"))
        .with(Property::string("fdt", "fdt-1"));
    let configurations =
        Node::new("configurations").with(Property::string("default", "config-1")).with_child(configuration);
    let mut tree = DeviceTree::new();
    tree.root_mut().set(Property::string("description", "FIT image that boots nothing"));
    tree.root_mut().set(Property::u32("#address-cells", 1));
    tree.root_mut().set(Property::u32("timestamp", 0));
    tree.root_mut().children.push(nodes);
    tree.root_mut().children.push(configurations);
    let mut bytes = tree.to_bytes(&WriteOptions::default())?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&data);
    Ok(bytes)
}

/// A board with what the demo asks for: serial, SD, Ethernet, USB.
fn device_tree() -> Result<Vec<u8>, dtbtool::Error> {
    let okay = || Property::string("status", "okay");
    let device = |name: &str, compatible: &str, address: u32| {
        Node::new(name)
            .with(Property::string("compatible", compatible))
            .with(Property::cells("reg", [0, address, 0, 0x4000]))
            .with(okay())
    };
    let mut tree = DeviceTree::new();
    let root = tree.root_mut();
    root.set(Property::u32("#address-cells", 2));
    root.set(Property::u32("#size-cells", 2));
    root.set(Property::string("model", "talos-rk demo board"));
    root.set(Property::strings("compatible", ["talos-rk,demo", "rockchip,rk3588s"]));
    root.children = vec![
        Node::new("aliases")
            .with(Property::string("ethernet0", "/ethernet@fe1c0000"))
            .with(Property::string("serial2", "/serial@feb50000")),
        Node::new("chosen").with(Property::string("stdout-path", "serial2:1500000n8")),
        device("serial@feb50000", "snps,dw-apb-uart", 0xfeb5_0000),
        device("ethernet@fe1c0000", "rockchip,rk3588-gmac", 0xfe1c_0000),
        device("mmc@fe2c0000", "rockchip,rk3588-dw-mshc", 0xfe2c_0000),
        device("usb@fc800000", "generic-ehci", 0xfc80_0000),
    ];
    tree.to_bytes(&WriteOptions::default())
}

/// The header of an arm64 `Image` (Documentation/arch/arm64/booting.rst) with an EFI header behind it, and a banner.
fn kernel() -> Vec<u8> {
    let mut body = b"Linux version 0.0.0-demo (talos-rk) #1\n\0".to_vec();
    body.extend(text(12_000));
    let mut bytes = efi_program(&[(".text", &body)]);
    let size = bytes.len() as u64;
    // Bytes 8.. are the image's own in the DOS header: text offset, image size, flags (little-endian, 4 KiB pages).
    bytes[8..16].copy_from_slice(&0_u64.to_le_bytes());
    bytes[16..24].copy_from_slice(&size.to_le_bytes());
    bytes[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes
}

/// A cpio archive (newc) with one file.
fn initramfs() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (inode, name, mode, data) in [(1, "init", 0o100_755, WORDS), (0, "TRAILER!!!", 0, "")] {
        let header = format!(
            "070701{inode:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            0,
            0,
            1,
            0,
            data.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0
        );
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// An image that runs a program of Talos' installer's name, as the base of the demo's installer image.
fn installer_base() -> Result<Vec<u8>, ocipack::Error> {
    let program = Blob::from_bytes("installer", format!("#!/bin/sh\necho '{}'\n", WORDS.trim_end()).into_bytes());
    let layer = ocipack::layer::build(&[ocipack::Entry::file("usr/bin/installer", 0o755, program)], Epoch(0))?;
    let mut image = ocipack::Image::new(ocipack::Platform::new("linux", "arm64"), vec![layer], Epoch(0));
    image.config.entrypoint = vec!["/usr/bin/installer".to_owned()];
    image.config.env = vec!["PATH=/usr/bin".to_owned()];
    let options = ocipack::archive::Options {
        tag: "demo".to_owned(),
        shape: ocipack::archive::Shape::Manifests,
        ..ocipack::archive::Options::default()
    };
    let mut bytes = Vec::new();
    ocipack::archive::plan(&[image], &options)?.write_to(&mut bytes)?;
    Ok(bytes)
}

/// A PE32+ EFI application for AArch64 whose sections hold data and whose entry point nobody should call.
fn efi_program(sections: &[(&str, &[u8])]) -> Vec<u8> {
    const FILE_ALIGNMENT: usize = 512;
    const SECTION_ALIGNMENT: usize = 4096;
    const HEADERS: usize = 1024;
    let word = |value: usize| u32::try_from(value).unwrap_or(0).to_le_bytes();
    let mut table = Vec::new();
    let mut raw = Vec::new();
    let mut address = SECTION_ALIGNMENT;
    for (name, data) in sections {
        let mut short = [0; 8];
        short[..name.len()].copy_from_slice(name.as_bytes());
        let size = data.len().next_multiple_of(FILE_ALIGNMENT);
        table.extend_from_slice(&short);
        table.extend_from_slice(&word(data.len()));
        table.extend_from_slice(&word(address));
        table.extend_from_slice(&word(size));
        table.extend_from_slice(&word(HEADERS + raw.len()));
        table.extend_from_slice(&[0; 12]);
        let flags = if *name == ".text" { 0x6000_0020_usize } else { 0x4000_0040 };
        table.extend_from_slice(&word(flags));
        raw.extend_from_slice(data);
        raw.resize(raw.len().next_multiple_of(FILE_ALIGNMENT), 0);
        address += data.len().next_multiple_of(SECTION_ALIGNMENT);
    }
    let mut bytes = vec![0; 128];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c..0x40].copy_from_slice(&word(128));
    bytes.extend_from_slice(b"PE\0\0");
    // COFF header: machine, sections, time, symbols, size of the optional header, flags.
    bytes.extend_from_slice(&0xaa64_u16.to_le_bytes());
    bytes.extend_from_slice(&u16::try_from(sections.len()).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&240_u16.to_le_bytes());
    bytes.extend_from_slice(&0x0206_u16.to_le_bytes());
    // Optional header PE32+.
    let start = bytes.len();
    bytes.extend_from_slice(&0x20b_u16.to_le_bytes());
    bytes.resize(start + 16, 0);
    bytes.extend_from_slice(&word(SECTION_ALIGNMENT));
    bytes.extend_from_slice(&word(SECTION_ALIGNMENT));
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    bytes.extend_from_slice(&word(SECTION_ALIGNMENT));
    bytes.extend_from_slice(&word(FILE_ALIGNMENT));
    bytes.resize(start + 56, 0);
    bytes.extend_from_slice(&word(address));
    bytes.extend_from_slice(&word(HEADERS));
    bytes.resize(start + 68, 0);
    bytes.extend_from_slice(&10_u16.to_le_bytes());
    bytes.resize(start + 108, 0);
    bytes.extend_from_slice(&word(16));
    bytes.resize(start + 240, 0);
    bytes.extend_from_slice(&table);
    bytes.resize(HEADERS, 0);
    bytes.extend_from_slice(&raw);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixture_is_sound_in_its_format() {
        let files = files().unwrap();
        let file = |name: &str| {
            files.iter().find(|(path, _)| path.ends_with(name)).map(|(_, bytes)| bytes.as_slice()).unwrap()
        };
        for name in ["idbloader.img", "u-boot.itb"] {
            let (_, report) = rkboot::examine(file(name), Some(soc().unwrap()));
            assert!(!report.has_errors(), "{name}: {report:?}");
        }
        let (_, report) = dtbtool::scan(file("rk3588s-demo.dtb"));
        assert!(!report.has_errors(), "{report:?}");
        assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 128 * 1024);
    }
}
