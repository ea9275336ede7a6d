//! The order of a map's keys.

use std::cmp::Ordering;

/// As `sorter.go` compares two texts: runs of digits by their value, letters behind everything else, except right
/// behind a digit.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for (at, (&left, &right)) in a.iter().zip(&b).enumerate() {
        if left == right {
            digits = digit(left);
            continue;
        }
        return match (left.is_alphabetic(), right.is_alphabetic()) {
            (true, true) => left.cmp(&right),
            (letter, other) if letter || other => {
                // Behind a digit the letter comes first, else last.
                if letter == digits { Ordering::Less } else { Ordering::Greater }
            }
            _ => {
                // Zeros inside a number count, zeros in front of one do not.
                let inside = (left == '0' || right == '0')
                    && a.iter().take(at).rev().take_while(|&&c| digit(c)).any(|&c| c != '0');
                let (left_value, left_end) = number(&a, at, inside);
                let (right_value, right_end) = number(&b, at, inside);
                left_value.cmp(&right_value).then(left_end.cmp(&right_end)).then(left.cmp(&right))
            }
        };
    }
    a.len().cmp(&b.len())
}

fn digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Value and count of the digits from `at`; Go's number wraps where it is too long.
fn number(text: &[char], at: usize, inside: bool) -> (i64, usize) {
    text.iter().skip(at).take_while(|&&c| digit(c)).fold((i64::from(inside), 0), |(value, count), &c| {
        let digit = i64::from(c.to_digit(10).unwrap_or_default());
        (value.wrapping_mul(10).wrapping_add(digit), count.saturating_add(1))
    })
}
