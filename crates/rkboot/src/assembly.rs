//! Files made of parts at fixed places: sized first, written once, forward.

use std::{
    borrow::Cow,
    io::{self, Write},
    ops::Range,
};

use imgcore::Layout;

/// A file that is planned: its parts with their names and places, the fill between them.
///
/// ```
/// let mut file = rkboot::Assembly::new();
/// file.push("idblock", b"RKNS".as_slice());
/// file.fill_to(8, 0xff);
/// file.push("FIT", vec![1, 2]);
/// assert_eq!((file.size(), file.to_bytes()), (10, b"RKNS\xff\xff\xff\xff\x01\x02".to_vec()));
/// assert_eq!(file.parts().map(|(name, range)| (name, range.start)).collect::<Vec<_>>(), [("idblock", 0), ("FIT", 8)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assembly<'a> {
    pieces: Vec<(Range<u64>, Piece<'a>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece<'a> {
    Fill(u8),
    Part(String, Cow<'a, [u8]>),
}

impl<'a> Assembly<'a> {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part at the end.
    pub fn push(&mut self, name: impl Into<String>, bytes: impl Into<Cow<'a, [u8]>>) {
        let bytes = bytes.into();
        let start = self.size();
        self.pieces.push((start..start.saturating_add(bytes.len() as u64), Piece::Part(name.into(), bytes)));
    }

    /// Fills up to `offset`, which is nothing where the file is as long already.
    pub fn fill_to(&mut self, offset: u64, byte: u8) {
        let start = self.size();
        if offset > start {
            self.pieces.push((start..offset, Piece::Fill(byte)));
        }
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |(range, _)| range.end)
    }

    /// The parts in order: name, and bytes from the start of the file.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        self.pieces.iter().filter_map(|(range, piece)| match piece {
            Piece::Fill(_) => None,
            Piece::Part(name, _) => Some((name.as_str(), range.clone())),
        })
    }

    /// The parts on a medium where the file starts at `start_byte`.
    pub fn layout(&self, start_byte: u64) -> Layout {
        let mut layout = Layout::new();
        for (name, range) in self.parts().filter(|(_, range)| !range.is_empty()) {
            layout.add(name, range.start.saturating_add(start_byte)..range.end.saturating_add(start_byte));
        }
        layout
    }

    /// Writes the file, forward.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn write_to(&self, writer: &mut dyn Write) -> io::Result<()> {
        for (range, piece) in &self.pieces {
            match piece {
                Piece::Part(_, bytes) => writer.write_all(bytes)?,
                Piece::Fill(byte) => {
                    let block = [*byte; 4096];
                    let mut left = range.end.saturating_sub(range.start);
                    while left > 0 {
                        let now = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                        writer.write_all(block.get(..now).unwrap_or_default())?;
                        left = left.saturating_sub(now as u64);
                    }
                }
            }
        }
        Ok(())
    }

    /// The file in memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        // A vector takes all that is written.
        let _ = self.write_to(&mut bytes);
        bytes
    }
}
