//! What is built into the kernel: `modules.builtin` and `modules.builtin.modinfo`.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::module::module_name;

/// Names in `modules.builtin`, a path on each line.
pub(super) fn names(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic())).map(module_name)
}

/// Aliases in `modules.builtin.modinfo`, with the module's name in front: `name.key=value`, each with a NUL behind.
///
/// As depmod reads it: after an entry without `=` the next one is passed over.
pub(super) fn aliases(bytes: &[u8]) -> Vec<(String, String)> {
    let (mut rest, mut aliases) = (bytes, Vec::new());
    while !rest.is_empty() {
        let Some(name) = take(&mut rest, b'.').filter(|name| !name.is_empty()) else { continue };
        if take(&mut rest, b'=') != Some(b"alias") {
            take(&mut rest, 0);
            continue;
        }
        if let Some(alias) = take(&mut rest, 0).filter(|alias| !alias.is_empty()) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            aliases.push((text(name), text(alias)));
        }
    }
    aliases
}

/// Takes bytes up to `end`, NUL or the end of all, and that byte too; `None` if it was not `end`.
fn take<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let at = rest.iter().position(|byte| *byte == end || *byte == 0);
    let (taken, behind) = rest.split_at_checked(at.unwrap_or(rest.len()))?;
    let stopped = behind.first() == Some(&end);
    *rest = behind.get(1..).unwrap_or_default();
    stopped.then_some(taken)
}

/// An alias with `_` for `-` outside brackets, as keys have it; `None` if brackets do not match.
pub(super) fn normalized(alias: &str) -> Option<String> {
    let (mut inside, mut out) = (false, String::with_capacity(alias.len()));
    for c in alias.chars() {
        match c {
            ']' if !inside => return None,
            '[' | ']' => inside = c == '[',
            _ => {}
        }
        out.push(if c == '-' && !inside { '_' } else { c });
    }
    (!inside).then_some(out)
}
