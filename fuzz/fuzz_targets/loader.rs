//! Loader files for maskrom mode, with the idblocks inside.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let (Some(loader), _) = rkboot::loader::parse(bytes) {
        let _ = (loader.idblock(bytes), loader.usb_block(bytes), loader.flash_parts(bytes), loader.soc());
    }
});
