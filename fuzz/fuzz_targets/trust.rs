//! BL3X images.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = rkboot::legacy::trust::parse(bytes);
});
