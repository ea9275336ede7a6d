//! Which of two Debian versions is newer (Debian Policy 5.6.12, deb-version(7)).
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::cmp::Ordering;

/// Compares two versions: `[EPOCH:]UPSTREAM[-REVISION]`.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    number(a.0, b.0).then_with(|| part(a.1, b.1)).then_with(|| part(a.2, b.2))
}

fn parts(version: &str) -> (&str, &str, &str) {
    let version = version.trim();
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Digits of any length, leading zeros not counted.
fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Text and numbers in turn: text by its own order, numbers by value.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = a.split_at_checked(end(a, |c| !c.is_ascii_digit())).unwrap_or((a, ""));
        let (text_b, rest_b) = b.split_at_checked(end(b, |c| !c.is_ascii_digit())).unwrap_or((b, ""));
        let order = text(text_a, text_b);
        if order != Ordering::Equal {
            return order;
        }
        let (number_a, next_a) = rest_a.split_at_checked(end(rest_a, |c| c.is_ascii_digit())).unwrap_or((rest_a, ""));
        let (number_b, next_b) = rest_b.split_at_checked(end(rest_b, |c| c.is_ascii_digit())).unwrap_or((rest_b, ""));
        let order = number(number_a, number_b);
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

fn end(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

/// A tilde is before the end, the end before letters, letters before everything else.
fn text(a: &str, b: &str) -> Ordering {
    let rank = |c: Option<char>| match c {
        Some('~') => (0, 0),
        None => (1, 0),
        Some(c) if c.is_ascii_alphabetic() => (2, u32::from(c)),
        Some(c) => (3, u32::from(c)),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (x, y) = (a.next(), b.next());
        match rank(x).cmp(&rank(y)) {
            Ordering::Equal if x.is_none() => return Ordering::Equal,
            Ordering::Equal => {}
            order => return order,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let versions = [
            "1",
            "1.0",
            "1.00",
            "1.0-0",
            "1.0-1",
            "1.0~rc1-1",
            "1.0~~",
            "1.0~",
            "1.0+b1",
            "1.0a",
            "1.0.1",
            "1:0.9",
            "0:1.0",
            "10",
            "9",
            "2025.01-3",
            "2025.10~rc2+dfsg-1",
            "25.8.0-trunk.120-S1",
            "25.11.0-trunk.3",
            "1.0-1~bpo12+1",
            "1.0-1+deb12u1",
            "1-1-1",
            "1.0-a",
            "1.0-~",
            "007",
            "7",
            "99999999999999999999999",
            "100000000000000000000000",
            "a",
            "Z",
            "1.a-b+c~d",
            "",
        ];
        let dpkg = testkit::tool("dpkg");
        for a in versions {
            assert_eq!(compare(a, a), Ordering::Equal, "{a}");
            for b in versions {
                assert_eq!(compare(a, b), compare(b, a).reverse(), "{a} {b}");
                // dpkg wants a digit first.
                let usable = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
                if let Some(dpkg) = dpkg.as_ref().filter(|_| usable(a) && usable(b) && compare(a, b) != Ordering::Equal)
                {
                    let relation = if compare(a, b) == Ordering::Less { "lt" } else { "gt" };
                    let status = Command::new(dpkg).args(["--compare-versions", a, relation, b]).status().unwrap();
                    assert!(status.success(), "{a} {relation} {b}");
                }
            }
        }
        assert_eq!(compare("1.0", "0:1.00-0"), Ordering::Equal);
    }
}
