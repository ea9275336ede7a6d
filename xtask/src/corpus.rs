//! Seeds for the fuzz targets: small files of our own making, one folder a target.

use boardbuild::Error;
use imgcore::{Epoch, NoProgress, SectorSize};
use rawimg::{Extents, fat, gpt, sink};

use crate::demo;

/// Paths below `fuzz/corpus/` and their bytes.
pub(crate) fn files() -> Result<Vec<(String, Vec<u8>)>, Error> {
    let fault = |error: &dyn std::fmt::Display| Error::usage(format!("the fuzz corpus cannot be made: {error}"));
    let mut files = Vec::new();
    for (path, bytes) in demo::files()? {
        let name = path.rsplit('/').next().unwrap_or(path);
        let targets: &[&str] = match name {
            "idbloader.img" => &["idblock", "bootfile", "extract"],
            "u-boot.itb" => &["fit", "bootfile", "fdt", "flow", "extract"],
            "rk3588s-demo.dtb" => &["fdt", "dtc_checks"],
            "vmlinuz" => &["kernel"],
            "systemd-stub.efi" => &["uki"],
            _ => &[],
        };
        files.extend(targets.iter().map(|target| (format!("{target}/{name}"), bytes.clone())));
    }
    // An idblock v1 as it lies on cards and in SPI flash.
    let parts = rkboot::idblock::Parts { soc: rkboot::Soc::Rk3399, init: b"init", boot: Some(b"boot") };
    let block = rkboot::idblock::build(&parts).map_err(|error| fault(&error))?;
    files.push(("idblock_v1/spread.img".to_owned(), rkboot::idblock::spread(&block)));
    files.push(("idblock_v1/flat.img".to_owned(), block));
    other_boot_files(&mut files).map_err(|error| fault(&error))?;
    let disk = disk().map_err(|error| fault(&error))?;
    let mut bytes = vec![0; usize::try_from(disk.len()).unwrap_or(0)];
    imgcore::ReadAt::read_exact_at(&disk, 0, &mut bytes)?;
    files.push(("gpt/disk.raw".to_owned(), bytes));
    for format in [sink::Format::Xz, sink::Format::Zst, sink::Format::Gz] {
        let mut out = Vec::new();
        sink::write(&disk, format, &sink::Options::default(), &mut out, &NoProgress).map_err(|error| fault(&error))?;
        files.push((format!("source/disk.{}", format.name()), out));
    }
    files.push(("fat/volume".to_owned(), volume().map_err(|error| fault(&error))?));
    files.push(("elf/program".to_owned(), program()));
    let words = [0x1234_5678_u32, 5, 0x0106_0000, 0, 0, 0x0107_0000, 0x2016_e360, 1, 2];
    files.push(("ddr_params/words".to_owned(), words.map(u32::to_le_bytes).concat()));
    let (base, change) = trees().map_err(|error| fault(&error))?;
    let length = u32::try_from(base.len()).unwrap_or(0).to_be_bytes();
    let pair = [&length[..], &base, &change].concat();
    files.push(("overlay_apply/pair".to_owned(), pair.clone()));
    files.push(("dtb_diff/pair".to_owned(), pair));
    files.push(("dtb_profile/board.dtb".to_owned(), base));
    for (target, text) in [
        ("flow", FLOW),
        ("oci_challenge", CHALLENGE),
        ("cmdline", "console=tty0 a=1 a=2 slab_nomerge= b"),
        (
            "overlay",
            "installDisk: /dev/loop0\nmountPrefix: image\nartifactsPath: overlay/artifacts\nextraOptions:\n    board: demo\n",
        ),
        (
            "dtb_edit",
            "enable serial2\nset &uart2 reg <0 0x1 &uart2>\nset /bus a \"b\", \"c\"\ndelete /aliases serial2\nlocal-mac-address /bus/serial@1 02:1a:2b:3c:4d:5e\n",
        ),
    ] {
        files.push((format!("{target}/text"), text.as_bytes().to_vec()));
    }
    Ok(files)
}

/// What a registry says when it asks for a token.
const CHALLENGE: &str = "Basic realm=\"a\\\"b\", Bearer realm=\"https://auth.example/token\",service=\"registry\",\
    scope=\"repository:a/b:pull,push\"";

/// What tells of a U-Boot: its banner, names of boot methods, the default environment.
const FLOW: &str = "\0U-Boot 2026.01 (Jan 01 2026 - 00:00:00 +0000)\0bootmeth_efi\0BOOTAA64.EFI\0ubootefi.var\0\
    bootcmd=bootflow scan\0baudrate=1500000\0boot_targets=mmc1 mmc0\0fdtfile=rockchip/rk3588-a.dtb\0\0";

/// A board's tree with labels, and an overlay with every kind of table.
fn trees() -> Result<(Vec<u8>, Vec<u8>), dtbtool::Error> {
    use dtbtool::{
        WriteOptions,
        model::{DeviceTree, Node, Property},
    };
    let node = |name: &str, properties: Vec<Property>| Node { properties, ..Node::new(name) };
    let mut base = DeviceTree::new();
    let root = base.root_mut();
    root.set(Property::strings("compatible", ["acme,board", "rockchip,rk3588"]));
    root.children = vec![
        node("aliases", vec![Property::string("serial2", "/serial@1")]),
        node("chosen", vec![Property::string("stdout-path", "serial2:1500000n8")]),
        node("serial@1", vec![Property::u32("phandle", 1), Property::string("status", "disabled")]),
        node("__symbols__", vec![Property::string("uart2", "/serial@1")]),
    ];
    let mut change = DeviceTree::new();
    let content = node("__overlay__", vec![Property::string("status", "okay"), Property::u32("link", 1)])
        .with_child(node("new", vec![Property::u32("phandle", 1)]));
    let fixup = Node::new("fragment@0").with_child(node("__overlay__", vec![Property::u32("link", 0)]));
    change.root_mut().children = vec![
        node("fragment@0", vec![Property::u32("target", u32::MAX)]).with_child(content),
        node("__fixups__", vec![Property::string("uart2", "/fragment@0:target:0")]),
        Node::new("__local_fixups__").with_child(fixup),
        node("__symbols__", vec![Property::string("new", "/fragment@0/__overlay__/new")]),
    ];
    Ok((base.to_bytes(&WriteOptions::default())?, change.to_bytes(&WriteOptions::default())?))
}

/// Loader file, legacy images, a table of overlays and a list of partitions.
fn other_boot_files(files: &mut Vec<(String, Vec<u8>)>) -> Result<(), rkboot::Error> {
    use rkboot::{dtbo_table, idblock, legacy, loader};
    let parts = idblock::Parts { soc: rkboot::Soc::Rk3588, init: b"init", boot: Some(b"boot") };
    files.push(("loader/loader.bin".to_owned(), loader::sample(&idblock::build(&parts)?)));
    // One slot is enough; the padding behind the data says nothing.
    let image = legacy::loader_image::Parts { data: b"u-boot", slot: 64 << 10, copies: 1, ..Default::default() };
    let mut image = legacy::loader_image::build(&image)?;
    image.truncate(4096);
    files.push(("loader_image/uboot.img".to_owned(), image));
    let mut trust = legacy::trust::sample();
    trust.truncate(6144);
    files.push(("trust/trust.img".to_owned(), trust));
    let tree = dtbtool::model::DeviceTree::new().to_bytes(&dtbtool::WriteOptions::default()).unwrap_or_default();
    let overlays = [dtbo_table::Overlay { tree: &tree, id: 1, ..Default::default() }; 2];
    let table = dtbo_table::build(&dtbo_table::Parts { overlays: &overlays, ..Default::default() })?;
    files.push(("dtbo_table/dtbo.img".to_owned(), table));
    let text = "FIRMWARE_VER: 1.0\nTYPE: GPT\nCMDLINE: mtdparts=rk29xxnand:0x2000@0x4000(uboot),-@0x8000(rootfs:grow)\n\
                uuid:rootfs=614e0000-0000-4b53-8000-1d28000054a9\n";
    files.push(("parameter/parameter.txt".to_owned(), text.as_bytes().to_vec()));
    Ok(())
}

/// A disk as small as a table with two partitions can be.
fn disk() -> Result<Extents, rawimg::Error> {
    let mut spec = gpt::Spec::new(96 << 10, rawimg::guid!("d92d45b3-cde9-8760-be9f-a2a71fac8d11"));
    spec.align = 4096;
    spec.skip = imgcore::Sectors(8);
    for (name, type_guid, guid) in [
        ("EFI", gpt::EFI_SYSTEM, rawimg::guid!("bca5174b-0118-8a6a-af0b-2c6e1585acae")),
        ("META", gpt::LINUX_FILESYSTEM, rawimg::guid!("cf04f137-101e-8ec6-9627-fa3f51cdabb8")),
    ] {
        spec.partitions.push(gpt::PartitionSpec { name: name.to_owned(), type_guid, guid, size: 8192, attributes: 0 });
    }
    let table = gpt::plan(&spec)?;
    let mut disk = Extents::new(table.disk_size);
    table.insert_into(&mut disk)?;
    Ok(disk)
}

/// A 64-bit Arm program of one segment, as small as it can be.
fn program() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // Machine, entry, the table of segments with its entry size and count.
    (bytes[18], bytes[26], bytes[32], bytes[54], bytes[56]) = (183, 4, 64, 56, 1);
    // PT_LOAD, flags, offset, virtual and physical address, bytes in the file and in memory, alignment.
    for field in [0x5_0000_0001_u64, 120, 0x4_0000, 0x4_0000, 4, 16, 8] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(b"code");
    bytes
}

/// The first sectors of a FAT32 file system: boot sectors and the start of the first FAT.
fn volume() -> Result<Vec<u8>, rawimg::Error> {
    let mut tree = fat::Tree::new();
    tree.add_file("EFI/boot/BOOTAA64.efi", vec![0x4d; 700].into())?;
    let options = fat::Options {
        size: 64 << 20,
        sector: SectorSize::B512,
        label: "EFI".to_owned(),
        time: Epoch(0),
        ..fat::Options::default()
    };
    let plan = fat::plan(&tree, &options)?;
    let mut bytes = vec![0; 33 * 512];
    imgcore::ReadAt::read_exact_at(&plan.extents, 0, &mut bytes)
        .map_err(|error| rawimg::Error::io("reading the volume", error))?;
    Ok(bytes)
}
