//! What an unquoted text would be taken for: texts that are something else are quoted.

use super::Value;

/// What Go's reader makes of an unquoted text where any value is wanted.
///
/// # Errors
/// A date or time: Go would write it in another form than it stands in.
pub(super) fn value(text: &str) -> Result<Value, &'static str> {
    if is_timestamp(text) {
        return Err("an unquoted date is no text; put it in quotes");
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        text if is_number(text) => {
            let plain = text.replace('_', "");
            let whole = if text.starts_with('.') { None } else { integer(&plain) };
            whole.unwrap_or_else(|| Value::Float(plain.parse().unwrap_or_default()))
        }
        text => Value::Str(text.to_owned()),
    })
}

/// Whether an unquoted text stays a text, for readers of YAML 1.1 as well.
pub(super) fn stays_text(text: &str) -> bool {
    !(is_word(text) || is_old_bool(text) || is_number(text) || is_base60(text) || is_timestamp(text))
}

/// Words of the core schema. `<<` is not among them: the lookup goes by the first character.
fn is_word(text: &str) -> bool {
    matches!(
        text,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "true"
            | "True"
            | "TRUE"
            | "false"
            | "False"
            | "FALSE"
            | ".nan"
            | ".NaN"
            | ".NAN"
            | ".inf"
            | ".Inf"
            | ".INF"
            | "+.inf"
            | "+.Inf"
            | "+.INF"
            | "-.inf"
            | "-.Inf"
            | "-.INF"
    )
}

fn is_old_bool(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF"
    )
}

fn is_number(text: &str) -> bool {
    match text.bytes().next() {
        // The reader tries the text as it stands: an underscore has a digit on either side.
        Some(b'.') => {
            let whole = text.split('_').collect::<Vec<_>>();
            let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            let inner = whole.windows(2).all(|pair| match pair {
                [before, behind] => digit(before.chars().next_back()) && digit(behind.chars().next()),
                _ => false,
            });
            inner && is_float(&text.replace('_', ""))
        }
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let plain = text.replace('_', "");
            integer(&plain).is_some() || is_float(&plain)
        }
        _ => false,
    }
}

/// `strconv.ParseInt(text, 0, 64)`, else `ParseUint`; decimal numbers that overflow are floats.
fn integer(text: &str) -> Option<Value> {
    let (digits, negative) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (digits, text.starts_with('-')),
        None => (text, false),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    match (i64::try_from(value), negative) {
        (Ok(value), false) => Some(Value::Int(value)),
        (Ok(value), true) => Some(Value::Int(value.wrapping_neg())),
        (Err(_), true) if value == 1 << 63 => Some(Value::Int(i64::MIN)),
        // A sign makes it a signed number, which has no room.
        (Err(_), false) if !text.starts_with('+') => Some(Value::Uint(value)),
        (Err(_), _) => None,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` within the range of a 64-bit float.
fn is_float(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let shape = plain(whole) && plain(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent = exponent.is_none_or(|text| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && plain(digits)
    });
    shape && exponent && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: `1:20:30` of YAML 1.1.
fn is_base60(text: &str) -> bool {
    let mut parts = text.strip_prefix(['+', '-']).unwrap_or(text).split(':');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if !parts.next().is_some_and(|first| first.starts_with(|c: char| c.is_ascii_digit()) && digits(first)) {
        return false;
    }
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return false;
    }
    while let Some(mut part) = parts.next() {
        if parts.peek().is_none() {
            let (minutes, fraction) = part.split_once('.').unwrap_or((part, ""));
            if !digits(fraction) {
                return false;
            }
            part = minutes;
        }
        let good = match part.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
            _ => false,
        };
        if !good {
            return false;
        }
    }
    true
}

/// One of `2006-1-2`, `2006-1-2 15:4:5.9`, `2006-1-2T15:4:5.9Z07:00` (or `t`), each of a day that exists.
fn is_timestamp(text: &str) -> bool {
    let mut at = Cursor(text);
    let Some(year) = at.digits(4, 4) else { return false };
    let (true, Some(month), true, Some(day)) = (at.skip('-'), at.digits(1, 2), at.skip('-'), at.digits(1, 2)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    if day == 0 || day > days {
        return false;
    }
    if at.0.is_empty() {
        return true;
    }
    let zone = if at.skip(' ') {
        // Go skips any number of spaces where its layout has one.
        at.0 = at.0.trim_start_matches(' ');
        false
    } else if at.skip('T') || at.skip('t') {
        true
    } else {
        return false;
    };
    for (separator, limit) in [(None, 24), (Some(':'), 60), (Some(':'), 60)] {
        if separator.is_some_and(|separator| !at.skip(separator)) || at.digits(1, 2).is_none_or(|value| value >= limit)
        {
            return false;
        }
    }
    at.fraction();
    if !zone {
        return at.0.is_empty();
    }
    if at.skip('Z') {
        return at.0.is_empty();
    }
    if !(at.skip('+') || at.skip('-')) {
        return false;
    }
    let hour = at.digits(2, 2);
    let colon = at.skip(':');
    let minute = at.digits(2, 2);
    // Go takes 24 and 60 here.
    colon && hour.is_some_and(|hour| hour <= 24) && minute.is_some_and(|minute| minute <= 60) && at.0.is_empty()
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn skip(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(count).filter(|_| count >= least)?;
        self.0 = rest;
        digits.parse().ok()
    }

    /// A point or comma with digits behind it, however many.
    fn fraction(&mut self) {
        let Some(rest) = self.0.strip_prefix(['.', ',']) else { return };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            self.0 = rest.get(digits..).unwrap_or_default();
        }
    }
}
