//! LOADER and TOS images.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = rkboot::legacy::loader_image::parse(bytes);
});
