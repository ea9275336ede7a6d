//! Damage to what `flow`, `extract`, `identity`, `ddr_params` and `pairing` read.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::indexing_slicing, reason = "data of our own making")]

mod common;

use common::Recipe;
use imgcore::Report;
use rkboot::{
    RULES, Soc, ddr_params, extract,
    flow::{self, Carried, CarriedTree, Medium},
    idblock::{self, Uart},
    identity, pairing,
};

fn check(report: &Report) {
    for finding in report {
        let rule = RULES.iter().find(|(code, ..)| *code == finding.code);
        assert!(rule.is_some_and(|(_, severity, _)| *severity == finding.severity), "{finding}");
        assert!(finding.message.len() < 1200, "{finding}");
        if let Some(range) = &finding.range {
            assert!(range.start <= range.end, "{finding}");
        }
    }
}

/// A program as U-Boot is one, small enough for many mutants.
fn program() -> Vec<u8> {
    let mut bytes = b"\0U-Boot 2026.01 (Jan 01 2026 - 00:00:00 +0000)\0bootmeth_efi\0bootmeth_efi_mgr\0BOOTAA64.EFI\0ubootefi.var\0\
        /dtb\0/dtb/current\0bootmeth_extlinux\0bootmeth_script\0cpuid#\0rockchip/rk3588-b.dtb\0SPIFlash\0"
        .to_vec();
    bytes.extend_from_slice(
        b"bootcmd=run distro_bootcmd; bootflow scan\0bootdelay=2\0baudrate=1500000\0fdt_addr_r=0x12000000\0\
          kernel_addr_r=0x02000000\0boot_targets=mmc1 mmc0 nvme usb pxe\0fdtfile=rockchip/rk3588-a.dtb\0\
          distro_bootcmd=for t in ${boot_targets}; do run bootcmd_${t}; done\0\0",
    );
    bytes.extend_from_slice(
        b"\0v2.3():v2.3-682-g4ca8a8422:x, fwver: v1.45\0need match with loader ddr bin V1.13 or newer\0",
    );
    bytes
}

fn ddr() -> Vec<u8> {
    let mut bytes = b"\0DDR 9fa84341ce typ 24/09/06-09:51:11,fwver: v1.18\0\0\0".to_vec();
    bytes.resize(64, 0);
    for word in [0x1234_5678_u32, 5, 0x0106_0000, 0, 0, 0x0107_0000, 0x2016_e360, 1, 2] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn combined() -> Vec<u8> {
    let (ddr, program) = (ddr(), program());
    let mut bytes = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: &ddr, boot: Some(&program) }).unwrap();
    bytes.resize(16 * 1024, 0xff);
    bytes.extend_from_slice(
        &Recipe { images: vec![program.clone(), program, vec![3; 100]], ..Recipe::default() }.build(),
    );
    bytes
}

fn read_all(bytes: &[u8]) {
    let (found, report) = flow::abilities(bytes);
    check(&report);
    let first = flow::first_stage(bytes);
    if let Some(found) = &found {
        check(&flow::scenario(first.as_ref(), found, bytes).1);
        let carried = Carried {
            efi_fallback_loader: true,
            needs_efi_variables: true,
            trees: vec![CarriedTree::named("/dtb/rockchip/rk3588-b.dtb"), CarriedTree::new("/x", bytes)],
            ..Carried::default()
        };
        check(&flow::check(found, &carried));
        check(&flow::check_media(Some(found), Medium::Sd));
        for evidence in &found.evidence {
            assert!(evidence.offset <= bytes.len() as u64, "{evidence:?}");
        }
    }
    for blob in identity::identify(bytes) {
        assert!(blob.range.start <= blob.range.end);
        assert!(!blob.to_string().contains('\n'));
    }
    check(&pairing::check(bytes, bytes));
}

#[test]
fn no_mutant_makes_a_reader_stumble() {
    for (seed, original) in [(0x3101, program()), (0x3102, combined()), (0x3103, combined().split_off(16 * 1024))] {
        testkit::mutants(seed, 4000, &original, read_all);
    }
}

#[test]
fn no_mutant_of_a_disk_gives_bytes_that_are_not_there() {
    let mut disk = vec![0; 32768];
    disk.extend_from_slice(&combined());
    testkit::mutants(0x3104, 6000, &disk, |bytes| {
        let (pieces, report) = extract::plan(bytes, &[]);
        check(&report);
        for piece in pieces {
            let start = usize::try_from(piece.offset.unwrap()).unwrap();
            assert!(bytes[start..].starts_with(&piece.bytes));
            let source = extract::Source { name: "x".to_owned(), whole: None, disk_size: bytes.len() as u64 };
            assert!(piece.origin(&source).ends_with('\n'));
        }
    });
}

#[test]
fn no_mutant_of_ddr_parameters_is_changed_but_in_one_word() {
    testkit::mutants(0x3105, 20_000, &ddr(), |bytes| {
        check(&ddr_params::parse(bytes).1);
        let mut changed = bytes.to_vec();
        match ddr_params::set_uart(&mut changed, Uart { id: 9, iomux: 1, baud: 115_200 }) {
            Ok(before) => {
                let different = bytes.iter().zip(&changed).filter(|(a, b)| a != b).count();
                assert!(different <= 4);
                let at = usize::try_from(ddr_params::parse(bytes).0.unwrap().uart_offset.unwrap()).unwrap();
                if before.baud > 0 {
                    // Damage may have put the word into the index; then setting it moves what is read.
                    let again = ddr_params::parse(&changed).0.and_then(|found| found.uart_offset);
                    if again == Some(at as u64) {
                        ddr_params::set_uart(&mut changed, before).unwrap();
                        assert_eq!(changed, bytes);
                    }
                }
            }
            Err(_) => assert_eq!(changed, bytes),
        }
    });
}

#[test]
fn hostile_sizes_cost_little() {
    // Sixteen megabytes of what looks like texts, environments, tags, volumes and trees.
    let patterns: [&[u8]; 6] = [
        b"U-Boot 2026.01 ",
        b"\0bootcmd=a\0b=",
        &0x1234_5678_u32.to_le_bytes(),
        b"_FVH\0\0\0\0",
        &[0xd0, 0x0d, 0xfe, 0xed],
        b"\0DDR x,fwver: v1.1\0",
    ];
    for pattern in patterns {
        let bytes: Vec<u8> = pattern.iter().copied().cycle().take(16 << 20).collect();
        let start = std::time::Instant::now();
        read_all(&bytes);
        check(&ddr_params::parse(&bytes).1);
        check(&extract::plan(bytes.as_slice(), &[]).1);
        // Generous: this is a build without optimisation on a shared machine.
        assert!(start.elapsed().as_secs() < 60, "{pattern:?}: {:?}", start.elapsed());
    }
}
