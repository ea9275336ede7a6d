//! The facts F1 to F22 of `spec/talos-image.md` §14, checked on images of the built program by offsets alone, and by
//! programs that are not ours: sgdisk, sfdisk, fsck.fat, mkfs.fat, mtools, xz, zstd, gzip.
//!
//! Every release line is built at four offsets, with and without arguments, META and a size. The expected values are
//! written out here from the specification; nothing is asked of the product's own tables or readers.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{
    Inputs, World, copy_sparse, prefixed,
    raw::{self, Entry, Header, Pe, SECTOR, bytes, first_nonzero, u16_at, u32_at},
    result,
};
use fs_err as fs;
use imgcore::Digest;

const MIB: u64 = 1 << 20;

/// What a release line does, from §1.3, §3.2, §5.3 and §5.5.
struct Line {
    /// A version for each case.
    talos: [&'static str; 4],
    default_size: u64,
    esp: u64,
    /// Default arguments behind `printk.devkmsg=on`.
    tail: &'static str,
    /// Whether mkfs.fat saw a partition of a device (§5.5), not a file.
    device: bool,
}

const LINES: [Line; 4] = [
    Line {
        talos: ["v1.10.0", "v1.10.6", "v1.10.7", "v1.10.9"],
        default_size: 1246 * MIB,
        esp: 1101 * MIB,
        tail: "ima_template=ima-ng ima_appraise=fix ima_hash=sha512 selinux=1",
        device: true,
    },
    Line {
        talos: ["v1.11.0", "v1.11.1", "v1.11.5", "v1.11.6"],
        default_size: 2246 * MIB,
        esp: 2101 * MIB,
        tail: "selinux=1",
        device: true,
    },
    Line {
        talos: ["v1.12.0", "v1.12.1", "v1.12.4", "v1.12.7"],
        default_size: 2246 * MIB,
        esp: 2101 * MIB,
        tail: "selinux=1 module.sig_enforce=1",
        device: true,
    },
    Line {
        talos: ["v1.13.0", "v1.13.9", "v1.13.2", "v1.13.4"],
        default_size: 2246 * MIB,
        esp: 2101 * MIB,
        tail: "selinux=1 module.sig_enforce=1 proc_mem.force_override=never",
        device: false,
    },
];

/// One image of a line.
struct Case<'a> {
    line: &'a Line,
    talos: &'static str,
    /// LBAs by which the overlay moves the entry array; `None` without an overlay.
    offset: Option<u64>,
    size: Option<u64>,
    args: &'static [&'static str],
    /// Tag as on the command line, as a number, value.
    meta: &'static [(&'static str, u64, &'static str)],
    command_line: String,
}

/// In another order than that of the tags.
const META: &[(&str, u64, &str)] =
    &[("0x0c", 12, "machineLabels:\n    site: \"a=b\"\n"), ("10", 10, "addresses: []"), ("0x10", 16, "token")];

const ARGS: &[&str] = &[
    "net.ifnames=0",
    "-consoleblank",
    "talos.config=https://example.org/c?a=1&b=2",
    "console=ttyAMA0",
    "dyndbg=\"file drivers/usb/* +p\"",
];

/// The images of a line: offset 0 without an overlay and with a size that is no multiple of 1 MiB; 20480 with more
/// arguments; 24576 with META; 32768 with 4 GiB.
fn cases(line: &Line) -> [Case<'_>; 4] {
    let tail = format!("nvme_core.io_timeout=4294967295 printk.devkmsg=on {}", line.tail);
    let plain = format!(
        "talos.platform=metal console=ttyAMA0 console=tty0 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 {tail}"
    );
    // The overlay's consoles replace the platform's; its consoleblank is repeated by the default one.
    let overlay = |console: &str, blank: &str| {
        format!(
            "talos.platform=metal {console} sysctl.kernel.kexec_load_disabled=1 talos.dashboard.disabled=1{blank} \
             init_on_alloc=1 slab_nomerge pti=on {tail}"
        )
    };
    let own = overlay("console=tty0 console=ttyS2,1500000n8", " consoleblank=0 consoleblank=0");
    let changed = format!(
        "{} net.ifnames=0 talos.config=https://example.org/c?a=1&b=2 dyndbg=\"file drivers/usb/* +p\"",
        overlay("console=ttyAMA0", "")
    );
    let case = |at: usize, offset, command_line: &String| Case {
        line,
        talos: line.talos[at],
        offset,
        size: None,
        args: &[],
        meta: &[],
        command_line: command_line.clone(),
    };
    [
        Case { size: Some(line.default_size + 70 * MIB + 512), ..case(0, None, &plain) },
        Case { args: ARGS, ..case(1, Some(20480), &changed) },
        Case { meta: META, ..case(2, Some(24576), &own) },
        Case { size: Some(4096 * MIB), ..case(3, Some(32768), &own) },
    ]
}

/// An image and what the checks look at.
struct Image<'a> {
    case: &'a Case<'a>,
    inputs: &'a Inputs,
    file: fs::File,
    size: u64,
    last_lba: u64,
    primary: Header,
    backup: Header,
    array: Vec<u8>,
    entries: Vec<Entry>,
    /// The ESP as a file of its own.
    esp: PathBuf,
    /// Its tree as mtools copies it out, files with their bytes, folders with a slash at the end; `None` without mtools.
    tree: Option<BTreeMap<String, Vec<u8>>>,
}

impl Image<'_> {
    fn offset(&self) -> u64 {
        self.case.offset.unwrap_or(0)
    }

    /// Boot files: first LBA and bytes.
    fn boot_files(&self) -> Vec<(u64, Vec<u8>)> {
        if self.case.offset.is_none() {
            return Vec::new();
        }
        vec![(64, testkit::read(&self.inputs.idbloader)), (16384, testkit::read(&self.inputs.u_boot))]
    }

    fn uki_path(&self) -> String {
        format!("EFI/Linux/Talos-{}.efi", self.case.talos)
    }

    /// The unified kernel image, if mtools is there.
    fn uki(&self) -> Option<&[u8]> {
        self.tree.as_ref().map(|tree| tree[&self.uki_path()].as_slice())
    }

    fn meta(&self) -> Vec<u8> {
        bytes(&self.file, self.entries[1].first * SECTOR, MIB)
    }
}

type Check = fn(&Image<'_>) -> Result<(), String>;

const FACTS: [(&str, Check); 22] = [
    ("F1 size", f1),
    ("F2 protective MBR", f2),
    ("F3 primary header", f3),
    ("F4 entry array and first usable LBA", f4),
    ("F5 backup header", f5),
    ("F6 both entry arrays", f6),
    ("F7 partitions", f7),
    ("F8 starts and ends", f8),
    ("F9 types and attributes", f9),
    ("F10 GUIDs", f10),
    ("F11 boot files", f11),
    ("F12 boot files hit nothing", f12),
    ("F13 gaps are zero", f13),
    ("F14 FAT geometry", f14),
    ("F15 files of the ESP", f15),
    ("F16 UKI sections", f16),
    ("F17 command lines", f17),
    ("F18 kernel, initramfs, os-release", f18),
    ("F19 PE fields", f19),
    ("F20 systemd-boot", f20),
    ("F21 device tree", f21),
    ("F22 META", f22),
];

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, expected {expected:?}"))
}

fn holds(what: &str, truth: bool) -> Result<(), String> {
    if truth { Ok(()) } else { Err(what.to_owned()) }
}

fn f1(image: &Image<'_>) -> Result<(), String> {
    same("size", &image.size, &image.case.size.unwrap_or(image.case.line.default_size))?;
    holds("the default size is no multiple of 1 MiB", image.case.size.is_some() || image.size.is_multiple_of(MIB))
}

fn f2(image: &Image<'_>) -> Result<(), String> {
    let sector = bytes(&image.file, 0, SECTOR);
    holds("boot code", sector[..446].iter().all(|byte| *byte == 0))?;
    same("status and first CHS", &&sector[446..450], &&[0, 0, 2, 0][..])?;
    same("type and last CHS", &&sector[450..454], &&[0xee, 0xff, 0xff, 0xff][..])?;
    same("start", &u32_at(&sector, 454), &1)?;
    same("length", &u32_at(&sector, 458), &image.last_lba)?;
    holds("other entries", sector[462..510].iter().all(|byte| *byte == 0))?;
    same("signature", &&sector[510..], &&[0x55, 0xaa][..])
}

fn header(header: &Header, my_lba: u64, alternate: u64) -> Result<(), String> {
    same("signature", &&header.sector[..8], &&b"EFI PART"[..])?;
    same("revision", &&header.sector[8..12], &&[0, 0, 1, 0][..])?;
    same("header size", &u32_at(&header.sector, 12), &92)?;
    holds("header CRC", header.crc_is_right())?;
    holds("reserved word", u32_at(&header.sector, 20) == 0)?;
    same("my LBA", &header.my_lba, &my_lba)?;
    same("alternate LBA", &header.alternate_lba, &alternate)?;
    same("entries", &u32_at(&header.sector, 80), &128)?;
    same("entry size", &u32_at(&header.sector, 84), &128)?;
    holds("rest of the header's sector", header.sector[92..].iter().all(|byte| *byte == 0))
}

fn f3(image: &Image<'_>) -> Result<(), String> {
    header(&image.primary, 1, image.last_lba)
}

fn f4(image: &Image<'_>) -> Result<(), String> {
    let (entries, usable) = match image.case.offset {
        None => (2, 2048),
        Some(20480) => (20482, 22528),
        Some(24576) => (24578, 26624),
        Some(32768) => (32770, 34816),
        // The first partition starts at the next multiple of 1 MiB behind the array.
        Some(30001) => (30003, 30720),
        Some(other) => return Err(format!("no expectation for offset {other}")),
    };
    same("entry array", &image.primary.entries_lba, &entries)?;
    same("first usable LBA", &image.primary.first_usable, &usable)
}

fn f5(image: &Image<'_>) -> Result<(), String> {
    header(&image.backup, image.last_lba, 1)?;
    same("last usable LBA", &image.primary.last_usable, &(image.last_lba - 33))?;
    same("last usable LBA of the backup", &image.backup.last_usable, &(image.last_lba - 33))?;
    same("first usable LBA of the backup", &image.backup.first_usable, &image.primary.first_usable)?;
    same("backup entry array", &image.backup.entries_lba, &(image.last_lba - 32))?;
    same("disk GUID of the backup", &image.backup.disk_guid, &image.primary.disk_guid)?;
    same("array CRC of the backup", &image.backup.entries_crc, &image.primary.entries_crc)
}

fn f6(image: &Image<'_>) -> Result<(), String> {
    let backup = bytes(&image.file, image.backup.entries_lba * SECTOR, 128 * 128);
    holds("the arrays differ", backup == image.array)?;
    same("array CRC", &image.primary.entries_crc, &raw::crc32(&image.array))?;
    // Unused entries are zero.
    holds("bytes behind the used entries", image.array[128 * image.entries.len()..].iter().all(|byte| *byte == 0))
}

fn f7(image: &Image<'_>) -> Result<(), String> {
    let names: Vec<_> = image.entries.iter().map(|entry| entry.name.as_str()).collect();
    same("names", &names, &vec!["EFI", "META"])
}

fn f8(image: &Image<'_>) -> Result<(), String> {
    let [efi, meta] = &image.entries[..] else { return Err("not two partitions".to_owned()) };
    same("start of EFI", &efi.first, &image.primary.first_usable)?;
    same("end of EFI", &efi.last, &(efi.first + image.case.line.esp / SECTOR - 1))?;
    same("start of META", &meta.first, &(efi.last + 1))?;
    same("end of META", &meta.last, &(meta.first + 2047))?;
    holds("alignment", efi.first.is_multiple_of(2048) && meta.first.is_multiple_of(2048))
}

fn f9(image: &Image<'_>) -> Result<(), String> {
    let kinds: Vec<_> = image.entries.iter().map(|entry| entry.kind.as_str()).collect();
    let expected = vec!["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0fc63daf-8483-4772-8e79-3d69d8477de4"];
    same("types", &kinds, &expected)?;
    holds("attributes", image.entries.iter().all(|entry| entry.attributes == 0))
}

fn f10(image: &Image<'_>) -> Result<(), String> {
    same("disk GUID", &image.primary.disk_guid.as_str(), &"d92d45b3-cde9-8760-be9f-a2a71fac8d11")?;
    let guids: Vec<_> = image.entries.iter().map(|entry| entry.guid.as_str()).collect();
    same("partitions", &guids, &vec!["bca5174b-0118-8a6a-af0b-2c6e1585acae", "cf04f137-101e-8ec6-9627-fa3f51cdabb8"])
}

fn f11(image: &Image<'_>) -> Result<(), String> {
    if image.offset() > 0 {
        same("LBA 2 to 63", &first_nonzero(&image.file, 2 * SECTOR, 64 * SECTOR), &None)?;
    }
    for (lba, expected) in image.boot_files() {
        holds(&format!("LBA {lba}"), bytes(&image.file, lba * SECTOR, expected.len() as u64) == expected)?;
    }
    Ok(())
}

fn f12(image: &Image<'_>) -> Result<(), String> {
    let mut end = 2;
    for (lba, content) in image.boot_files() {
        holds(&format!("the file at LBA {lba} begins before {end}"), lba >= end)?;
        end = lba + (content.len() as u64).div_ceil(SECTOR);
    }
    holds(&format!("boot files end at LBA {end}"), end <= image.primary.entries_lba)
}

fn f13(image: &Image<'_>) -> Result<(), String> {
    let mut used: Vec<(u64, u64)> =
        image.boot_files().iter().map(|(lba, content)| (lba * SECTOR, lba * SECTOR + content.len() as u64)).collect();
    let array = image.primary.entries_lba * SECTOR;
    used.push((array, array + 128 * 128));
    used.push((image.entries[0].first * SECTOR, (image.entries[1].last + 1) * SECTOR));
    used.push((image.backup.entries_lba * SECTOR, image.size));
    let mut at = 2 * SECTOR;
    for (start, end) in used {
        same(&format!("gap {at}..{start}"), &first_nonzero(&image.file, at, start), &None)?;
        at = end;
    }
    same("end", &at, &image.size)
}

/// Heads that mkfs.fat 4.2 gives a device of so many sectors (LBA assist, 63 sectors a track).
fn heads(sectors: u64) -> u64 {
    [16, 32, 64, 128].into_iter().find(|heads| sectors <= heads * 63 * 1024).unwrap_or(255)
}

fn f14(image: &Image<'_>) -> Result<(), String> {
    let esp = fs::File::open(&image.esp).unwrap();
    let boot = bytes(&esp, 0, SECTOR);
    let line = image.case.line;
    let total = line.esp / SECTOR / 63 * 63;
    let hidden = if line.device { image.entries[0].first } else { 0 };
    let disk = if line.device { image.size } else { line.esp };
    let fat = if line.esp == 1101 * MIB { 2200 } else { 4200 };
    for (field, found, expected) in [
        ("bytes per sector", u16_at(&boot, 11), 512),
        ("sectors per cluster", u64::from(boot[13]), 8),
        ("reserved", u16_at(&boot, 14), 32),
        ("FATs", u64::from(boot[16]), 2),
        ("media", u64::from(boot[21]), 0xf8),
        ("sectors per track", u16_at(&boot, 24), 63),
        ("heads", u16_at(&boot, 26), heads(disk / SECTOR)),
        ("hidden sectors", u32_at(&boot, 28), hidden),
        ("total sectors", u32_at(&boot, 32), total),
        ("FAT sectors", u32_at(&boot, 36), fat),
        ("root cluster", u32_at(&boot, 44), 2),
        ("FSInfo", u16_at(&boot, 48), 1),
        ("backup boot sector", u16_at(&boot, 50), 6),
        ("drive", u64::from(boot[64]), 0x80),
        ("volume id", u32_at(&boot, 67), 0x1234_abcd),
    ] {
        same(field, &found, &expected)?;
    }
    same("OEM", &&boot[3..11], &&b"mkfs.fat"[..])?;
    same("label and type", &&boot[71..90], &&b"EFI        FAT32   "[..])?;
    same("signature", &&boot[510..], &&[0x55, 0xaa][..])?;
    holds("backup boot sector", bytes(&esp, 6 * SECTOR, SECTOR) == boot)?;
    let tables: Vec<_> = (0..2).map(|at| bytes(&esp, (32 + at * fat) * SECTOR, fat * SECTOR)).collect();
    holds("the FATs differ", tables[0] == tables[1])?;
    let root = bytes(&esp, (32 + 2 * fat) * SECTOR, 32);
    same("label in the root", &&root[..12], &&b"EFI        \x08"[..])?;
    // FSInfo's count of free clusters is that of the table.
    let clusters = (total - 32 - 2 * fat) / 8;
    let free =
        (2..clusters + 2).filter(|at| u32_at(&tables[0], usize::try_from(at * 4).unwrap()).is_multiple_of(1 << 28));
    same("free clusters", &u32_at(&bytes(&esp, SECTOR, SECTOR), 488), &(free.count() as u64))?;
    drop(tables);

    // The same partition made by mkfs.fat itself.
    let Some(mkfs) = testkit::tool("mkfs.fat") else { return Ok(()) };
    let made = image.esp.with_extension("mkfs");
    fs::File::create(&made).unwrap().set_len(line.esp).unwrap();
    let mut command = Command::new(mkfs);
    command.args(["-F", "32", "-n", "EFI", "--invariant"]);
    if line.device {
        command.arg("-g").arg(format!("{}/63", heads(disk / SECTOR))).arg("-h").arg(hidden.to_string());
    }
    testkit::run(command.arg(&made));
    let theirs = bytes(&fs::File::open(&made).unwrap(), 0, SECTOR);
    fs::remove_file(&made).unwrap();
    same("BPB as mkfs.fat writes it", &&boot[..90], &&theirs[..90])
}

fn f15(image: &Image<'_>) -> Result<(), String> {
    let Some(tree) = &image.tree else { return Ok(()) };
    let uki = image.uki_path();
    let mut expected =
        vec!["EFI/", "EFI/Linux/", &uki, "EFI/boot/", "EFI/boot/BOOTAA64.efi", "loader/", "loader/loader.conf"];
    let dtb = format!("dtb/rockchip/{}", image.inputs.dtb_name);
    if image.case.offset.is_some() {
        expected.extend(["dtb/", "dtb/rockchip/", &dtb]);
    }
    expected.sort_unstable();
    same("paths", &tree.keys().map(String::as_str).collect::<Vec<_>>(), &expected)?;
    let conf = &tree["loader/loader.conf"];
    same("length of loader.conf", &conf.len(), &41)?;
    same("loader.conf", &conf.as_slice(), &&b"# systemd-boot configuration\n\ntimeout 10\n"[..])
}

fn f16(image: &Image<'_>) -> Result<(), String> {
    let Some(uki) = image.uki() else { return Ok(()) };
    let (pe, stub) = (Pe::parse(uki), testkit::read(&image.inputs.stub));
    let of_stub = Pe::parse(&stub);
    same("magic", &pe.magic, &0x20b)?;
    same("machine", &pe.machine, &0xaa64)?;
    let mut expected: Vec<_> = of_stub.sections.iter().map(|section| section.name.as_str()).collect();
    expected
        .extend([".osrel", ".cmdline", ".uname", ".splash", ".linux", ".initrd", ".profile", ".profile", ".cmdline"]);
    same("sections", &pe.sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>(), &expected)?;
    for (ours, theirs) in pe.sections.iter().zip(&of_stub.sections) {
        let fields = |section: &raw::Section| (section.virtual_size, section.virtual_address, section.flags);
        same(&ours.name, &fields(ours), &fields(theirs))?;
        holds(&format!("{} differs from the stub's", ours.name), ours.content(uki) == theirs.content(&stub))?;
    }
    let added = &pe.sections[of_stub.sections.len()..];
    holds("flags of added sections", added.iter().all(|section| section.flags == 0x4000_0040))?;
    let profiles: Vec<_> =
        added.iter().filter(|section| section.name == ".profile").map(|section| section.text(uki)).collect();
    same("profiles", &profiles, &vec!["ID=main", "ID=reset-maintenance\nTITLE=Reset to maintenance mode"])
}

fn f17(image: &Image<'_>) -> Result<(), String> {
    let Some(uki) = image.uki() else { return Ok(()) };
    let pe = Pe::parse(uki);
    let lines: Vec<_> =
        pe.sections.iter().filter(|section| section.name == ".cmdline").map(|section| section.text(uki)).collect();
    let reset = format!("{} talos.experimental.wipe=system:EPHEMERAL,STATE", image.case.command_line);
    same("command lines", &lines, &vec![image.case.command_line.as_str(), &reset])?;
    // Sizes are exact: neither NUL nor newline is counted.
    holds("NUL or newline", lines.iter().all(|line| !line.contains(['\0', '\n'])))
}

fn f18(image: &Image<'_>) -> Result<(), String> {
    let Some(uki) = image.uki() else { return Ok(()) };
    let pe = Pe::parse(uki);
    for (name, input) in [(".linux", &image.inputs.kernel), (".initrd", &image.inputs.initramfs)] {
        let section = pe.sections.iter().find(|section| section.name == name).ok_or(name)?;
        let input = testkit::read(input);
        same(name, &section.virtual_size, &(input.len() as u64))?;
        holds(&format!("{name} differs from the input"), section.content(uki) == input)?;
    }
    let text = |name: &str| pe.sections.iter().find(|section| section.name == name).map(|section| section.text(uki));
    let talos = image.case.talos;
    let expected = format!(
        "NAME=\"Talos\"\nID=talos\nVERSION_ID={talos}\nPRETTY_NAME=\"Talos ({talos})\"\n\
         HOME_URL=\"https://www.talos.dev/\"\nBUG_REPORT_URL=\"https://github.com/siderolabs/talos/issues\"\n\
         VENDOR_NAME=\"Sidero Labs\"\nVENDOR_URL=\"https://www.siderolabs.com/\"\n"
    );
    same(".osrel", &text(".osrel"), &Some(expected.as_str()))?;
    // The release stands in the kernel's own banner.
    let kernel = testkit::read(&image.inputs.kernel);
    let banner = b"Linux version ";
    let at = kernel.windows(banner.len()).position(|window| window == banner).ok_or("no banner in the kernel")?;
    let release: Vec<_> = kernel[at + banner.len()..].iter().copied().take_while(|byte| *byte != b' ').collect();
    same(".uname", &text(".uname"), &std::str::from_utf8(&release).ok())
}

fn f19(image: &Image<'_>) -> Result<(), String> {
    let Some(uki) = image.uki() else { return Ok(()) };
    let pe = Pe::parse(uki);
    same("e_lfanew", &pe.header, &0x80)?;
    holds("bytes between DOS header and PE header", uki[64..128].iter().all(|byte| *byte == 0))?;
    same("CheckSum", &u32_at(uki, pe.optional + 64), &0)?;
    same("linker version", &&uki[pe.optional + 2..pe.optional + 4], &&[0, 0][..])?;
    holds("certificate table", uki[pe.optional + 144..pe.optional + 152].iter().all(|byte| *byte == 0))?;
    let up = |value: u64, to: u64| value.div_ceil(to) * to;
    let headers = 0x80 + 20 + 240 + 40 * pe.sections.len() as u64;
    same("SizeOfHeaders", &pe.size_of_headers, &up(headers, pe.file_alignment))?;
    let (mut raw_end, mut virtual_end) = (pe.size_of_headers, 0);
    for section in &pe.sections {
        let name = &section.name;
        same(&format!("{name}: raw pointer"), &section.raw_offset, &raw_end)?;
        holds(&format!("{name}: raw size is not aligned"), section.raw_size.is_multiple_of(pe.file_alignment))?;
        holds(&format!("{name}: address"), section.virtual_address >= virtual_end)?;
        holds(
            &format!("{name}: address is not aligned"),
            section.virtual_address.is_multiple_of(pe.section_alignment),
        )?;
        raw_end += section.raw_size;
        virtual_end = section.virtual_address + section.virtual_size;
    }
    same("end of file", &(uki.len() as u64), &raw_end)?;
    same("SizeOfImage", &pe.size_of_image, &up(virtual_end, pe.section_alignment))
}

fn f20(image: &Image<'_>) -> Result<(), String> {
    let Some(tree) = &image.tree else { return Ok(()) };
    holds("BOOTAA64.efi differs from the input", tree["EFI/boot/BOOTAA64.efi"] == testkit::read(&image.inputs.sd_boot))
}

fn f21(image: &Image<'_>) -> Result<(), String> {
    let (Some(tree), Some(_)) = (&image.tree, image.case.offset) else { return Ok(()) };
    let path = format!("dtb/rockchip/{}", image.inputs.dtb_name);
    holds("the device tree differs from the input", tree[&path] == testkit::read(&image.inputs.dtb))
}

fn f22(image: &Image<'_>) -> Result<(), String> {
    let meta = image.meta();
    if image.case.meta.is_empty() {
        return holds("META is not zero", meta.iter().all(|byte| *byte == 0));
    }
    let (first, rest) = meta.split_at(256 << 10);
    holds("the copies differ", first == &rest[..256 << 10])?;
    holds("bytes behind the copies", rest[256 << 10..].iter().all(|byte| *byte == 0))?;
    same("first magic", &&first[..4], &&[0x5a, 0x4b, 0x3c, 0x2d][..])?;
    same("last magic", &&first[0x3fffc..], &&[0xa5, 0xb4, 0xc3, 0xd2][..])?;
    let mut hashed = first.to_vec();
    hashed[0x3ffdc..0x3fffc].fill(0);
    same("SHA-256", &raw::hex(&first[0x3ffdc..0x3fffc]), &Digest::of(&hashed).hex())?;
    let word = |at: usize| u64::from(u32::from_be_bytes(first[at..at + 4].try_into().unwrap()));
    let mut found = BTreeMap::new();
    let mut at = 4;
    while word(at) != 0 {
        let end = at + 8 + usize::try_from(word(at + 4)).unwrap();
        found.insert(word(at), String::from_utf8(first[at + 8..end].to_vec()).unwrap());
        at = end;
    }
    holds("bytes behind the last tag", first[at..0x3ffdc].iter().all(|byte| *byte == 0))?;
    same("values", &found, &image.case.meta.iter().map(|(_, tag, value)| (*tag, (*value).to_owned())).collect())
}

/// The tree of a FAT file system as mtools copies it out, with the same names in mtools' listing.
fn mtools(world: &World, esp: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let (mdir, mcopy) = (testkit::tool("mdir")?, testkit::tool("mcopy")?);
    let folder = world.path("tree");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir(&folder).unwrap();
    testkit::run(Command::new(mcopy).args(["-s", "-n", "-i"]).arg(esp).arg("::*").arg(&folder));
    let mut tree = BTreeMap::new();
    let mut open = vec![String::new()];
    while let Some(parent) = open.pop() {
        for entry in fs::read_dir(folder.join(&parent)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{parent}{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                open.push(format!("{path}/"));
                tree.insert(format!("{path}/"), Vec::new());
            } else {
                tree.insert(path, testkit::read(entry.path()));
            }
        }
    }
    let listing = testkit::run(Command::new(mdir).args(["-/", "-b", "-i"]).arg(esp).arg("::"));
    let mut listed: Vec<_> = listing.lines().map(|line| line.trim_start_matches("::/")).collect();
    listed.sort_unstable();
    assert_eq!(listed, tree.keys().map(String::as_str).collect::<Vec<_>>(), "mdir and mcopy");
    Some(tree)
}

/// Programs that know partition tables and FATs.
fn foreign_programs(image: &Path, esp: &Path) {
    if let Some(sgdisk) = testkit::tool("sgdisk") {
        let said = testkit::run(Command::new(sgdisk).arg("-v").arg(image));
        assert!(said.contains("No problems found"), "{said}");
    }
    if let Some(sfdisk) = testkit::tool("sfdisk") {
        let said = testkit::run(Command::new(sfdisk).arg("--verify").arg(image));
        assert!(said.contains("No errors detected"), "{said}");
    }
    if let Some(fsck) = testkit::tool("fsck.fat") {
        testkit::run(Command::new(fsck).arg("-n").arg(esp));
    }
}

/// Builds an image and checks every fact; all that do not hold are named.
fn check(world: &World, base: &Path, case: &Case<'_>) {
    let name = format!("{} with offset {:?}", case.talos, case.offset);
    let board = match case.offset {
        None => world.plain_board("plain"),
        Some(offset) => world.overlay_board(&format!("moved-{offset}"), offset),
    };
    let mut command = world.image(&board, case.talos, "out");
    command.arg("--base").arg(prefixed("dir:", base)).args(["--format", "raw"]);
    if let Some(size) = case.size {
        command.args(["--size", &size.to_string()]);
    }
    for arg in case.args {
        command.args(["--kernel-arg", arg]);
    }
    for (tag, _, value) in case.meta {
        command.arg("--meta").arg(format!("{tag}={value}"));
    }
    if case.offset.is_some() {
        world.add_sources(&mut command);
    }
    let built = result(&mut command);
    let path = world.path("out/metal-arm64.raw");
    let image = load(world, &path, case);
    foreign_programs(&path, &image.esp);
    let broken = broken(&image);
    assert!(broken.is_empty(), "{name}\n{}", broken.join("\n"));
    // What the record says is what is there.
    assert_eq!(built["build"]["commandLine"], case.command_line, "{name}");
    assert_eq!(built["build"]["size"], image.size, "{name}");
}

fn load<'a>(world: &'a World, path: &Path, case: &'a Case<'a>) -> Image<'a> {
    let file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let last_lba = size / SECTOR - 1;
    let (primary, backup) = (Header::read(&file, 1), Header::read(&file, last_lba));
    let array = bytes(&file, primary.entries_lba * SECTOR, 128 * 128);
    let entries = raw::entries(&array);
    let esp = world.path("esp.img");
    copy_sparse(&file, entries[0].first * SECTOR, case.line.esp, &esp);
    let tree = mtools(world, &esp);
    Image { case, inputs: &world.inputs, file, size, last_lba, primary, backup, array, entries, esp, tree }
}

/// The facts that do not hold.
fn broken(image: &Image<'_>) -> Vec<String> {
    FACTS.iter().filter_map(|(fact, check)| Some(format!("{fact}: {}", check(image).err()?))).collect()
}

/// The checks themselves: one changed byte is seen, and by the facts that speak of it.
#[test]
fn a_changed_byte_breaks_the_fact_that_speaks_of_it() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let line = &LINES[0];
    let case = Case { meta: META, ..cases(line).into_iter().nth(1).unwrap() };
    check(&world, &base, &case);
    let path = world.path("out/metal-arm64.raw");
    let efi = 22528 * SECTOR;
    let meta = efi + line.esp;
    let end = line.default_size;
    for (what, offset, expected) in [
        ("type in the protective MBR", 450, &["F2"][..]),
        ("revision in the header", SECTOR + 10, &["F3"]),
        ("first usable LBA in the header", SECTOR + 40, &["F3", "F4", "F5", "F8"]),
        ("disk GUID in the header", SECTOR + 56, &["F3", "F5", "F10"]),
        ("LBA 3", 3 * SECTOR, &["F11", "F13"]),
        ("first boot file", 64 * SECTOR + 100, &["F11"]),
        ("second boot file", 16384 * SECTOR + 100, &["F11"]),
        ("name of the first partition", 20482 * SECTOR + 56, &["F6", "F7"]),
        ("GUID of the second partition", 20482 * SECTOR + 128 + 16, &["F6", "F10"]),
        ("LBA 20514", 20514 * SECTOR, &["F13"]),
        ("volume id", efi + 67, &["F14"]),
        ("second FAT", efi + (32 + 2200 + 1) * SECTOR, &["F14"]),
        ("first copy of META", meta + 10, &["F22"]),
        ("last KiB of META", meta + MIB - 1, &["F22"]),
        ("behind META", meta + MIB, &["F13"]),
        ("backup entry array", end - 33 * SECTOR, &["F6"]),
        ("backup header", end - SECTOR + 24, &["F5"]),
    ] {
        let file = fs::OpenOptions::new().write(true).read(true).open(&path).unwrap();
        let old = bytes(&file, offset, 1);
        let write = |byte: u8| std::os::unix::fs::FileExt::write_all_at(file.file(), &[byte], offset).unwrap();
        write(old[0] ^ 0x20);
        let broken = broken(&load(&world, &path, &case));
        let facts: Vec<_> = broken.iter().filter_map(|text| text.split(' ').next()).collect();
        assert_eq!(facts, expected, "{what}: {broken:#?}");
        write(old[0]);
    }
}

fn line(line: &Line) {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    for case in cases(line) {
        check(&world, &base, &case);
    }
}

#[test]
fn facts_with_an_offset_that_is_aligned_to_nothing() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let [.., moved] = cases(&LINES[2]);
    check(&world, &base, &Case { offset: Some(30001), size: None, ..moved });
}

#[test]
fn facts_of_v1_10() {
    line(&LINES[0]);
}

#[test]
fn facts_of_v1_11() {
    line(&LINES[1]);
}

#[test]
fn facts_of_v1_12() {
    line(&LINES[2]);
}

#[test]
fn facts_of_v1_13() {
    line(&LINES[3]);
}

/// A kernel of 30 MB, U-Boot's files of a board, a device tree of 260 KB.
#[test]
fn facts_with_real_files() {
    let Some(inputs) = Inputs::reference() else { return };
    let world = World::new(inputs);
    let base = world.base("base", None);
    for case in [&cases(&LINES[0])[1], &cases(&LINES[3])[1]] {
        check(&world, &base, case);
    }
}

/// Compressed files decode, with the programs that everybody has, to the raw image.
#[test]
fn every_format_decodes_to_the_raw_image() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let mut command = world.image(&world.overlay_board("formats", 20480), "v1.10.6", "out");
    command.arg("--base").arg(prefixed("dir:", &base));
    command.args(["raw", "raw.xz", "raw.zst", "raw.gz"].map(|format| format!("--format={format}")));
    world.add_sources(&mut command);
    let built = result(&mut command);
    let names: Vec<_> =
        built["build"]["images"].as_array().unwrap().iter().map(|image| image["name"].clone()).collect();
    assert_eq!(names, ["", ".xz", ".zst", ".gz"].map(|ending| format!("metal-arm64.raw{ending}")));
    let raw = world.path("out/metal-arm64.raw");
    let Some(cmp) = testkit::tool("cmp") else { return };
    for (program, ending) in [("xz", "xz"), ("zstd", "zst"), ("gzip", "gz")] {
        let Some(program) = testkit::tool(program) else { continue };
        let file = world.path(&format!("out/metal-arm64.raw.{ending}"));
        testkit::run(Command::new(&program).arg("-t").arg(&file));
        let mut decoder = Command::new(&program).arg("-dc").arg(&file).stdout(Stdio::piped()).spawn().unwrap();
        let equal = Command::new(&cmp).arg("-").arg(&raw).stdin(decoder.stdout.take().unwrap()).status().unwrap();
        assert!(decoder.wait().unwrap().success() && equal.success(), "{}", file.display());
    }
    // SHA256SUMS is what sha256sum reads, and covers everything beside itself.
    if let Some(sha256sum) = testkit::tool("sha256sum") {
        let said = testkit::run(
            Command::new(sha256sum).args(["--check", "--strict", "SHA256SUMS"]).current_dir(world.path("out")),
        );
        let mut checked: Vec<_> = said.lines().map(|line| line.strip_suffix(": OK").unwrap()).collect();
        checked.sort_unstable();
        let mut there: Vec<_> = fs::read_dir(world.path("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.retain(|name| name != "SHA256SUMS");
        there.sort_unstable();
        assert_eq!(checked, there);
    }
}
