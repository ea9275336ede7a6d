//! META partitions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = talosimg::meta::parse(bytes);
});
