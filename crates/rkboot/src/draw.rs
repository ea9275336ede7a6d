//! A layout as a picture for a terminal: to scale, with every range named.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt::Write as _;

use imgcore::{ByteSize, Labelled, Layout};

/// Width of the bar in characters.
const WIDTH: u64 = 80;

/// Ranges in the table; what is more is counted.
const ROWS: usize = 40;

/// Draws the ranges of a file or medium of `size` bytes: a bar in which each character stands for as many bytes as the
/// next, and a table. Gaps are dots; two ranges in one character are a `+`.
///
/// ```
/// let mut layout = imgcore::Layout::new();
/// layout.add("header", 0..2048);
/// layout.add("image 1", 2048..8192);
/// let text = rkboot::draw(&layout, 8192);
/// assert!(text.starts_with("one character is 103 bytes:\n  [aaaaaaaaaaaaaaaaaaaabbbb"));
/// ```
pub fn draw(layout: &Layout, size: u64) -> String {
    let ranges = layout.sorted();
    let mut text = String::new();
    let unit = size.div_ceil(WIDTH).max(1);
    let unit = if unit < ByteSize::KIB { format!("{unit} bytes") } else { ByteSize(unit).to_string() };
    let _ = writeln!(text, "one character is {unit}:");
    let _ = writeln!(text, "  [{}]", bar(&ranges, size));
    let owners = ranges.iter().take(ROWS).map(|labelled| clean(&labelled.owner).chars().count());
    let width = owners.max().unwrap_or(0).max(5);
    let mut row = |mark: char, owner: &str, start: &str, end: &str, size: &str| {
        let line = format!("  {mark}  {owner:width$}  {start:>10}  {end:>10}  {size:>10}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    row(' ', "part", "first byte", "end", "size");
    let gap = |start: u64, end: u64| ByteSize(end.saturating_sub(start)).to_string();
    let mut at = 0;
    for (labelled, index) in ranges.iter().zip(0_usize..).take(ROWS) {
        let range = &labelled.range;
        if range.start > at {
            row('.', "", &at.to_string(), &range.start.to_string(), &gap(at, range.start));
        }
        at = at.max(range.end);
        row(
            mark(index),
            &clean(&labelled.owner),
            &range.start.to_string(),
            &range.end.to_string(),
            &gap(range.start, range.end),
        );
    }
    let more = ranges.len().saturating_sub(ROWS);
    if more > 0 {
        row(' ', &format!("{more} more"), "", "", "");
    } else if size > at {
        row('.', "", &at.to_string(), &size.to_string(), &gap(at, size));
    }
    text
}

/// Names come out of the file and must not steer the terminal.
fn clean(owner: &str) -> String {
    owner.chars().take(48).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn mark(index: usize) -> char {
    ('a'..='z').chain('A'..='Z').nth(index).unwrap_or('#')
}

fn bar(ranges: &[&Labelled], size: u64) -> String {
    let cell = |byte: u64| {
        let cell = u128::from(byte).saturating_mul(u128::from(WIDTH)).checked_div(u128::from(size)).unwrap_or(0);
        usize::try_from(cell).unwrap_or(usize::MAX)
    };
    let mut cells = vec!['.'; usize::try_from(WIDTH).unwrap_or(0)];
    for (labelled, index) in ranges.iter().zip(0_usize..) {
        let range = &labelled.range;
        if range.is_empty() || range.start >= size {
            continue;
        }
        let (first, last) = (cell(range.start), cell(range.end.saturating_sub(1)));
        // The end of one range and the start of the next share a character more often than not; it is the next one's.
        let starts_inside = u128::from(range.start).saturating_mul(u128::from(WIDTH));
        let shared = starts_inside.checked_rem(u128::from(size)).unwrap_or(0) != 0 && last > first;
        for (cell, number) in cells.iter_mut().zip(0_usize..).take(last.saturating_add(1)).skip(first) {
            *cell = match *cell {
                '.' => mark(index),
                other if number == first && shared => other,
                _ => '+',
            };
        }
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_drawn_to_scale() {
        let mut layout = Layout::new();
        layout.add("a", 0..100);
        layout.add("b", 100..300);
        layout.add("c\u{1b}[31m", 600..800);
        let text = draw(&layout, 800);
        let bar = text.lines().nth(1).unwrap();
        let count = |mark: char| bar.matches(mark).count();
        assert_eq!((count('a'), count('b'), count('c'), count('.')), (10, 20, 20, 30), "{text}");
        assert!(
            text.contains("c?[31m") && text.contains("\n  .                 300         600       300 B\n"),
            "{text}"
        );
    }

    #[test]
    fn neighbours_in_one_character_are_told_apart_and_small_parts_seen() {
        let mut layout = Layout::new();
        layout.add("a", 0..333);
        layout.add("b", 333..1000);
        layout.add("tiny", 900..901);
        let text = draw(&layout, 1000);
        let bar = text.lines().nth(1).unwrap();
        assert_eq!((bar.matches('+').count(), bar.len()), (1, 84), "{text}");
    }

    #[test]
    fn anything_is_drawn() {
        for size in [0, 1, 79, u64::MAX] {
            let mut layout = Layout::new();
            for index in 0..100 {
                layout.add(index.to_string(), index..size);
            }
            layout.add("behind", size..u64::MAX);
            assert!(draw(&layout, size).contains("more"));
        }
        assert!(draw(&Layout::new(), 0).contains('['));
    }
}
