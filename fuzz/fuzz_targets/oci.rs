//! OCI and docker archives.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = ocipack::inspect(std::sync::Arc::new(bytes.to_vec()));
});
