//! Every call that the upstream imager made in the reference cases, made again: the stand-in installer that answered it
//! then and ours must agree in words and in bytes, and with the images that came of it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods, reason = "a test may stop")]

mod common;

use std::{fs, os::unix::fs::FileExt as _, path::Path, process::Command};

use common::{Overlay, Program, answer, programs, tree};
use imgcore::Digest;
use talosimg::overlay::Board;

const LOADER: &str = "arm64/u-boot/nanopi-m6/idbloader.img";
const UBOOT: &str = "arm64/u-boot/nanopi-m6/u-boot.itb";
const DTB: &str = "arm64/dtb/rockchip/rk3588s-nanopi-m6.dtb";
/// The stand-in's own list (`in/overlay-installer/nanopi-m6`), which every case used.
const ARGS: [&str; 5] = [
    "console=tty0",
    "sysctl.kernel.kexec_load_disabled=1",
    "talos.dashboard.disabled=1",
    "console=ttyS2,1500000n8",
    "consoleblank=0",
];
/// Where the first partition begins, the end of what an overlay may care about.
const FIRST: usize = 22_528 * 512;

struct Call {
    command: String,
    stdin: String,
}

/// `--- ['get-options']`, the text on standard input, an empty line.
fn calls(log: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in log.lines() {
        if let Some(command) = line.strip_prefix("--- ['").and_then(|rest| rest.strip_suffix("']")) {
            calls.push(Call { command: command.to_owned(), stdin: String::new() });
        } else if let Some(call) = calls.last_mut() {
            call.stdin.push_str(line);
            call.stdin.push('\n');
        }
    }
    calls
}

fn board(overlay: &Overlay) -> Option<Board> {
    let loader = testkit::read(testkit::shared("testdata/ophub/easepi-r2-rk3588-idbloader.img")?);
    let uboot = testkit::read(testkit::shared("testdata/ophub/easepi-r2-rk3588-u-boot.itb")?);
    let dtb = testkit::read(testkit::shared("testdata/seed-nanopi-m6/rk3588s-nanopi-m6.dtb")?);
    Some(Board {
        name: "nanopi-m6".to_owned(),
        options: [("board".to_owned(), "nanopi-m6".to_owned())].into(),
        kernel_args: ARGS.map(str::to_owned).to_vec(),
        partition_offset: 20_480,
        spi: None,
        files: vec![overlay.boot_file(LOADER, &loader, 64 * 512), overlay.boot_file(UBOOT, &uboot, 16_384 * 512)],
        esp: vec![overlay.esp_file(DTB, &dtb, "dtb/rockchip/rk3588s-nanopi-m6.dtb")],
    })
}

fn part(path: &Path, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fs::File::open(path).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// The disk as the imager had it before `install`: partitioned by 1.10, empty by 1.13.
fn disk_before(path: &Path, image: &Path, partitioned: bool) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let disk = fs::File::create(path).unwrap();
    let size = fs::metadata(image).unwrap().len();
    disk.set_len(size).unwrap();
    if partitioned {
        let tail = size - 33 * 512;
        disk.write_all_at(&part(image, 0, 64 * 512), 0).unwrap();
        disk.write_all_at(&part(image, 20_482 * 512, 32 * 512), 20_482 * 512).unwrap();
        disk.write_all_at(&part(image, tail, 33 * 512), tail).unwrap();
    }
}

fn yaml(text: &str) -> serde_json::Value {
    talosimg::yaml::from_str("answer", text).unwrap()
}

/// Replays one case; the counts of calls of each kind.
fn replay(program: &Program, python: &Path, stand_in: &Path, case: &Path) -> Option<(usize, usize)> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let (ours, theirs) = (Overlay::new(program, "nanopi-m6"), Overlay::new(program, "unused"));
    ours.describe("nanopi-m6", vec![board(&ours)?]);
    board(&theirs)?;
    let image = case.join("metal-arm64.raw");
    let description: serde_json::Value = serde_json::from_slice(&testkit::read(case.join("description.json"))).unwrap();
    let mut counts = (0, 0);

    for call in calls(&fs::read_to_string(case.join("overlay-calls.log")).unwrap()) {
        // A loop device needs root; the protocol knows a file as well.
        let stdin = call.stdin.replace("/dev/loop0", "out/disk.raw");
        let disk = stdin.lines().find_map(|line| line.strip_prefix("installDisk: ")).map(str::to_owned);
        if let Some(disk) = &disk {
            for side in [&ours, &theirs] {
                disk_before(&side.path(disk), &image, name.starts_with("v1.10"));
                fs::create_dir_all(side.path("image/boot/EFI")).unwrap();
            }
        }
        let mut theirs_command = Command::new(python);
        theirs_command.arg(stand_in).arg(&call.command).current_dir(theirs.folder.path());
        theirs_command.env_remove("OVERLAY_ARGS").env_remove("OVERLAY_OFFSET").env_remove("OVERLAY_LOG");
        theirs.write("stdin", stdin.as_bytes());
        theirs_command.stdin(fs::File::open(theirs.path("stdin")).unwrap());
        let expected = testkit::run(&mut theirs_command);
        let answered = answer(&ours.call(&[&call.command], &stdin));

        match disk {
            None => {
                counts.0 += 1;
                assert_eq!(yaml(&answered), yaml(&expected), "{name}: get-options");
            }
            Some(disk) => {
                counts.1 += 1;
                assert_eq!(answered, "", "{name}: install");
                let (ours_disk, size) = (ours.path(&disk), fs::metadata(&image).unwrap().len());
                assert_eq!(fs::metadata(&ours_disk).unwrap().len(), size);
                let head = part(&ours_disk, 0, FIRST);
                assert!(head == part(&theirs.path(&disk), 0, FIRST), "{name}: the disks differ");
                let boot = 64 * 512..20_482 * 512;
                let real = part(&image, 0, FIRST);
                assert!(head[boot.clone()] == real[boot], "{name}: the disk differs from the image");
                let contents = |side: &Overlay| {
                    let found = tree(&side.path("image"));
                    found.into_iter().map(|(path, _, bytes)| (path, bytes)).collect::<Vec<_>>()
                };
                assert!(contents(&ours) == contents(&theirs), "{name}: the ESP differs");
                let real = &description["contents"]["EFI"]["tree"]["/dtb/rockchip/rk3588s-nanopi-m6.dtb"]["sha256"];
                let dtb = fs::read(ours.path("image/boot/EFI/dtb/rockchip/rk3588s-nanopi-m6.dtb")).unwrap();
                assert_eq!(real.as_str(), Some(Digest::of(&dtb).hex().as_str()), "{name}");
            }
        }
    }

    // What the imager made of the answer.
    if !fs::read_to_string(case.join("profile.yaml")).unwrap().contains("extraKernelArgs") {
        let log = fs::read_to_string(case.join("log")).unwrap();
        let line = log.lines().find_map(|line| line.strip_prefix("kernel command line: ")).unwrap();
        for arg in ARGS {
            assert!(line.split(' ').any(|word| word == arg), "{name}: {arg} is not in {line}");
        }
    }
    Some(counts)
}

#[test]
fn each_call_of_the_reference_cases_is_answered_alike() {
    let (Some(reference), Some(python)) = (testkit::reference(), testkit::tool("python3")) else { return };
    let stand_in = reference.join("in/overlay-installer/nanopi-m6");
    for program in programs() {
        let mut total = (0, 0);
        let mut cases: Vec<_> =
            fs::read_dir(reference.join("shared")).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.sort();
        for case in cases.iter().filter(|case| case.join("overlay-calls.log").exists()) {
            let Some(counts) = replay(&program, &python, &stand_in, case) else { return };
            let name = case.file_name().unwrap().to_string_lossy();
            // `talos-image.md` §2.3: an image with sd-boot of 1.13 is never installed to.
            let installed = name.contains("grub") || (name.starts_with("v1.10") && name.contains("sd-boot"));
            let installed = installed || (name.starts_with("v1.10") && name.contains("extension"));
            assert_eq!(counts.1, usize::from(installed), "{name}");
            total = (total.0 + counts.0, total.1 + counts.1);
        }
        assert!(total.0 >= 20 && total.1 >= 6, "{}: {total:?}", program.name);
        eprintln!("{}: {} get-options and {} install calls replayed", program.name, total.0, total.1);
    }
}

/// What 25 real overlay installers answered and wrote, on record in `overlays.json`: every one of them is expressed by a
/// board of ours.
#[test]
fn real_overlays_can_be_described() {
    let Some(record) = testkit::shared("reference/overlays.json") else { return };
    let record: serde_json::Value = serde_json::from_slice(&testkit::read(record)).unwrap();
    let record = record.as_object().unwrap();
    assert!(record.len() >= 20, "{}", record.len());
    for program in programs() {
        for (name, real) in record {
            let overlay = Overlay::new(&program, "default");
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let contents = |path: &str| testkit::Rng::new(path.len() as u64).bytes(3_000);
            let options = talosimg::overlay::Options::parse(&text(&real["get_options"])).unwrap();
            let files = real["writes"].as_array().unwrap().iter().map(|write| {
                let path = text(&write[1]);
                overlay.boot_file(&path, &contents(&path), write[0].as_u64().unwrap() * 512)
            });
            let esp = real["tree"].as_array().unwrap().iter().map(|copy| {
                let (destination, path) = (text(&copy[0]), text(&copy[1]));
                overlay.esp_file(&path, &contents(&path), destination.strip_prefix("boot/EFI/").unwrap())
            });
            let board = Board {
                name: options.name.clone(),
                options: [].into(),
                kernel_args: options.kernel_args.clone(),
                partition_offset: options.partition_options.offset,
                spi: None,
                files: files.collect(),
                esp: esp.collect(),
            };
            overlay.describe("x", vec![board.clone()]);

            let answered = answer(&overlay.call(&["get-options"], "{}\n"));
            assert_eq!(yaml(&answered), yaml(&text(&real["get_options"])), "{name}");

            overlay.write("disk.raw", &vec![0; 12 << 20]);
            let request = "installDisk: disk.raw\nmountPrefix: image\nartifactsPath: overlay/artifacts\n";
            answer(&overlay.call(&["install"], request));
            let disk = fs::read(overlay.path("disk.raw")).unwrap();
            let mut expected = vec![0; 12 << 20];
            for file in &board.files {
                let start = usize::try_from(file.offset).unwrap();
                expected[start..start + 3_000].copy_from_slice(&contents(&file.path));
            }
            assert!(disk == expected, "{name}");
            for file in &board.esp {
                let copied = fs::read(overlay.path("image/boot/EFI").join(&file.destination)).unwrap();
                assert!(copied == contents(&file.path), "{name}: {}", file.destination);
            }
        }
    }
}
