//! The few of DER (X.690, chapter 8) that a signature of a module is made of.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// One value: its tag, its content, and both with the length between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// The values one behind the other in a content; ends at the first that is no DER.
#[derive(Debug, Clone)]
pub(super) struct Values<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let bytes = self.0;
        let (tag, short) = (*bytes.first()?, *bytes.get(1)?);
        let (length, start) = if short < 0x80 {
            (usize::from(short), 2)
        } else {
            // 0x80 alone, the indefinite length, is no DER; more than four bytes is no signature.
            let count = usize::from(short & 0x7f);
            let digits = bytes.get(2..count.checked_add(2)?).filter(|_| (1..=4).contains(&count))?;
            let length = digits.iter().fold(0_u64, |value, digit| (value << 8) | u64::from(*digit));
            (usize::try_from(length).ok()?, count.checked_add(2)?)
        };
        let end = start.checked_add(length)?;
        let value = Value { tag, content: bytes.get(start..end)?, whole: bytes.get(..end)? };
        self.0 = bytes.get(end..).unwrap_or_default();
        Some(value)
    }
}

impl<'a> Values<'a> {
    /// The next value, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        self.next().filter(|value| value.tag == tag)
    }
}

impl<'a> Value<'a> {
    /// The values in it.
    pub(super) fn inside(self) -> Values<'a> {
        Values(self.content)
    }
}
