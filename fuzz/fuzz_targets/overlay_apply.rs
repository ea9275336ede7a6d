//! Overlays: what can be applied is said beforehand, and the result is a sound tree. The first four bytes say where the
//! base ends and the overlay begins.
#![no_main]

use dtbtool::{Fdt, overlay};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX).min(rest.len());
    let (base, change) = rest.split_at(length);
    let (Ok(base), Ok(change)) = (Fdt::parse(base), Fdt::parse(change)) else { return };
    let (resolution, report) = overlay::resolve(&base, &change);
    assert_eq!(resolution.applies, !report.has_errors());
    if let Ok(result) = overlay::apply(&base, &[change]) {
        assert!(Fdt::parse(&result).is_ok());
    }
});
