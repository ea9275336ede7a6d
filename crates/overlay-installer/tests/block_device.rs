//! `install` on block devices. Attaching one needs root, so this runs where `.ci/run` says that it may.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods, reason = "a test may stop")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{Overlay, Program, answer, programs, refusal};
use imgcore::{ReadAt as _, SectorSize, Sectors};
use rawimg::{Extents, Guid, gpt};
use talosimg::overlay::Board;

const MIB: u64 = 1 << 20;

/// A loop device, gone with the value.
struct Loop(PathBuf);

impl Loop {
    fn attach(file: &Path, sector: SectorSize) -> Option<Self> {
        if std::env::var_os("TALOS_RK_REQUIRE").is_none_or(|value| value != "1") {
            eprintln!("skipped: loop devices are for .ci/run");
            return None;
        }
        let mut command = Command::new(testkit::tool("losetup")?);
        command.args(["--find", "--show", "--sector-size", &sector.bytes().to_string()]).arg(file);
        let output = command.output().unwrap();
        if !output.status.success() {
            eprintln!("skipped: no loop device: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Self(String::from_utf8(output.stdout).unwrap().trim().into()))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("--detach").arg(&self.0).status();
        assert!(detached.is_ok_and(|status| status.success()), "{} stays attached", self.0.display());
    }
}

fn partitioned(sector: SectorSize, skip: u64) -> Vec<u8> {
    let guid = |text: &str| text.parse::<Guid>().unwrap();
    let mut spec = gpt::Spec::new(64 * MIB, guid("d92d45b3-cde9-8760-be9f-a2a71fac8d11"));
    (spec.sector, spec.skip) = (sector, Sectors(skip));
    spec.partitions.push(gpt::PartitionSpec {
        name: "EFI".to_owned(),
        type_guid: gpt::EFI_SYSTEM,
        guid: guid("bca5174b-0118-8a6a-af0b-2c6e1585acae"),
        size: 40 * MIB,
        attributes: 0,
    });
    let mut extents = Extents::new(spec.disk_size);
    gpt::plan(&spec).unwrap().insert_into(&mut extents).unwrap();
    let mut bytes = vec![0; usize::try_from(spec.disk_size).unwrap()];
    extents.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

fn overlay(program: &Program, partition_offset: u64, length: usize) -> Overlay {
    let overlay = Overlay::new(program, "m");
    let bytes = testkit::Rng::new(7).bytes(length);
    let board = Board {
        name: "m".to_owned(),
        options: [].into(),
        kernel_args: vec![],
        partition_offset,
        spi: None,
        files: vec![overlay.boot_file("u-boot.itb", &bytes, 8 * MIB)],
        esp: vec![overlay.esp_file("m.dtb", b"tree", "dtb/m.dtb")],
    };
    overlay.describe("m", vec![board]);
    overlay
}

fn request(disk: &Loop) -> String {
    format!("installDisk: {}\nmountPrefix: image\nartifactsPath: overlay/artifacts\n", disk.path())
}

#[test]
fn a_block_device_is_written_like_a_file() {
    for program in programs() {
        for (sector, skip) in [(SectorSize::B512, 20_480), (SectorSize::B4096, 2_560)] {
            let overlay = overlay(&program, skip, 1_000_000);
            let before = partitioned(sector, skip);
            overlay.write("disk.raw", &before);
            let Some(disk) = Loop::attach(&overlay.path("disk.raw"), sector) else { return };
            answer(&overlay.call(&["install"], &request(&disk)));
            answer(&overlay.call(&["install"], &request(&disk)));
            drop(disk);
            let mut expected = before;
            expected[8 << 20..(8 << 20) + 1_000_000].copy_from_slice(&testkit::Rng::new(7).bytes(1_000_000));
            assert!(fs::read(overlay.path("disk.raw")).unwrap() == expected, "{} {sector:?}", program.name);
        }
    }
}

#[test]
fn the_sector_size_of_an_empty_device_decides_where_its_table_will_be() {
    let program = &programs()[0];
    for (sector, fits) in [(SectorSize::B512, false), (SectorSize::B4096, true)] {
        // LBA 2 + 4096 is byte 2 098 176 or 16 785 408.
        let overlay = overlay(program, 4096, 1_000_000);
        overlay.write("disk.raw", &vec![0; 64 << 20]);
        let Some(disk) = Loop::attach(&overlay.path("disk.raw"), sector) else { return };
        let output = overlay.call(&["install"], &request(&disk));
        if fits {
            answer(&output);
        } else {
            assert!(refusal(&output).contains("room for partitions (LBA 6144.."));
        }
    }
}

#[test]
fn a_partition_is_no_disk() {
    let program = &programs()[0];
    let overlay = overlay(program, 20_480, 1_000_000);
    overlay.write("disk.raw", &partitioned(SectorSize::B512, 20_480));
    let Some(disk) = Loop::attach(&overlay.path("disk.raw"), SectorSize::B512) else { return };
    let (Some(partx), partition) = (testkit::tool("partx"), format!("{}p1", disk.path())) else { return };
    testkit::run(Command::new(&partx).arg("--update").arg(&disk.0));
    if Path::new(&partition).exists() {
        let error = refusal(&overlay.call(&["install"], &request(&disk).replace(&disk.path(), &partition)));
        assert!(error.contains("is a partition, expected a whole disk"), "{error}");
    } else {
        eprintln!("skipped: nobody makes {partition} here");
    }
    testkit::run(Command::new(&partx).arg("--delete").arg(&disk.0));
}
