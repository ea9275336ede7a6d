//! Files of both stages, against public ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod common;

use common::{Packing, Recipe};
use rkboot::{
    BootFileKind, Soc,
    combined::{self, CardOptions, SpiOptions},
    examine, idblock,
};

const DEBIAN: &str = "debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399";

#[test]
fn debians_spi_image_is_rebuilt_byte_for_byte() {
    let Some(root) = testkit::shared("testdata") else { return };
    let theirs = testkit::read(root.join(DEBIAN).join("u-boot-rockchip-spi.bin"));
    let idblock = testkit::read(root.join(DEBIAN).join("idbloader.img"));
    let fit = &theirs[0xe_0000..];
    let file = combined::plan_spi(Soc::Rk3399, &idblock, fit, &SpiOptions::default()).unwrap();
    assert_eq!(file.size(), theirs.len() as u64);
    assert!(file.to_bytes() == theirs);
    // The spread form is taken as it is.
    let spread = &theirs[..2 * idblock.len()];
    assert!(combined::plan_spi(Soc::Rk3399, spread, fit, &SpiOptions::default()).unwrap().to_bytes() == theirs);
    // puma-rk3399 has its FIT at 512 KiB, and there is the end of the flash.
    let puma = SpiOptions { fit_offset: Some(0x8_0000), flash_size: Some(0x8_0000 + fit.len() as u64) };
    let file = combined::plan_spi(Soc::Rk3399, &idblock, fit, &puma).unwrap();
    assert_eq!(file.parts().map(|(_, range)| range.start).collect::<Vec<_>>(), [0, 0x8_0000]);
    let smaller = SpiOptions { flash_size: puma.flash_size.map(|size| size - 1), ..puma };
    let refused = combined::plan_spi(Soc::Rk3399, &idblock, fit, &smaller).unwrap_err().to_string();
    assert!(refused.starts_with("the file has "), "{refused}");
}

#[test]
fn public_parts_make_a_sound_file_for_cards() {
    let Some(root) = testkit::shared("testdata") else { return };
    let idblock = testkit::read(root.join("ophub/easepi-r2-rk3588-idbloader.img"));
    let fit = testkit::read(root.join("ophub/easepi-r2-rk3588-u-boot.itb"));
    let file = combined::plan(&idblock, &fit, &CardOptions::default()).unwrap();
    let bytes = file.to_bytes();
    assert_eq!((bytes.len() as u64, &bytes[0x7f_8000..]), (file.size(), &fit[..]));
    assert!(bytes[idblock.len()..0x7f_8000].iter().all(|byte| *byte == 0xff));
    let (found, report) = examine(&bytes, Some(Soc::Rk3588));
    assert!(matches!(found.kind, BootFileKind::Combined { .. }) && report.is_empty(), "{report:?}");
    let layout = file.layout(rkboot::IDBLOCK_OFFSET);
    let starts: Vec<_> = layout.sorted().iter().map(|part| (part.owner.clone(), part.range.start)).collect();
    assert_eq!(starts, [("idblock".to_owned(), 32_768), ("FIT".to_owned(), rkboot::FIT_OFFSET)]);
    // The same parts for flash.
    let flash = combined::plan_spi(Soc::Rk3588, &idblock, &fit, &SpiOptions::default()).unwrap().to_bytes();
    let (found, report) = examine(&flash, Some(Soc::Rk3588));
    assert!(matches!(found.kind, BootFileKind::Combined { .. }) && !report.has_errors(), "{report:?}");
    assert!(flash[..0x8000].iter().all(|byte| *byte == 0xff));
}

#[test]
fn every_refusal_says_why() {
    let block = |boot: usize| {
        let parts = idblock::Parts { soc: Soc::Rk3588, init: &[1; 3000], boot: Some(&vec![2; boot]) };
        idblock::build(&parts).unwrap()
    };
    let small = block(5000);
    let large = block(0x6_0000);
    let fit = Recipe { packing: Packing::Mainline, ..Recipe::default() }.build();
    let mut damaged = fit.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let mut broken = small.clone();
    broken[3000] ^= 1;
    let spread: Vec<u8> = small.chunks(2048).flat_map(|half| [half, &[0; 2048]].concat()).collect();

    let card = |idblock: &[u8], fit: &[u8], options: &CardOptions| {
        combined::plan(idblock, fit, options).map(|file| file.size()).map_err(|error| error.to_string())
    };
    let default = CardOptions::default();
    let size = 0x7f_8000 + fit.len() as u64;
    assert_eq!(card(&small, &fit, &default), Ok(size));
    assert_eq!(card(&small, &fit, &CardOptions { limit: Some(size), ..default }), Ok(size));
    for (idblock, fit, options, words) in [
        (&small, &fit, CardOptions { limit: Some(size - 1), ..default }, "the file has"),
        (
            &large,
            &fit,
            CardOptions { pad_to: 0x3_8000, limit: None },
            "the idblock ends at byte 0x61800, but the FIT starts at 0x38000",
        ),
        (&small, &fit, CardOptions { pad_to: 0x3_8001, limit: None }, "0x38001 is no multiple of 512"),
        (&small, &fit, CardOptions { pad_to: 1 << 40, limit: None }, "what lies in front of the FIT has 1099511627776"),
        (&fit, &fit, default, "the idblock: it is no idblock: FIT"),
        (&small, &small, default, "the FIT: no FIT"),
        (&small, &damaged, default, "hash of image image-2 is wrong"),
        (&broken, &fit, default, "the idblock: "),
        (&spread, &fit, default, "the idblock: "),
    ] {
        let refused = card(idblock, fit, &options).unwrap_err();
        assert!(refused.contains(words), "{words}: {refused}");
    }

    let spi = |soc: Soc, idblock: &[u8], options: SpiOptions| {
        combined::plan_spi(soc, idblock, &fit, &options).map(|file| file.size()).map_err(|error| error.to_string())
    };
    let none = SpiOptions::default();
    assert_eq!(spi(Soc::Rk3588, &small, none), Ok(0x6_0000 + fit.len() as u64));
    assert_eq!(
        spi(Soc::Rk3568, &small, SpiOptions { fit_offset: Some(0x10_0000), ..none }),
        Ok(0x10_0000 + fit.len() as u64)
    );
    for (soc, idblock, options, words) in [
        (Soc::Rk3588, &large, none, "the idblock ends at byte 0x69800, but the FIT starts at 0x60000"),
        (Soc::Rk3588, &spread, none, "it is spread (rkspi), but the BootROM of rk3588 reads a plain block"),
        (Soc::Rk3399, &small, none, "the idblock: "),
        (Soc::Rk3066, &small, none, "it is not known where rk3066 has the idblock in SPI flash"),
        (Soc::Rk3288, &small, none, "it is not known where rk3288 has the FIT in SPI flash; give its offset"),
    ] {
        let refused = spi(soc, idblock, options).unwrap_err();
        assert!(refused.contains(words), "{words}: {refused}");
    }

    let slots = |slot, copies| {
        combined::plan_slots(&fit, slot, copies).map(|file| file.size()).map_err(|error| error.to_string())
    };
    assert_eq!(slots(8192, 3), Ok(24_576));
    assert!(slots(512, 2).unwrap_err().starts_with("the FIT has "));
    assert!(slots(8192, 0).unwrap_err().contains("expected 1 to 16"));
}

#[test]
fn mkimage_spreads_the_same() {
    let Some(mkimage) = testkit::tool("mkimage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let fit = Recipe { packing: Packing::Mainline, ..Recipe::default() }.build();
    for (size, form) in [(3000_usize, "rksd"), (3000, "rkspi"), (70_000, "rksd"), (70_000, "rkspi")] {
        write(&path("init"), &testkit::Rng::new(size as u64).bytes(size));
        let out = path(form);
        testkit::run(std::process::Command::new(&mkimage).args([
            "-n",
            "rk3399",
            "-T",
            form,
            "-d",
            &path("init"),
            &out,
        ]));
        if form == "rkspi" {
            let (plain, spread) = (testkit::read(path("rksd")), testkit::read(&out));
            let file = combined::plan_spi(Soc::Rk3399, &plain, &fit, &SpiOptions::default()).unwrap();
            assert!(file.to_bytes().starts_with(&spread), "{size}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test writes into its own temporary folder")]
fn write(path: &str, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
