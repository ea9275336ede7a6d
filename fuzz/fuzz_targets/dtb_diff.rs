//! Differences: none between a tree and itself, and as many there as back. The first four bytes say where the first
//! tree ends and the second begins.
#![no_main]

use dtbtool::{Fdt, diff::diff};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX).min(rest.len());
    let (first, second) = rest.split_at(length);
    let Ok(first) = Fdt::parse(first) else { return };
    assert!(diff(&first, &first).is_empty());
    if let Ok(second) = Fdt::parse(second) {
        let (there, back) = (diff(&first, &second).summary, diff(&second, &first).summary);
        assert_eq!((there.nodes_added, there.properties_changed), (back.nodes_removed, back.properties_changed));
    }
});
