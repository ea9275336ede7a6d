//! Version ranges in the grammar of `github.com/blang/semver` v4, `ParseRange`, as the imager reads them.

use std::{cmp::Ordering, fmt};

use crate::Version;

/// The releases that an extension is for: `>= v1.10.0 < 1.13.x || 1.14.0`.
///
/// A space means "and", `||` means "or"; `x` stands for any minor or patch number; `v` in front of a number does not
/// matter, nor does the pre-release part of the release that is compared.
///
/// ```
/// use talosimg::extension::Range;
///
/// let range = Range::parse(">= v1.10.0 < 1.12.x")?;
/// assert!(range.matches(&"v1.10.6-nanopi-m6".parse()?) && !range.matches(&"v1.13.9".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    text: String,
    /// One alternative matches when each of its conditions does.
    alternatives: Vec<Vec<Condition>>,
}

/// A text that is no range: the sentence says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeError(String);

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RangeError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    numbers: [u64; 3],
    /// A pre-release comes before its release; what is compared is a release always.
    pre_release: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Far more than any range has; the expansion of wildcards doubles at most.
const LIMIT: usize = 4096;

impl Range {
    /// Reads a range.
    ///
    /// # Errors
    /// Not of the grammar.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        if text.len() > LIMIT {
            return Err(RangeError(format!("{} bytes, at most {LIMIT} are read", text.len())));
        }
        let plain = without_prefixes(text);
        let parts = split(&plain);
        if parts.is_empty() {
            return Err(RangeError("there is no condition in it".to_owned()));
        }
        let mut alternatives = Vec::new();
        for parts in parts.split(|part| part == "||") {
            if parts.is_empty() {
                return Err(RangeError("`||` stands between two conditions".to_owned()));
            }
            let mut conditions = Vec::new();
            for part in parts {
                for part in expand(part)? {
                    conditions.push(Condition::parse(&part)?);
                }
            }
            alternatives.push(conditions);
        }
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// Whether a release is in it. Its pre-release and build parts do not matter.
    pub fn matches(&self, version: &Version) -> bool {
        let numbers = version.numbers();
        self.alternatives.iter().any(|conditions| conditions.iter().all(|condition| condition.holds(numbers)))
    }
}

/// As it was given.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Takes each `v` in front of a digit away. The one behind a `v` that was taken away stays, as in the imager.
fn without_prefixes(text: &str) -> String {
    let mut chars = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        if c == 'v' && chars.peek().is_some_and(char::is_ascii_digit) {
            plain.extend(chars.next());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Splits at spaces, except behind an operator. A part of one byte is lost, as in the original.
fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut last = None;
    for c in text.chars() {
        if c == ' ' && !matches!(last, Some('<' | '>' | '=')) {
            parts.push(std::mem::take(&mut part));
        } else if c == ' ' {
            part.push(c);
        } else {
            part.push(c);
            last = Some(c);
        }
    }
    parts.push(part);
    parts.retain(|part| part.len() > 1);
    parts.into_iter().map(|part| part.replace(' ', "")).collect()
}

/// Operator and version of a condition.
fn operator_and_version(part: &str) -> Result<(&str, &str), RangeError> {
    let at = part.find(|c: char| c.is_ascii_digit());
    let split = at.and_then(|at| part.split_at_checked(at));
    let (operator, version) = split.ok_or_else(|| RangeError(format!("{part:?} holds no version")))?;
    Ok((operator.trim(), version))
}

/// A condition with wildcards as conditions without.
fn expand(part: &str) -> Result<Vec<String>, RangeError> {
    if !part.contains('x') {
        return Ok(vec![part.to_owned()]);
    }
    let (operator, version) = operator_and_version(part)?;
    let fields: Vec<&str> = version.split('.').collect();
    let wildcard = (fields.last() == Some(&"x")).then_some(fields.len());
    // 1.x.x counts as 1.x here, but its last field decides what is raised below.
    let mut flat = version.replacen(".x.x", ".x", 1).replacen(".x", ".0", 1);
    if flat.split('.').count() == 2 {
        flat.push_str(".0");
    }
    let raised = match wildcard {
        Some(3) => raise(&flat, 1),
        Some(2) => raise(&flat, 0),
        _ => String::new(),
    };
    Ok(match operator {
        ">" => vec![format!(">={raised}")],
        ">=" => vec![format!(">={flat}")],
        "<" => vec![format!("<{flat}")],
        "<=" => vec![format!("<{raised}")],
        "" | "=" | "==" => vec![format!(">={flat}"), format!("<{raised}")],
        "!=" | "!" => vec![format!("<{flat}"), format!(">={raised}")],
        // The original drops an operator that it does not know.
        _ => vec![flat],
    })
}

/// The version with one field raised by one; nothing where that is no number.
fn raise(version: &str, index: usize) -> String {
    let mut fields: Vec<String> = version.split('.').map(str::to_owned).collect();
    let raised = fields.get(index).and_then(|field| field.parse::<i64>().ok()).and_then(|number| number.checked_add(1));
    let (Some(field), Some(raised)) = (fields.get_mut(index), raised) else { return String::new() };
    *field = raised.to_string();
    fields.join(".")
}

impl Condition {
    fn parse(part: &str) -> Result<Self, RangeError> {
        let (operator, version) = operator_and_version(part)?;
        let operator = match operator {
            "" | "=" | "==" => Operator::Equal,
            "!" | "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            other => {
                return Err(RangeError(format!("{other:?} in {part:?} is no operator; there are < <= > >= = and !=")));
            }
        };
        let (numbers, pre_release) =
            version_of(version).ok_or_else(|| RangeError(format!("{version:?} is no version of three numbers")))?;
        Ok(Self { operator, numbers, pre_release })
    }

    fn holds(self, numbers: [u64; 3]) -> bool {
        let behind = if self.pre_release { Ordering::Greater } else { Ordering::Equal };
        let order = numbers.cmp(&self.numbers).then(behind);
        match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A semantic version without a prefix: its numbers and whether it is a pre-release.
fn version_of(text: &str) -> Option<([u64; 3], bool)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |text: &str| digits(text) && (text == "0" || !text.starts_with('0'));
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let number = |text: &str| plain(text).then(|| text.parse::<u64>().ok()).flatten();
    let mut fields = text.splitn(3, '.');
    let (major, minor, rest) = (fields.next()?, fields.next()?, fields.next()?);
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
    let good = pre.is_none_or(|pre| pre.split('.').all(|id| if digits(id) { number(id).is_some() } else { word(id) }))
        && build.is_none_or(|build| build.split('.').all(word));
    good.then_some(([number(major)?, number(minor)?, number(patch)?], pre.is_some()))
}
