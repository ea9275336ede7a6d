//! Kernels: finding the release.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = talosimg::kernel::release(&bytes);
});
