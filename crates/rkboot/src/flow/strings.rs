//! Texts in a program.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// Longer texts are cut, so that a file of nothing but text costs no more than its size.
const LONGEST: usize = 4096;

fn is_text(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) || byte == b'\n' || byte == b'\t'
}

/// Every run of at least four printable bytes, with where it starts.
pub(crate) fn texts(bytes: &[u8]) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..)?;
            let start = at.saturating_add(rest.iter().position(|byte| is_text(*byte))?);
            let rest = bytes.get(start..)?;
            let length = rest.iter().position(|byte| !is_text(*byte)).unwrap_or(rest.len());
            at = start.saturating_add(length);
            let text = rest.get(..length.min(LONGEST))?;
            if length >= 4
                && let Ok(text) = std::str::from_utf8(text)
            {
                return Some((start, text));
            }
        }
    })
}

/// Whether a text is anywhere in a program. It looks at about one byte in `needle.len()` (Horspool), where [`texts`] looks
/// at each.
pub(super) fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((_, head)) = needle.split_last() else { return true };
    let mut steps = [needle.len(); 256];
    for (byte, step) in head.iter().zip((1..needle.len()).rev()) {
        if let Some(slot) = steps.get_mut(usize::from(*byte)) {
            *slot = step;
        }
    }
    let mut at = 0_usize;
    while let Some(window) = bytes.get(at..at.saturating_add(needle.len())) {
        if window == needle {
            return true;
        }
        let last = window.last().copied().unwrap_or_default();
        at = at.saturating_add(steps.get(usize::from(last)).copied().unwrap_or(1));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_is() {
        let needle = b"U-Boot 20";
        for at in 0..40 {
            let mut bytes = vec![b'o'; at];
            bytes.extend_from_slice(b"U-BoU-Boot 20");
            assert!(holds(&bytes, needle) && holds(&bytes, b"o") && holds(&bytes, b""));
            bytes.pop();
            assert!(!holds(&bytes, needle), "{at}");
        }
        assert!(!holds(b"", needle) && !holds(b"U-Boot 2", needle));
    }

    #[test]
    fn runs_of_printable_bytes() {
        let found: Vec<_> = texts(b"\0abc\0abcd\0\xff\x01efghi").collect();
        assert_eq!(found, [(5, "abcd"), (12, "efghi")]);
        assert_eq!(texts(b"").count(), 0);
        assert_eq!(texts(&[b'x'; 10_000]).map(|(_, text)| text.len()).collect::<Vec<_>>(), [LONGEST]);
    }
}
