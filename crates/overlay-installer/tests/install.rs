//! `install` and `get-options` on raw files in temporary folders.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods, reason = "a test may stop")]

mod common;

use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
};

use common::{Overlay, Program, answer, programs, refusal, tree};
use imgcore::{ReadAt as _, Sectors};
use rawimg::{Extents, Guid, gpt};
use talosimg::overlay::Board;

const MIB: u64 = 1 << 20;
const DISK: u64 = 64 * MIB;
const REQUEST: &str = "installDisk: disk.raw\nmountPrefix: image\nartifactsPath: overlay/artifacts\n\
                       extraOptions:\n    board: nanopi-m6\n    chipset: rk3588s\n";

fn bytes(seed: u64, count: usize) -> Vec<u8> {
    testkit::Rng::new(seed).bytes(count)
}

/// A disk with an EFI partition behind an entry array at LBA 2 + `skip`, and rubbish in all free room.
fn disk(skip: u64) -> Vec<u8> {
    let guid = |text: &str| text.parse::<Guid>().unwrap();
    let mut spec = gpt::Spec::new(DISK, guid("d92d45b3-cde9-8760-be9f-a2a71fac8d11"));
    spec.skip = Sectors(skip);
    spec.partitions.push(gpt::PartitionSpec {
        name: "EFI".to_owned(),
        type_guid: gpt::EFI_SYSTEM,
        guid: guid("bca5174b-0118-8a6a-af0b-2c6e1585acae"),
        size: 40 * MIB,
        attributes: 0,
    });
    let mut extents = Extents::new(DISK);
    let table = gpt::plan(&spec).unwrap();
    table.insert_into(&mut extents).unwrap();
    let mut disk = bytes(1, usize::try_from(DISK).unwrap());
    let layout = table.layout();
    for owned in layout.sorted().into_iter().filter(|owned| !owned.owner.starts_with("partition")) {
        let range = usize::try_from(owned.range.start).unwrap()..usize::try_from(owned.range.end).unwrap();
        extents.read_exact_at(owned.range.start, &mut disk[range]).unwrap();
    }
    disk
}

/// The boards `nanopi-m6` (two boot files, two device trees) and `rock-5a`.
fn overlay(program: &Program) -> Overlay {
    let overlay = Overlay::new(program, "rk3588");
    let mut second = overlay.boot_file("arm64/u-boot/m6/uboot.img", &bytes(3, 1_000_001), 8 * MIB);
    second.length = 900_001;
    let m6 = Board {
        name: "nanopi-m6".to_owned(),
        options: options("nanopi-m6", "rk3588s"),
        kernel_args: vec!["console=ttyS2,1500000n8".to_owned(), "quiet=\"a b\"".to_owned()],
        partition_offset: 20_480,
        spi: None,
        files: vec![overlay.boot_file("arm64/u-boot/m6/idbloader.img", &bytes(2, 331_776), 32_768), second],
        esp: vec![
            overlay.esp_file("arm64/dtb/m6.dtb", &bytes(4, 70_000), "dtb/rockchip/rk3588s-nanopi-m6.dtb"),
            overlay.esp_file("arm64/dtb/o.dtbo", b"overlay", "dtb/rockchip/overlays/o.dtbo"),
        ],
    };
    let rock = Board {
        name: "milas-rock-5a".to_owned(),
        options: options("rock-5a", "rk3588s"),
        kernel_args: vec![],
        partition_offset: 0,
        spi: None,
        files: vec![],
        esp: vec![],
    };
    overlay.describe("rk3588", vec![m6, rock]);
    overlay.write("disk.raw", &disk(20_480));
    overlay
}

fn options(board: &str, chipset: &str) -> std::collections::BTreeMap<String, String> {
    [("board".to_owned(), board.to_owned()), ("chipset".to_owned(), chipset.to_owned())].into()
}

fn read(overlay: &Overlay, path: &str) -> Vec<u8> {
    testkit::read(overlay.path(path))
}

/// What `install` is to make of the disk.
fn disk_after() -> Vec<u8> {
    let mut disk = disk(20_480);
    disk[32_768..32_768 + 331_776].copy_from_slice(&bytes(2, 331_776));
    disk[8 << 20..(8 << 20) + 900_001].copy_from_slice(&bytes(3, 1_000_001)[..900_001]);
    disk
}

fn assert_untouched(overlay: &Overlay) {
    assert!(read(overlay, "disk.raw") == disk(20_480), "the disk was written to");
    assert_eq!(
        tree(&overlay.path("image")).iter().filter(|(_, mode, _)| mode & 0o111 == 0).count(),
        0,
        "a file on the ESP"
    );
}

#[test]
fn a_board_gets_its_files_and_nothing_else_changes() {
    for program in programs() {
        let overlay = overlay(&program);
        assert_eq!(answer(&overlay.call(&["install"], REQUEST)), "");
        assert!(read(&overlay, "disk.raw") == disk_after(), "{}", program.name);
        let (found, report) = gpt::read(&read(&overlay, "disk.raw"));
        assert!(found.is_some() && !report.has_errors(), "{report:?}");
        let folder = |path: &str| (path.to_owned(), 0o755, vec![]);
        assert_eq!(
            tree(&overlay.path("image")),
            [
                folder("boot"),
                folder("boot/EFI"),
                folder("boot/EFI/dtb"),
                folder("boot/EFI/dtb/rockchip"),
                folder("boot/EFI/dtb/rockchip/overlays"),
                ("boot/EFI/dtb/rockchip/overlays/o.dtbo".to_owned(), 0o644, b"overlay".to_vec()),
                ("boot/EFI/dtb/rockchip/rk3588s-nanopi-m6.dtb".to_owned(), 0o644, bytes(4, 70_000)),
            ],
            "{}",
            program.name
        );
    }
}

#[test]
fn a_board_that_starts_from_spi_flash_keeps_its_disk_and_gets_its_device_trees() {
    for program in programs() {
        let overlay = overlay(&program);
        let spi = bytes(5, 70_000);
        overlay.write("overlay/artifacts/arm64/u-boot/m6/spi.bin", &spi);
        let json = fs::read_to_string(overlay.path("overlay/artifacts/overlay.json")).unwrap();
        let mut described = talosimg::overlay::OverlayJson::parse(&json).unwrap();
        described.boards[0].spi = Some(talosimg::overlay::SpiFile {
            digest: imgcore::Digest::of(&spi),
            option: "spi_boot".to_owned(),
            path: "arm64/u-boot/m6/spi.bin".to_owned(),
            size: spi.len() as u64,
        });
        overlay.describe("rk3588", described.boards);
        let refused = overlay.call(&["install"], &format!("{REQUEST}    spi_boot: maybe\n"));
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("neither true"), "{refused:?}");
        assert_untouched(&overlay);

        assert_eq!(answer(&overlay.call(&["install"], &format!("{REQUEST}    spi_boot: true\n"))), "");
        assert!(read(&overlay, "disk.raw") == disk(20_480), "{}", program.name);
        assert_eq!(read(&overlay, "image/boot/EFI/dtb/rockchip/rk3588s-nanopi-m6.dtb"), bytes(4, 70_000));
        assert_eq!(answer(&overlay.call(&["install"], &format!("{REQUEST}    spi_boot: false\n"))), "");
        assert!(read(&overlay, "disk.raw") == disk_after(), "{}", program.name);
    }
}

#[test]
fn the_umask_and_the_place_of_the_executable_change_nothing() {
    for program in programs() {
        let plain = overlay(&program);
        answer(&plain.call(&["install"], REQUEST));
        for umask in ["077", "000", "777"] {
            let overlay = overlay(&program);
            let default = overlay.path("overlay/installers/default");
            fs::hard_link(overlay.path("overlay/installers/rk3588"), default).unwrap();
            answer(&overlay.call_after(&format!("umask {umask}"), &["install"], REQUEST));
            assert!(tree(&overlay.path("image")) == tree(&plain.path("image")), "umask {umask}");
        }
    }
    // A container has the image at its root and another working directory.
    let overlay = overlay(&programs()[0]);
    let request = REQUEST
        .replace("disk.raw", &overlay.path("disk.raw").display().to_string())
        .replace("overlay/artifacts", &overlay.path("overlay/artifacts").display().to_string())
        .replace("image", &overlay.path("image").display().to_string());
    answer(&overlay.call_after("cd /", &["install"], &request));
    assert!(read(&overlay, "disk.raw") == disk_after());
}

#[test]
fn a_second_run_writes_nothing_and_a_third_mends_what_was_changed() {
    for program in programs() {
        let overlay = overlay(&program);
        answer(&overlay.call(&["install"], REQUEST));
        let dtb = overlay.path("image/boot/EFI/dtb/rockchip/rk3588s-nanopi-m6.dtb");
        let stamp = |path: &std::path::Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
        };
        let disk = overlay.path("disk.raw");
        let before = (stamp(&disk), stamp(&dtb));
        answer(&overlay.call(&["install"], REQUEST));
        assert_eq!((stamp(&disk), stamp(&dtb)), before, "{}", program.name);

        fs::write(&dtb, b"another").unwrap();
        fs::write(dtb.with_file_name(".rk3588s-nanopi-m6.dtb.new"), b"left by an interrupted run").unwrap();
        let file = fs::OpenOptions::new().write(true).open(&disk).unwrap();
        file.write_all_at(b"x", 8 * MIB + 600_000).unwrap();
        file.write_all_at(b"x", 8 * MIB + 900_001).unwrap();
        answer(&overlay.call(&["install"], REQUEST));
        let mut expected = disk_after();
        expected[(8 << 20) + 900_001] = b'x';
        assert!(read(&overlay, "disk.raw") == expected, "what is behind the length is not ours");
        assert!(fs::read(&dtb).unwrap() == bytes(4, 70_000));
        assert_eq!(tree(&overlay.path("image")).len(), 7, "the temporary file is gone");
    }
}

#[test]
fn what_the_disk_holds_is_not_overwritten() {
    for program in programs() {
        let overlay = overlay(&program);
        // The original overlay's vendor file: 4 MiB at sector 16384 with offset 20480.
        let mut m6 = Board {
            name: "nanopi-m6".to_owned(),
            options: options("nanopi-m6", "rk3588s"),
            kernel_args: vec![],
            partition_offset: 20_480,
            spi: None,
            files: vec![overlay.boot_file("uboot.img", &bytes(5, 4 << 20), 8 * MIB)],
            esp: vec![overlay.esp_file("arm64/dtb/m6.dtb", &bytes(4, 70_000), "dtb/m6.dtb")],
        };
        overlay.describe("rk3588", vec![m6.clone()]);
        let error = refusal(&overlay.call(&["install"], REQUEST));
        for part in [
            "nothing was written to disk.raw: uboot.img (LBA 16384..24575, bytes 8388608..12582912) would overwrite GPT \
             entry array (LBA 20482..20513, bytes 10486784..10503168)",
            "would overwrite partition 1 (EFI) (LBA 22528..104447, bytes 11534336..53477376)",
            "trim-copies",
            "at least 24574",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert_untouched(&overlay);

        // The same on an image file that is still empty, as imager 1.13 calls it.
        overlay.write("empty.raw", &vec![0; 32 << 20]);
        let request = REQUEST.replace("disk.raw", "empty.raw");
        let error = refusal(&overlay.call(&["install"], &request));
        assert!(error.contains("would be where this will be: GPT entry array (LBA 20482..20513"), "{error}");
        assert!(read(&overlay, "empty.raw").iter().all(|byte| *byte == 0));

        // One copy of it fits both.
        m6.files[0].length = 2 << 20;
        overlay.describe("rk3588", vec![m6]);
        answer(&overlay.call(&["install"], REQUEST));
        answer(&overlay.call(&["install"], &request));
        assert!(read(&overlay, "empty.raw")[8 << 20..10 << 20] == bytes(5, 4 << 20)[..2 << 20]);
        assert!(read(&overlay, "empty.raw")[10 << 20..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_table_made_by_another_program_is_respected() {
    let Some(sgdisk) = testkit::tool("sgdisk") else { return };
    let overlay = overlay(&programs()[0]);
    let path = overlay.path("disk.raw");
    let table = |arguments: &[&str]| {
        fs::write(&path, []).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(DISK).unwrap();
        testkit::run(std::process::Command::new(&sgdisk).args(arguments).arg(&path));
        read(&overlay, "disk.raw")
    };
    let before = table(&["--clear", "--new=1:2048:+8M", "--change-name=1:boot"]);
    let error = refusal(&overlay.call(&["install"], REQUEST));
    assert!(error.contains("would overwrite partition 1 (boot) (LBA 2048..18431"), "{error}");
    assert!(error.contains("entry array at LBA 2, this overlay needs LBA 20482"), "{error}");
    assert!(read(&overlay, "disk.raw") == before);

    table(&["--clear", "--move-main-table=20482", "--new=1:22528:+8M"]);
    answer(&overlay.call(&["install"], REQUEST));
    testkit::run(std::process::Command::new(&sgdisk).arg("--verify").arg(&path));
}

#[test]
fn artifacts_are_proved_before_anything_is_written() {
    for program in programs() {
        type Damage = fn(&mut Vec<u8>);
        let table: [(&str, Damage, &str); 4] = [
            ("arm64/u-boot/m6/uboot.img", |file| file[999_999] ^= 1, "has sha256:"),
            ("arm64/u-boot/m6/idbloader.img", |file| file.truncate(512), "has 512 bytes, expected 331776"),
            ("arm64/dtb/o.dtbo", |file| file.push(0), "has more than 7 bytes, expected 7"),
            ("arm64/dtb/m6.dtb", |file| file.clear(), "has 0 bytes, expected 70000"),
        ];
        for (path, damage, expected) in table {
            let overlay = overlay(&program);
            let whole = format!("overlay/artifacts/{path}");
            let mut file = read(&overlay, &whole);
            damage(&mut file);
            overlay.write(&whole, &file);
            let error = refusal(&overlay.call(&["install"], REQUEST));
            assert!(
                error.contains(expected) && error.contains(&whole) && error.contains("nothing was written"),
                "{error}"
            );
            assert_untouched(&overlay);
            fs::remove_file(overlay.path(&whole)).unwrap();
            let error = refusal(&overlay.call(&["install"], REQUEST));
            assert!(error.contains(&format!("cannot read the artifact {whole}")), "{error}");
            assert_untouched(&overlay);
        }
    }
}

#[test]
fn wrong_options_are_refused_by_both_commands() {
    for program in programs() {
        let overlay = overlay(&program);
        for (wrong, expected) in [
            ("chipst: rk3588s", "did you mean `chipset`?"),
            ("chipset: rk3588", "option chipset: \"rk3588\" does not fit board nanopi-m6, which has \"rk3588s\""),
            ("spi_boot: true", "board nanopi-m6 accepts board: nanopi-m6, chipset: rk3588s"),
        ] {
            let request = REQUEST.replace("chipset: rk3588s", wrong);
            let error = refusal(&overlay.call(&["install"], &request));
            assert!(error.contains(expected), "{error}");
            let error = refusal(&overlay.call(&["get-options"], &format!("board: nanopi-m6\n{wrong}\n")));
            assert!(error.contains(expected), "{error}");
            assert_untouched(&overlay);
        }
        let error = refusal(&overlay.call(&["get-options"], "{}\n"));
        assert!(error.contains("expected board: one of nanopi-m6, rock-5a"), "{error}");
        let error = refusal(&overlay.call(&["get-options"], "board: nanopi-m5\n"));
        assert!(error.contains("unknown board \"nanopi-m5\": did you mean `nanopi-m6`?"), "{error}");
        for bad in ["- a list\n", "a: [\n", "installDisk: x\n"] {
            refusal(&overlay.call(&["install"], bad));
        }
        let large = "#".repeat(2 << 20);
        assert!(refusal(&overlay.call(&["get-options"], &large)).contains("more than 1048576 bytes"));
    }
}

#[test]
fn options_are_answered_per_board() {
    for program in programs() {
        let overlay = overlay(&program);
        let answered = answer(&overlay.call(&["get-options"], "board: nanopi-m6\n"));
        let options = talosimg::overlay::Options::parse(&answered).unwrap();
        assert_eq!(options.kernel_args, ["console=ttyS2,1500000n8", "quiet=\"a b\""]);
        assert_eq!((options.name.as_str(), options.partition_options.offset), ("nanopi-m6", 20_480));
        assert_eq!(answer(&overlay.call(&["get-options"], "board: rock-5a\n")), "name: rock-5a\n");
        // A board without boot files needs no disk.
        let request = REQUEST.replace("nanopi-m6", "rock-5a").replace("disk.raw", "none.raw");
        answer(&overlay.call(&["install"], &request));
    }
}

#[test]
fn usage_is_told_apart_from_failure() {
    for program in programs() {
        let overlay = Overlay::new(&program, "x");
        for (arguments, expected) in [
            (&[][..], "no command"),
            (&["get-option"], "unknown command `get-option`: did you mean `get-options`?"),
            (&["install", "x"], "install takes no arguments"),
            (&["--frobnicate"], "unknown command `--frobnicate`"),
        ] {
            let output = overlay.call(arguments, "");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(expected) && stderr.contains("Usage:"), "{stderr}");
        }
        let version = answer(&overlay.call(&["--version"], ""));
        assert_eq!(version, concat!("overlay-installer ", env!("CARGO_PKG_VERSION"), "\n"));
        assert!(answer(&overlay.call(&["--help"], "")).contains("get-options"));
        let error = refusal(&overlay.call(&["get-options"], ""));
        assert!(error.contains("artifacts/overlay.json: this executable works inside an unpacked overlay"), "{error}");
        overlay.write("overlay/artifacts/overlay.json", b"{\"boards\":[],\"name\":\"x\",\"schema\":7}");
        let error = refusal(&overlay.call(&["get-options"], ""));
        assert!(error.contains("schema 7, expected 1"), "{error}");
    }
}

#[test]
fn what_is_no_disk_is_named() {
    let overlay = overlay(&programs()[0]);
    fs::create_dir(overlay.path("folder")).unwrap();
    overlay.write("small.raw", &bytes(1, 8 << 20));
    for (disk, expected) in [
        ("none.raw", "cannot open the disk none.raw for writing"),
        ("folder", "folder"),
        ("/dev/null", "/dev/null is no disk, expected a block device or a raw image file"),
        ("small.raw", "uboot.img (LBA 16384..18141, bytes 8388608..9288609) does not fit: the disk has 8388608 bytes"),
    ] {
        let error = refusal(&overlay.call(&["install"], &REQUEST.replace("disk.raw", disk)));
        assert!(error.contains(expected), "{error}");
        assert!(!overlay.path("none.raw").exists());
        assert_untouched(&overlay);
    }
}

#[test]
fn a_file_system_that_takes_no_more_leaves_nothing_half_written() {
    // A limit on the size of files stands for a full one: the call fails in the same place.
    for program in programs() {
        let overlay = overlay(&program);
        let output = overlay.call_after("trap '' XFSZ; ulimit -f 64", &["install"], REQUEST);
        let error = refusal(&output);
        assert!(
            error.contains("image/boot/EFI/dtb/rockchip/rk3588s-nanopi-m6.dtb was not changed: cannot write")
                && error.contains("behind byte"),
            "{error}"
        );
        assert_untouched(&overlay);

        // The ESP is complete, the disk is not: the error names the byte and the next run completes it.
        let overlay = Overlay::new(&program, "rk3588");
        let board = Board {
            name: "m".to_owned(),
            options: [].into(),
            kernel_args: vec![],
            partition_offset: 20_480,
            spi: None,
            files: vec![overlay.boot_file("uboot.img", &bytes(5, 1 << 20), 8 * MIB)],
            esp: vec![overlay.esp_file("m.dtb", b"tree", "m.dtb")],
        };
        overlay.describe("rk3588", vec![board]);
        let empty = vec![0; 32 << 20];
        overlay.write("disk.raw", &empty);
        let request = "installDisk: disk.raw\nmountPrefix: image\nartifactsPath: overlay/artifacts\n";
        let blocks = (8 * MIB + 600_000) / 512;
        let error = refusal(&overlay.call_after(&format!("trap '' XFSZ; ulimit -f {blocks}"), &["install"], request));
        assert!(error.contains("uboot.img: cannot write to disk.raw at byte "), "{error}");
        assert_eq!(read(&overlay, "image/boot/EFI/m.dtb"), b"tree");
        answer(&overlay.call(&["install"], request));
        assert!(read(&overlay, "disk.raw")[8 << 20..9 << 20] == bytes(5, 1 << 20));
    }
}

#[test]
fn obstacles_on_the_esp_are_named_and_the_disk_stays_as_it_was() {
    for program in programs() {
        let overlay = overlay(&program);
        overlay.write("image/boot/EFI/dtb", b"a file");
        let error = refusal(&overlay.call(&["install"], REQUEST));
        assert!(error.contains("image/boot/EFI/dtb"), "{error}");
        assert!(read(&overlay, "disk.raw") == disk(20_480));

        fs::remove_file(overlay.path("image/boot/EFI/dtb")).unwrap();
        fs::create_dir_all(overlay.path("image/boot/EFI/dtb/rockchip/rk3588s-nanopi-m6.dtb")).unwrap();
        let error = refusal(&overlay.call(&["install"], REQUEST));
        assert!(error.contains("rk3588s-nanopi-m6.dtb is a folder, expected a file or nothing"), "{error}");
        assert!(read(&overlay, "disk.raw") == disk(20_480));

        // Root may do everything; anybody else is stopped by the mode.
        fs::remove_dir_all(overlay.path("image/boot/EFI/dtb")).unwrap();
        fs::set_permissions(overlay.path("image/boot/EFI"), fs::Permissions::from_mode(0o555)).unwrap();
        if fs::write(overlay.path("image/boot/EFI/probe"), b"").is_err() {
            let error = refusal(&overlay.call(&["install"], REQUEST));
            assert!(error.contains("cannot create the folder image/boot/EFI/dtb"), "{error}");
            assert!(read(&overlay, "disk.raw") == disk(20_480));
        } else {
            eprintln!("skipped: a folder that may not be written to, because this user may");
        }
        fs::set_permissions(overlay.path("image/boot/EFI"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_symbolic_link_is_replaced_and_its_target_left_alone() {
    let overlay = overlay(&programs()[0]);
    overlay.write("elsewhere", b"precious");
    let dtb = overlay.path("image/boot/EFI/dtb/rockchip/rk3588s-nanopi-m6.dtb");
    fs::create_dir_all(dtb.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(overlay.path("elsewhere"), &dtb).unwrap();
    answer(&overlay.call(&["install"], REQUEST));
    assert_eq!(read(&overlay, "elsewhere"), b"precious");
    assert!(fs::symlink_metadata(&dtb).unwrap().is_file());
}
