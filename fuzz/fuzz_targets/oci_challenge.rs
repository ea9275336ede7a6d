//! What a registry says in headers, and what people type as references.
#![no_main]

use ocipack::registry::{Challenge, Docker, Head, Reference, Step, Upload};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for challenge in Challenge::parse(&text) {
        let _ = (challenge.parameter("realm"), challenge.parameter("scope"));
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().ok(), Some(reference));
    }
    let _ = Docker::parse("fuzz", bytes);
    // A line an answer: status, location, range.
    let Ok(base) = "https://h.io/v2/a/".parse() else { return };
    let mut upload = Upload::new(base, imgcore::Digest::of(b""), 100, None).with_piece(10);
    for line in text.lines().take(64) {
        let mut words = line.split(' ');
        let head = Head {
            status: words.next().and_then(|word| word.parse().ok()).unwrap_or(202),
            location: words.next().map(ToOwned::to_owned),
            range: words.next().map(ToOwned::to_owned),
            ..Head::default()
        };
        if upload.answer(&head).is_err() {
            break;
        }
        if let Step::Piece { range, .. } | Step::Close { range, .. } = upload.step() {
            assert!(range.start <= range.end && range.end <= 100);
        }
    }
});
