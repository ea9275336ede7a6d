//! The text form of edits.

use super::{Cell, Edit, Value, refuse};
use crate::{error::Error, tree::shorten};

impl Edit {
    /// Reads `set NODE PROPERTY VALUE`, `delete NODE [PROPERTY]`, `enable NODE`, `disable NODE` or
    /// `local-mac-address NODE ADDRESS`.
    ///
    /// # Errors
    /// [`ErrorKind::Edit`](crate::ErrorKind::Edit) that says what is expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (verb, rest) = word(text);
        let (node, rest) = word(rest);
        let node = node.to_owned();
        let known = ["set", "delete", "enable", "disable", "local-mac-address"];
        if !known.contains(&verb) {
            let help = imgcore::nearest(verb, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return refuse(shorten(verb), format!("no such edit, known are {}{help}", known.join(", ")));
        }
        if node.is_empty() {
            return refuse(shorten(text), "no node is named: give a path, &label or an alias");
        }
        let more = |rest: &str| {
            refuse(shorten(text), format!("nothing is expected behind the node, found {:?}", shorten(rest)))
        };
        match verb {
            "set" => {
                let (property, value) = word(rest);
                if property.is_empty() {
                    return refuse(shorten(text), "no property is named: set NODE PROPERTY VALUE");
                }
                Ok(Self::Set { node, property: property.to_owned(), value: Value::parse(value)? })
            }
            "delete" => match word(rest) {
                ("", _) => Ok(Self::Delete { node, property: None }),
                (property, "") => Ok(Self::Delete { node, property: Some(property.to_owned()) }),
                (_, rest) => more(rest),
            },
            "local-mac-address" => Ok(Self::LocalMacAddress { node, address: parse_mac(rest)? }),
            _ if !rest.is_empty() => more(rest),
            "enable" => Ok(Self::Enable { node }),
            _ => Ok(Self::Disable { node }),
        }
    }
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

impl Value {
    /// Reads a value as device tree source writes it: `"text", "more"`, `<1 0x20 &label &{/path}>`, `[00 1f]`, or
    /// nothing. A bare word is a string.
    ///
    /// # Errors
    /// [`ErrorKind::Edit`](crate::ErrorKind::Edit) that shows the part that is none of these.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        match text.chars().next() {
            None => Ok(Self::Empty),
            Some('"') => strings(text).map(Self::Strings),
            Some('<') => Ok(Self::Cells(group(text, '<', '>')?.into_iter().map(cell).collect::<Result<_, _>>()?)),
            Some('[') => {
                let mut bytes = Vec::new();
                for word in group(text, '[', ']')? {
                    let (pairs, odd) = word.as_bytes().as_chunks::<2>();
                    if !odd.is_empty() {
                        return refuse(shorten(word), "bytes are pairs of hexadecimal digits");
                    }
                    for pair in pairs {
                        let digits = std::str::from_utf8(pair).ok().filter(|digits| !digits.starts_with('+'));
                        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                        let Some(byte) = byte else {
                            return refuse(shorten(word), "bytes are pairs of hexadecimal digits");
                        };
                        bytes.push(byte);
                    }
                }
                Ok(Self::Bytes(bytes))
            }
            Some(_) if text.contains(char::is_whitespace) || text.contains(['"', '<', '[']) => refuse(
                shorten(text),
                "a value is \"text\", <cells>, [bytes], one bare word, or nothing; text with spaces needs its double \
                     quotes, and in a shell single ones around them: '\"console=ttyS2 quiet\"'",
            ),
            Some(_) => Ok(Self::Strings(vec![text.to_owned()])),
        }
    }
}

/// The words between the brackets; several groups with commas between them are one.
fn group(text: &str, open: char, close: char) -> Result<Vec<&str>, Error> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        let Some((inside, behind)) = rest.strip_prefix(open).and_then(|rest| rest.split_once(close)) else {
            return refuse(shorten(text), format!("{open} needs a {close}, and values of one kind"));
        };
        words.extend(inside.split_whitespace());
        let behind = behind.trim();
        match behind.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if behind.is_empty() => return Ok(words),
            None => return refuse(shorten(behind), "unexpected behind the value; groups need a comma between them"),
        }
    }
}

fn cell(word: &str) -> Result<Cell, Error> {
    if word.starts_with('&') && word.len() > 1 {
        return Ok(Cell::Node(word.to_owned()));
    }
    let number = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => word.parse().ok().filter(|_| !word.starts_with('+')),
    };
    match number {
        Some(number) => Ok(Cell::Number(number)),
        None => refuse(shorten(word), "a cell is a number up to 0xffffffff, &label or &{/path}"),
    }
}

fn strings(text: &str) -> Result<Vec<String>, Error> {
    let mut strings = Vec::new();
    let mut chars = text.chars();
    loop {
        // `chars` stands behind the opening quote's place.
        if chars.next() != Some('"') {
            return refuse(shorten(text), "strings are in quotes, with commas between them");
        }
        let mut string = String::new();
        loop {
            match chars.next() {
                Some('"') => break,
                Some('\\') => match chars.next() {
                    Some('n') => string.push('\n'),
                    Some('t') => string.push('\t'),
                    Some('r') => string.push('\r'),
                    Some(c @ ('"' | '\\')) => string.push(c),
                    other => return refuse(format!("\\{}", other.unwrap_or(' ')), "known are \\\" \\\\ \\n \\t \\r"),
                },
                Some(c) => string.push(c),
                None => return refuse(shorten(text), "the string has no closing quote"),
            }
        }
        strings.push(string);
        let rest = chars.as_str().trim_start();
        match rest.strip_prefix(',') {
            Some(next) => chars = next.trim_start().chars(),
            None if rest.is_empty() => return Ok(strings),
            None => return refuse(shorten(rest), "unexpected behind the string; strings need a comma between them"),
        }
    }
}

/// Reads a network address, `02:1a:2b:3c:4d:5e`, with `:` or `-`, and checks that a device can have it.
///
/// # Errors
/// [`ErrorKind::Edit`](crate::ErrorKind::Edit) for another form, zeros, or the address of a group.
pub fn parse_mac(text: &str) -> Result<[u8; 6], Error> {
    let text = text.trim();
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let byte = |part: &&str| {
        let sound = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        if sound { u8::from_str_radix(part, 16).ok() } else { None }
    };
    let bytes: Option<Vec<u8>> = parts.iter().map(byte).collect();
    let Some(Ok(address)) = bytes.map(<[u8; 6]>::try_from) else {
        return refuse(shorten(text), "a network address is six bytes, such as 02:1a:2b:3c:4d:5e");
    };
    check_mac(address)?;
    Ok(address)
}

pub(super) fn check_mac(address: [u8; 6]) -> Result<(), Error> {
    let shown = address.map(|byte| format!("{byte:02x}")).join(":");
    if address == [0; 6] {
        return refuse(shown, "zeros are no address: the kernel ignores them and takes a random one");
    }
    if address.first().is_some_and(|first| first & 1 == 1) {
        return refuse(shown, "the first byte is odd: an address of a group, which no device can have");
    }
    Ok(())
}
