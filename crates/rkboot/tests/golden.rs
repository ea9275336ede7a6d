//! What `rkboot inspect` says to people, kept as text (`tests/golden/*.txt`). `BLESS=1 cargo test -p rkboot --features
//! cli --test golden` writes the texts anew; the difference is then for a person to read.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rkboot::{Soc, coding, idblock, legacy::loader_image, loader};

fn inspect(file: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rkboot")).arg("inspect").arg(file).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2) && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Compares what is said about a file with the text of this name; the names of those that differ.
fn compare(name: &str, file: &Path) -> Option<String> {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    let found = inspect(file);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(golden, found).unwrap();
        return None;
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    (found != expected).then(|| format!("{name}, expected:\n{expected}\nfound:\n{found}"))
}

#[test]
fn public_files_are_explained_as_kept() {
    let Some(root) = testkit::shared("testdata") else { return };
    let debian = "debian-u-boot-rockchip-2025.01-3.2";
    let differing: Vec<String> = [
        ("idbloader-seed", "seed-nanopi-m6/idbloader.img".to_owned()),
        ("idbloader-rk3588-mainline", "ophub/easepi-r2-rk3588-idbloader.img".to_owned()),
        ("idbloader-rk3328-v1", format!("{debian}/rock64-rk3328/idbloader.img")),
        ("spi-rk3399", format!("{debian}/rockpro64-rk3399/u-boot-rockchip-spi.bin")),
        ("fit-rk3588-mainline", "ophub/easepi-r2-rk3588-u-boot.itb".to_owned()),
        ("fit-rk3588-vendor", "ophub/nanopc-t6-rk3588-vendor-u-boot.itb".to_owned()),
        ("fit-rk3328", format!("{debian}/rock64-rk3328/u-boot.itb")),
        ("loader-rk3588", "friendlyelec-sd-fuse/rk3588-MiniLoaderAll.bin".to_owned()),
        ("loader-rk3576", "friendlyelec-sd-fuse/rk3576-MiniLoaderAll.bin".to_owned()),
        ("trust-rk3568", "ophub/easepi-a2-rk3568-trust.img".to_owned()),
        ("dtbo-rk3588", "friendlyelec-sd-fuse/rk3588-dtbo.img".to_owned()),
        ("dtbo-rk3576", "friendlyelec-sd-fuse/rk3576-dtbo-plain.img".to_owned()),
        ("parameter-template", "friendlyelec-sd-fuse/rk3588-parameter.template".to_owned()),
        ("not-a-boot-file", "rkbin/bin/rk35/rk3588_bl31_v1.48.elf".to_owned()),
    ]
    .into_iter()
    .filter_map(|(name, path)| compare(name, &root.join(path)))
    .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn files_of_our_own_are_explained_as_kept() {
    let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: &[1; 5000], boot: Some(&[2; 9000]) }).unwrap();
    let mut copies = block.clone();
    copies.resize(512 * 1024, 0);
    copies.extend_from_slice(&block);
    copies[512 * 1024 + 3000] ^= 1;
    let mut cut = block.clone();
    cut.truncate(block.len() - 500);
    let mut damaged = block.clone();
    damaged[3000] ^= 1;
    let mut broken = loader::sample(&block);
    let middle = broken.len() - 5000;
    broken[middle] ^= 1;
    let mut trailing = loader::sample(&block);
    trailing.extend_from_slice(&[0; 12]);
    let legacy = loader_image::build(&loader_image::Parts { data: &vec![3; 300_000], ..Default::default() }).unwrap();
    let mut scrambled = vec![0x5a; 4096];
    coding::rc4(&mut scrambled);
    let parameter = "FIRMWARE_VER: 1.0\nMACHINE: demo\nTYPE: GPT\nCMDLINE: mtdparts=rk29xxnand:0x2000@0x4000(uboot),\
                     0x2000@0x6000(trust),0x10000@0x8000(boot:bootable),-@0x18000(rootfs:grow)\n";

    let folder = tempfile::tempdir().unwrap();
    let differing: Vec<String> = [
        ("own-idblock", "idbloader.img", block),
        ("own-copies-differ", "idbloader.img", copies),
        ("own-cut", "idbloader.img", cut),
        ("own-damaged", "idbloader.img", damaged),
        ("own-loader-damaged", "MiniLoaderAll.bin", broken),
        ("own-loader-trailing", "MiniLoaderAll.bin", trailing),
        ("own-loader-image", "uboot.img", legacy),
        ("own-parameter", "parameter.txt", parameter.as_bytes().to_vec()),
        ("own-unknown", "file.bin", scrambled),
    ]
    .into_iter()
    .filter_map(|(name, file, bytes)| {
        let path = folder.path().join(file);
        std::fs::write(&path, bytes).unwrap();
        compare(name, &path)
    })
    .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
