//! The YAML library behind two functions, so that it can be replaced.
//!
//! ```
//! let options: std::collections::BTreeMap<String, String> =
//!     talosimg::yaml::from_str("extra-options", "board: nanopi-m6\n")?;
//! assert_eq!(talosimg::yaml::to_string("extra-options", &options)?, "board: nanopi-m6\n");
//! # Ok::<(), talosimg::Error>(())
//! ```

#[cfg(feature = "image")]
mod node;

#[cfg(feature = "image")]
pub use node::{Node, NodeKind, nodes};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{ErrorKind, Result};

/// The largest text that is parsed. Requests and profiles have a few hundred bytes.
pub const SIZE_BUDGET: usize = 1 << 20;

/// Reads a value. Aliases that multiply ("billion laughs") run into the parser's own node budget.
///
/// `what` names the text in errors.
pub fn from_str<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    let refuse = |message: String| ErrorKind::Yaml { what: what.to_owned(), message }.into();
    if text.len() > SIZE_BUDGET {
        return Err(refuse(format!("{} bytes of YAML, at most {SIZE_BUDGET} are read", text.len())));
    }
    serde_saphyr::from_str(text).map_err(|error| refuse(error.to_string()))
}

/// The first document of a text: a line that begins with `---` or `...` ends it. A `---` in front of it belongs to it.
pub fn first_document(text: &str) -> &str {
    let marker = |line: &str, mark: &str| {
        line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    let (mut end, mut begun) = (0_usize, false);
    for line in text.split_inclusive('\n') {
        let start = marker(line, "---");
        if begun && (start || marker(line, "...")) {
            return text.get(..end).unwrap_or(text);
        }
        begun |= start || !(line.trim().is_empty() || line.starts_with(['#', '%']));
        end = end.saturating_add(line.len());
    }
    text
}

/// Writes a value as block YAML: two spaces of indentation, strings quoted where a YAML 1.1 reader (Go's) would
/// take them for something else, no folding of long lines.
///
/// `what` names the value in errors.
pub fn to_string<T: Serialize>(what: &str, value: &T) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| ErrorKind::Yaml { what: what.to_owned(), message: error.to_string() }.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn strings_survive_a_round_trip() {
        for text in [
            "no",
            "yes",
            "1.10",
            "0x10",
            "",
            " a",
            "a: b",
            "- x",
            "line\nline\n",
            "tab\t",
            "'",
            "\"",
            "ü",
            &"w ".repeat(200),
        ] {
            let map = BTreeMap::from([("key".to_owned(), text.to_owned())]);
            let yaml = to_string("t", &map).unwrap();
            assert_eq!(from_str::<BTreeMap<String, String>>("t", &yaml).unwrap(), map, "{yaml}");
        }
    }

    #[test]
    fn errors_name_the_text_and_the_place() {
        let error = from_str::<BTreeMap<String, u8>>("options of nanopi-m6", "a: 1\nb: x\n").unwrap_err().to_string();
        assert!(error.starts_with("options of nanopi-m6: "), "{error}");
        assert!(error.contains("line 2"), "{error}");
        let large = format!("a: \"{}\"", "x".repeat(SIZE_BUDGET));
        assert!(from_str::<BTreeMap<String, String>>("t", &large).is_err());
    }

    #[test]
    fn aliases_that_multiply_are_stopped() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            let line = format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(","));
            bomb.push_str(&line);
        }
        assert!(from_str::<BTreeMap<String, serde_json::Value>>("t", &bomb).is_err());
    }
}
