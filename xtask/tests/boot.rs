//! Our images start: U-Boot and EDK2 in an emulated machine load systemd-boot from our ESP, it loads our unified kernel
//! image, and the initramfs prints the kernel command line and the partitions that we wrote
//! (`spec/experiments.md` §2).

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use common::{Inputs, World, additions, prefixed, result};
use fs_err as fs;

/// How long one boot may take. It takes 10 to 25 s on an idle machine, ten of which systemd-boot's menu waits.
const LIMIT: Duration = Duration::from_mins(3);

/// The last line of the initramfs.
const CLOSING: &str = "STANDIN-DONE";

/// A machine that is gone when the test ends, however it ends.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that the machine printed until the closing line.
fn console(qemu: &Path, firmware: &Path, image: &Path) -> String {
    let mut command = Command::new(qemu);
    command.args(["-M", "virt", "-cpu", "cortex-a57", "-smp", "2", "-m", "1024", "-nographic", "-no-reboot"]);
    command.args(["-net", "none", "-bios"]).arg(firmware);
    // U-Boot writes its variables to the ESP; the image stays as it is.
    command.arg("-drive").arg(prefixed("if=none,id=d0,format=raw,snapshot=on,file=", image));
    command.args(["-device", "virtio-blk-pci,drive=d0,bootindex=0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut machine = Machine(command.spawn().unwrap());
    let (send, receive) = mpsc::channel();
    let mut output = BufReader::new(machine.0.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).replace('\r', "");
            line.clear();
            if send.send(text).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + LIMIT;
    let mut text = String::new();
    while !text.contains(CLOSING) {
        match receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => text += &line,
            Err(RecvTimeoutError::Timeout) => panic!("no closing line within {LIMIT:?}:\n{text}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the machine stopped early:\n{text}"),
        }
    }
    drop(machine);
    drop(receive);
    let _ = reader.join();
    text
}

/// The unpacked firmware of the reference.
fn firmware(world: &World, name: &str) -> Option<PathBuf> {
    let packed = testkit::shared(&format!("reference/firmware/{name}.zst"))?;
    let path = world.path(name);
    testkit::run(Command::new(testkit::tool("zstd")?).args(["-q", "-d"]).arg(packed).arg("-o").arg(&path));
    Some(path)
}

fn boots(talos: &str, firmware_name: &str) {
    let (Some(qemu), Some(inputs)) = (testkit::tool("qemu-system-aarch64"), Inputs::reference()) else { return };
    let world = World::new(inputs);
    let Some(firmware) = firmware(&world, firmware_name) else { return };
    let base = world.base("base", None);
    let mut command = world.image(&world.overlay_board("nanopi-m6-reference", 20480), talos, "out");
    command.arg("--base").arg(prefixed("dir:", &base)).args(["--format", "raw", "--kernel-arg", "console=ttyAMA0"]);
    world.add_sources(&mut command);
    let built = result(&mut command);
    let line = built["build"]["commandLine"].as_str().unwrap();
    assert!(line.starts_with("talos.platform=metal console=ttyAMA0 sysctl."), "{line}");

    let text = console(&qemu, &firmware, &world.path("out/metal-arm64.raw"));
    let said = |what: &str| assert!(text.contains(what), "not on the console: {what}\n{text}");
    said(&format!("STANDIN cmdline: {line}\n"));
    said("efi: yes");
    let sectors = if talos.starts_with("v1.10") { 2_254_848 } else { 4_302_848 };
    said(&format!("vda1 sectors={sectors} ro=0 partname=EFI "));
    said("fat32label='EFI        '");
    said("vda2 sectors=2048 ro=0 partname=META ");
    said("LoaderDevicePartUUID=BCA5174B-0118-8A6A-AF0B-2C6E1585ACAE\n");
    // What Linux' own FAT driver lists, with its case.
    for path in [
        format!("./EFI/Linux/Talos-{talos}.efi"),
        "./EFI/boot/BOOTAA64.efi".to_owned(),
        "./loader/loader.conf".to_owned(),
        "./dtb/rockchip/rk3588s-nanopi-m6.dtb".to_owned(),
    ] {
        said(&path);
    }
}

#[test]
fn v1_10_6_starts_through_u_boot() {
    boots("v1.10.6", "u-boot.bin");
}

#[test]
fn v1_13_9_starts_through_edk2() {
    boots("v1.13.9", "QEMU_EFI.fd");
}

/// What is put in front of the closing line, instead of the reference's own init: digests of what the extension brought.
const INIT: &str = "#!/bin/sh
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox sha256sum /0.sqsh /extensions.yaml /usr/lib/firmware/rtl_nic/*
echo STANDIN-DONE
/bin/busybox poweroff -f
";

#[test]
fn an_extension_is_in_the_memory_of_the_started_system() {
    let (Some(qemu), Some(inputs)) = (testkit::tool("qemu-system-aarch64"), Inputs::reference()) else { return };
    let mut world = World::new(inputs);
    let Some(firmware) = firmware(&world, "QEMU_EFI.fd") else { return };
    // A kernel unpacks several archives one after the other; a later file takes the place of an earlier one.
    let mut initramfs = fs::read(&world.inputs.initramfs).unwrap();
    initramfs.resize(initramfs.len().next_multiple_of(4), 0);
    initramfs.extend(additions::cpio(&[("init", INIT.as_bytes())]));
    world.inputs.initramfs = world.file("initramfs.xz", &initramfs);
    let base = world.base("base", None);
    let talos = "v1.13.9";
    let mut command = world.image(&world.overlay_board("nanopi-m6-reference", 20480), talos, "out");
    command.arg("--base").arg(prefixed("dir:", &base)).args(["--format", "raw", "--kernel-arg", "console=ttyAMA0"]);
    command.arg("--extension").arg(testkit::reference().unwrap().join("in/realtek-firmware.tar"));
    world.add_sources(&mut command);
    result(&mut command);
    let Some(uki) = additions::uki(&world, "out", talos) else { return };
    let Some(folder) = additions::appended(&world, "out", &uki) else { return };

    let text = console(&qemu, &firmware, &world.path("out/metal-arm64.raw"));
    for path in [
        "0.sqsh",
        "extensions.yaml",
        "usr/lib/firmware/rtl_nic/rtl8125b-2.fw",
        "usr/lib/firmware/rtl_nic/rtl8168h-2.fw",
    ] {
        let digest = boardbuild::Digest::of(&fs::read(folder.join(path)).unwrap()).hex();
        assert!(text.contains(&format!("{digest}  /{path}\n")), "{path} {digest}:\n{text}");
    }
}
