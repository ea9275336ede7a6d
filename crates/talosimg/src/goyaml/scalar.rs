//! How a text is written: plain, quoted or as a block.

use std::fmt::Write as _;

use super::resolve::stays_text;

/// What a text is made of, as far as the styles care (`emitterc.go`, `yaml_emitter_analyze_scalar`).
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
}

/// Characters that may stand unescaped. Those beyond the basic plane may not: the emitter looks at bytes.
fn printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Line breaks of YAML 1.1.
fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn shape(text: &str) -> Shape {
    let mut indicator = text.starts_with("---") || text.starts_with("...");
    let (mut breaks, mut special, mut tab) = (false, false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut before, mut blank_before) = (None, true);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let blank_behind = chars.peek().is_none_or(|&next| matches!(next, ' ' | '\t'));
        indicator |= match (before, c) {
            (None, '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`') => {
                true
            }
            (None, '?' | '-') | (_, ':') => blank_behind,
            (Some(_), '#') => blank_before,
            _ => false,
        };
        if c == '\t' {
            tab = true;
        } else if !printable(c) {
            special = true;
        }
        break_space |= c == ' ' && before.is_some_and(is_break);
        space_break |= is_break(c) && before == Some(' ');
        breaks |= is_break(c);
        blank_before = matches!(c, ' ' | '\t' | '\0') || is_break(c);
        before = Some(c);
    }
    let space_or_break = |c: char| c == ' ' || is_break(c);
    let edge = text.starts_with(space_or_break) || text.ends_with(space_or_break);
    Shape {
        plain: !(indicator || edge || breaks || break_space || space_break || tab || special),
        single: !(break_space || space_break || tab || special),
        block: !(text.is_empty() || text.ends_with(' ') || space_break || special),
    }
}

/// A key of a map, on one line.
pub(super) fn key(text: &str) -> String {
    let shape = shape(text);
    if text.chars().any(is_break) || !stays_text(text) {
        double(text)
    } else if shape.plain {
        text.to_owned()
    } else if shape.single {
        single(text)
    } else {
        double(text)
    }
}

/// A value. Lines of a block begin at `indent`; `column` is where lines of a quoted text go on.
pub(super) fn text(out: &mut String, text: &str, indent: usize, column: usize) {
    let shape = shape(text);
    if text.contains('\n') {
        if shape.block { literal(out, text, indent) } else { out.push_str(&double(text)) }
    } else if !stays_text(text) {
        out.push_str(&double(text));
    } else if shape.plain {
        out.push_str(text);
    } else if shape.single {
        folded_single(out, text, column);
    } else {
        out.push_str(&double(text));
    }
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted text in which a line or paragraph separator may stand: what follows one begins at the indentation.
fn folded_single(out: &mut String, text: &str, column: usize) {
    out.push('\'');
    let mut behind_break = false;
    for c in text.chars() {
        if behind_break && !is_break(c) && c != ' ' {
            out.extend(std::iter::repeat_n(' ', column));
        }
        if c == '\'' {
            out.push('\'');
        }
        out.push(c);
        behind_break = is_break(c);
    }
    out.push('\'');
}

fn double(text: &str) -> String {
    // The emitter asks whether the text begins with a byte order mark where it means the character: then it
    // escapes every one.
    let all = text.starts_with('\u{feff}');
    let mut out = String::from('"');
    for c in text.chars() {
        if printable(c) && !is_break(c) && !matches!(c, '"' | '\\') && !all {
            out.push(c);
            continue;
        }
        out.push('\\');
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' | '\\' => c,
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            c => {
                // Writing to a text does not fail.
                let _ = match u32::from(c) {
                    value @ ..=0xff => write!(out, "x{value:02X}"),
                    value @ ..=0xffff => write!(out, "u{value:04X}"),
                    value => write!(out, "U{value:08X}"),
                };
                continue;
            }
        };
        out.push(short);
    }
    out.push('"');
    out
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with(|c: char| c == ' ' || is_break(c)) {
        // The emitter names its level's width, whatever the place is.
        out.push('4');
    }
    let mut ends = text.chars().rev();
    match (ends.next().is_some_and(is_break), ends.next().is_none_or(is_break)) {
        (false, _) => out.push('-'),
        (true, true) => out.push('+'),
        (true, false) => {}
    }
    // A first line break of the text ends this line, and is lost to whoever reads it.
    if !text.starts_with(is_break) {
        out.push('\n');
    }
    let mut start = true;
    for c in text.chars() {
        if !is_break(c) && start {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push(c);
        start = is_break(c);
    }
}

/// `strconv.FormatFloat(value, 'g', -1, 64)`: the shortest digits, with an exponent below -4 and from 6 on.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}
