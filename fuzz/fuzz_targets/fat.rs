//! FAT32 file systems.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = rawimg::fat::read(&bytes);
});
