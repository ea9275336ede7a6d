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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_printable_bytes() {
        let found: Vec<_> = texts(b"\0abc\0abcd\0\xff\x01efghi").collect();
        assert_eq!(found, [(5, "abcd"), (12, "efghi")]);
        assert_eq!(texts(b"").count(), 0);
        assert_eq!(texts(&[b'x'; 10_000]).map(|(_, text)| text.len()).collect::<Vec<_>>(), [LONGEST]);
    }
}
