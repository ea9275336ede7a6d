//! U-Boot's default environment: `key=value` texts, each ending with a zero, an empty one behind the last.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// Keys that every default environment has at least one of.
const ANCHORS: [&[u8]; 4] = [b"\0bootcmd=", b"\0boot_targets=", b"\0baudrate=", b"\0bootdelay="];

/// Default environments have 0.5 to 8 KiB.
const LARGEST: usize = 64 * 1024;

/// How many places that look like an environment are read.
const MAX_ATTEMPTS: usize = 64;

/// The default environment, in stored order.
#[derive(Debug, Default)]
pub(super) struct Environment<'a> {
    pub(super) entries: Vec<(usize, &'a str, &'a str)>,
}

impl<'a> Environment<'a> {
    /// The longest one in a program.
    pub(super) fn find(bytes: &'a [u8]) -> Self {
        let mut best = Self::default();
        let mut attempts = 0_usize;
        let mut read_to = 0_usize;
        for at in zeros(bytes) {
            let rest = bytes.get(at..).unwrap_or_default();
            if at < read_to || !ANCHORS.iter().any(|anchor| rest.starts_with(anchor)) {
                continue;
            }
            attempts = attempts.saturating_add(1);
            if attempts > MAX_ATTEMPTS {
                break;
            }
            let (entries, end) = around(bytes, at);
            read_to = end;
            if entries.len() > best.entries.len() {
                best = Self { entries };
            }
        }
        best
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.entries.iter().find(|(_, found, _)| *found == key).map(|(_, _, value)| *value)
    }

    pub(super) fn offset(&self, key: &str) -> Option<usize> {
        self.entries.iter().find(|(_, found, _)| *found == key).map(|(at, ..)| *at)
    }

    /// A number as U-Boot writes it: hexadecimal, with or without `0x`.
    pub(super) fn address(&self, key: &str) -> Option<u64> {
        let text = self.get(key)?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    }
}

/// Positions of zero bytes that text follows.
fn zeros(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.windows(2).enumerate().filter(|(_, pair)| matches!(pair, [0, b'b'])).map(|(at, _)| at)
}

/// The entries before and behind the zero at `at`, and where they end.
fn around(bytes: &[u8], at: usize) -> (Vec<(usize, &str, &str)>, usize) {
    let mut before = Vec::new();
    let floor = at.saturating_sub(LARGEST);
    let mut end = at;
    while let Some(head) = bytes.get(floor..end) {
        let Some(start) =
            head.iter().rposition(|byte| *byte == 0).and_then(|zero| floor.checked_add(zero)?.checked_add(1))
        else {
            break;
        };
        let Some(entry) = bytes.get(start..end).and_then(|text| split(start, text)) else { break };
        before.push(entry);
        end = start.saturating_sub(1);
    }
    before.reverse();
    let mut entries = before;
    let mut start = at.saturating_add(1);
    let ceiling = at.saturating_add(LARGEST).min(bytes.len());
    while let Some(rest) = bytes.get(start..ceiling) {
        let Some(length) = rest.iter().position(|byte| *byte == 0) else { break };
        let Some(entry) = rest.get(..length).and_then(|text| split(start, text)) else { break };
        entries.push(entry);
        start = start.saturating_add(length).saturating_add(1);
    }
    (entries, start)
}

fn split(at: usize, text: &[u8]) -> Option<(usize, &str, &str)> {
    let text = std::str::from_utf8(text).ok()?;
    let (key, value) = text.split_once('=')?;
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '#' | '.');
    (!key.is_empty() && key.len() <= 64 && key.chars().all(is_key)).then_some((at, key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_environment_is_taken() {
        let bytes =
            b"text\0bootdelay=x\0junk\0 \xff\0arch=arm\0bootcmd=run a=b\0fdt_addr_r=0x10\0bootargs=\0\0not=read\0";
        let found = Environment::find(bytes);
        let pairs: Vec<_> = found.entries.iter().map(|(_, key, value)| (*key, *value)).collect();
        assert_eq!(pairs, [("arch", "arm"), ("bootcmd", "run a=b"), ("fdt_addr_r", "0x10"), ("bootargs", "")]);
        assert_eq!((found.address("fdt_addr_r"), found.address("bootcmd")), (Some(16), None));
        assert_eq!(
            found.offset("arch").and_then(|at| bytes.get(at..)).map(|rest| rest.starts_with(b"arch=")),
            Some(true)
        );
        assert!(Environment::find(b"").entries.is_empty());
    }
}
