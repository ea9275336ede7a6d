//! Boot files out of a disk are bytes of the disk.
#![no_main]

use rkboot::extract;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for piece in extract::plan(bytes, &[]).0 {
        if let Some(at) = piece.offset.and_then(|at| usize::try_from(at).ok()) {
            assert!(bytes[at..].starts_with(&piece.bytes));
        }
    }
});
