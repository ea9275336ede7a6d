//! Boot files as a whole: what is recognised can be placed and, perhaps, cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (file, _) = rkboot::examine(bytes, None);
    let length = rkboot::trim(&file).unwrap_or(bytes.len() as u64);
    assert!(length <= bytes.len() as u64);
    assert!(rkboot::ranges("f", &file, 0, length).overlaps().is_empty());
    let _ = rkboot::facts(bytes);
});
