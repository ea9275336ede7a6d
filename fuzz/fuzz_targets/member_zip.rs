//! Zip archives, and what is inside them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let container = imgcore::Blob::from_bytes("container", [b"PK\x03\x04", bytes].concat());
    for (member, range) in [(Some("dir/*"), None), (None, Some((1, Some(16))))] {
        let _ = boardbuild::take(&container, member, range, &mut std::io::sink(), &boardbuild::NoProgress);
    }
});
