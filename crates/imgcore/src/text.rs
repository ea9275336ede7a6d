//! The nearest known word, for errors that help.

/// The candidate with the smallest edit distance to `word`, if it is near enough to be a likely typing error: at
/// most a third of the longer word's letters, two at least; a candidate that begins with the word or the reverse
/// is near as well.
///
/// ```
/// assert_eq!(imgcore::nearest("nanopi-m5", ["rock-5a", "nanopi-m6"]), Some("nanopi-m6"));
/// assert_eq!(imgcore::nearest("chipset", ["board"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let limit = (word.chars().count().max(candidate.chars().count()) / 3).max(2);
        let mut distance = distance(word, candidate);
        if word.len() >= 3 && (candidate.starts_with(word) || word.starts_with(candidate)) {
            distance = distance.min(limit);
        }
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insert, delete, replace, swap of neighbours.
fn distance(a: &str, b: &str) -> usize {
    // Foreign words may be long; nothing that long is a typing error.
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_found_and_strangers_are_not() {
        let boards = ["demo", "nanopi-m6", "milas-rock-5a", "milas-rock-5b"];
        for (typed, meant) in [
            ("nanopi-m6s", Some("nanopi-m6")),
            ("nanopi_m6", Some("nanopi-m6")),
            ("nanpoi-m6", Some("nanopi-m6")),
            ("dmeo", Some("demo")),
            ("milas-rock-5", Some("milas-rock-5a")),
            ("raspberry", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, boards), meant, "{typed}");
        }
    }
}
