//! Compressed images: whatever the bytes are, reading ends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = rawimg::source::open(std::sync::Arc::new(bytes.to_vec())) {
        use imgcore::ReadAt as _;
        let mut head = [0; 4096];
        let _ = image.read_at(0, &mut head);
        let _ = image.read_at(image.size().saturating_sub(4096), &mut head);
    }
});
