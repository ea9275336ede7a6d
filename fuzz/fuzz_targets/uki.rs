//! Unified kernel images.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = talosimg::uki::read(&bytes);
});
