//! A layout as a picture for a terminal: to scale where that can be read, with every range named.

use std::fmt::Write as _;

use imgcore::{ByteSize, Labelled, Layout};

use crate::board::SECTOR;

/// Width of the bar in characters.
const WIDTH: usize = 96;

/// Draws the ranges of a medium of `size` bytes: a bar of the area in front of and around the first partition, and a
/// table with LBAs and sizes.
///
/// ```
/// let mut layout = imgcore::Layout::new();
/// layout.add("idbloader", 32_768..364_544);
/// layout.add("partition 1 (EFI)", 11_534_336..12_582_912);
/// let text = boardbuild::draw(&layout, 16 << 20);
/// assert!(text.contains("idbloader"));
/// assert!(text.contains("22528"));
/// ```
pub fn draw(layout: &Layout, size: u64) -> String {
    let ranges = layout.sorted();
    let mut text = String::new();
    let front = front_end(&ranges, size);
    let _ = writeln!(
        text,
        "bytes 0 to {} ({}), one character is {}:",
        front,
        ByteSize(front),
        ByteSize(front / WIDTH as u64)
    );
    let _ = writeln!(text, "  [{}]", bar(&ranges, front));
    let _ = writeln!(text);
    let width = ranges.iter().map(|labelled| labelled.owner.chars().count()).max().unwrap_or(0).max(5);
    let mut row = |mark: char, owner: &str, first: &str, last: &str, byte: &str, size: &str| {
        let _ = writeln!(text, "  {mark}  {owner:width$}  {first:>10}  {last:>10}  {byte:>12}  {size:>10}");
    };
    row(' ', "range", "first LBA", "last LBA", "byte", "size");
    let mut at = 0;
    for (index, labelled) in ranges.iter().enumerate() {
        let range = &labelled.range;
        if range.start > at {
            row(' ', "·", "", "", "", &ByteSize(range.start - at).to_string());
        }
        at = at.max(range.end);
        row(
            mark(index),
            &labelled.owner,
            &(range.start / SECTOR).to_string(),
            &(range.end.saturating_sub(1) / SECTOR).to_string(),
            &range.start.to_string(),
            &ByteSize(range.end.saturating_sub(range.start)).to_string(),
        );
    }
    if size > at {
        row(' ', "·", "", "", "", &ByteSize(size - at).to_string());
    }
    row(' ', "end", &size.div_ceil(SECTOR).to_string(), "", &size.to_string(), &ByteSize(size).to_string());
    text
}

/// The bar ends a little behind the start of the first large range, so that what lies in front of it can be seen.
fn front_end(ranges: &[&Labelled], size: u64) -> u64 {
    let large = ranges.iter().find(|labelled| labelled.range.end.saturating_sub(labelled.range.start) > size / 4);
    let end = large.map_or(size, |labelled| labelled.range.start.saturating_add(labelled.range.start / 8));
    end.clamp(1, size.max(1)).checked_next_multiple_of(ByteSize::MIB).unwrap_or(u64::MAX).min(size.max(1))
}

fn mark(index: usize) -> char {
    "abcdefghijklmnopqrstuvwxyz".chars().nth(index).unwrap_or('#')
}

fn bar(ranges: &[&Labelled], end: u64) -> String {
    let cell = |byte: u64| u128::from(byte) * WIDTH as u128 / u128::from(end.max(1));
    let mut cells = vec!['.'; WIDTH];
    for (index, labelled) in ranges.iter().enumerate() {
        let first = usize::try_from(cell(labelled.range.start)).unwrap_or(WIDTH);
        let last = usize::try_from(cell(labelled.range.end.saturating_sub(1))).unwrap_or(WIDTH);
        for cell in cells.iter_mut().take(last.saturating_add(1).min(WIDTH)).skip(first) {
            // Small ranges stay visible beside a larger neighbour; two in one character are a `+`.
            *cell = if *cell == '.' { mark(index) } else { '+' };
        }
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_drawn_to_scale() {
        let mut layout = Layout::new();
        layout.add("loader", 1 << 20..2 << 20);
        layout.add("partition 1 (EFI)", 8 << 20..100 << 20);
        let text = draw(&layout, 104 << 20);
        let bar = text.lines().nth(1).unwrap();
        assert_eq!(bar.len(), WIDTH + 4);
        let (a, b) = (bar.matches('a').count(), bar.matches('b').count());
        assert!((10..=12).contains(&a) && b >= 9, "{text}");
        assert!(text.contains("partition 1 (EFI)"));
    }

    #[test]
    fn a_medium_of_any_size_is_drawn() {
        for size in [1, 511, u64::MAX - 1, u64::MAX] {
            let mut layout = Layout::new();
            layout.add("all", 0..size);
            layout.add("end", size - 1..size);
            assert!(draw(&layout, size).contains("all"));
        }
    }

    #[test]
    fn an_empty_medium_is_drawn() {
        assert!(draw(&Layout::new(), 0).contains("end"));
    }
}
