//! LZMA2 chunks: how coded and stored bytes follow each other inside a block.
//!
//! Source: `.xz` file format 1.2, section 5.3.1, and liblzma's `lzma2_decoder.c`; sizes are stored less one, high
//! byte first.

use super::{
    model::{MATCH_MAX, Model},
    range::{self, BUFFER, RangeCoder},
};

/// Most bytes that one stored chunk holds.
const STORED_MAX: usize = 64 << 10;
/// Most bytes that one coded chunk stands for.
pub(super) const CODED_MAX: usize = 2 << 20;

/// What a coded chunk forgets of the chunk before. The first of a block forgets the dictionary too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// Goes on with the model of the chunk before.
    Nothing,
    /// A new model, and a property byte.
    State,
}

/// Appends the chunks of one block.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Writer<'a> {
    /// Begins a block.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    /// Appends a coded chunk if `code` is shorter than `data`, else stores the data. Whether it was coded: if not,
    /// the next coded chunk must reset the state.
    pub(super) fn coded(&mut self, reset: Reset, properties: u8, data: &[u8], code: &[u8]) -> bool {
        if code.len() + 6 >= data.len() + 3 * data.len().div_ceil(STORED_MAX) {
            self.stored(data);
            return false;
        }
        let control = match reset {
            _ if self.first => 0xE0,
            Reset::State => 0xC0,
            Reset::Nothing => 0x80,
        };
        self.first = false;
        let (size, code_size) = ((data.len() - 1) as u32, (code.len() - 1) as u32);
        let ([_, high, a, b], [.., c, d]) = (size.to_be_bytes(), code_size.to_be_bytes());
        self.out.extend([control | high, a, b, c, d]);
        if control >= 0xC0 {
            self.out.push(properties);
        }
        self.out.extend_from_slice(code);
        true
    }

    /// Appends stored chunks.
    pub(super) fn stored(&mut self, data: &[u8]) {
        for part in data.chunks(STORED_MAX) {
            let control = if self.first { 1 } else { 2 };
            self.first = false;
            let [.., a, b] = ((part.len() - 1) as u32).to_be_bytes();
            self.out.extend([control, a, b]);
            self.out.extend_from_slice(part);
        }
    }

    /// Appends chunks that stand for `count` zero bytes.
    pub(super) fn zeros(&mut self, mut count: usize) {
        while count > 0 {
            let part = count.min(CODED_MAX);
            let control = if self.first { 0xE0 } else { 0xC0 };
            self.first = false;
            let mut buffer = range::buffer();
            let code = zero_code(part, &mut buffer);
            let ([_, high, a, b], [.., c, d]) =
                (((part - 1) as u32).to_be_bytes(), ((code.len() - 1) as u32).to_be_bytes());
            self.out.extend([control | high, a, b, c, d, Zeros::PROPERTIES]);
            self.out.extend_from_slice(code);
            count -= part;
        }
    }

    /// Ends the block.
    pub(super) fn finish(self) {
        self.out.push(0);
    }
}

/// With lc 0 no byte before the chunk touches the code of a zero: it depends on the length only.
type Zeros = Model<0, 0, 0>;

/// The code of `count` zeros: one literal, then the last distance (1) again and again.
fn zero_code(count: usize, buffer: &mut [u8; BUFFER]) -> &[u8] {
    let mut model = Zeros::NEW;
    let mut rc = RangeCoder::new(buffer);
    model.literal(&mut rc, &[0], 0);
    let mut left = count - 1;
    while left > 0 {
        let length = left.min(MATCH_MAX);
        model.repeat(&mut rc, 0, 0, length);
        left -= length;
    }
    rc.finish()
}
