//! Board profile, console and kernel generation on any tree.
#![no_main]

use dtbtool::{BindingGeneration, Fdt, profile};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(fdt) = Fdt::parse(bytes) else { return };
    let expected = profile::Profile {
        requested: Some("rockchip/rk3588-board-v2.dtb".to_owned()),
        stdout: Some("serial2:1500000n8".to_owned()),
        overlays: true,
        boot_memory: vec![("kernel".to_owned(), 0x0200_0000..0x0600_0000)],
        kernel: Some(BindingGeneration::Mainline),
        kernel_arguments: vec!["console=ttyS2,1500000n8 console=ttyFIQ0 earlycon=uart8250,mmio32,0xfeb50000".to_owned()],
        ..profile::Profile::default()
    };
    let _ = profile::check(&fdt, &expected);
});
