//! TOML files with errors that point: file, line, column, a caret, and the nearest known word.

use std::{fmt::Write as _, ops::Range};

use imgcore::{Finding, nearest};
use serde::de::DeserializeOwned;

use crate::error::{Error, Exit, Result};

/// A text and what to call it in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    /// Finding code of everything that is wrong with it.
    pub(crate) code: &'static str,
}

impl Source<'_> {
    /// Parses the text.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(self.text).map_err(|error| {
            let mut error_here = self.error(error.span(), error.message());
            if let Some(help) = known_words(error.message()) {
                error_here = error_here.help(help);
            }
            Error::new(Exit::Usage, error_here)
        })
    }

    /// An error at a span of the text.
    pub(crate) fn error(&self, span: Option<Range<usize>>, message: &str) -> Finding {
        let mut text = message.trim_end().to_owned();
        if let Some(span) = span {
            let (line, column, excerpt) = excerpt(self.text, &span);
            let gutter = line.to_string().len();
            let width = excerpt_width(&excerpt, column, &span);
            let _ = write!(
                text,
                "\n  --> {}:{line}:{column}\n{:gutter$} |\n{line} | {excerpt}\n{:gutter$} | {:pad$}{}",
                self.name,
                "",
                "",
                "",
                "^".repeat(width),
                pad = column.saturating_sub(1),
            );
        } else {
            let _ = write!(text, "\n  --> {}", self.name);
        }
        Finding::error(self.code, text)
    }
}

fn excerpt(text: &str, span: &Range<usize>) -> (usize, usize, String) {
    let start = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (before, after) = text.split_at(start);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let head = before.get(line_start..).unwrap_or_default();
    let tail = after.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let line = before.matches('\n').count() + 1;
    (line, head.chars().count() + 1, format!("{head}{tail}").replace('\t', " "))
}

fn excerpt_width(excerpt: &str, column: usize, span: &Range<usize>) -> usize {
    let left = (excerpt.chars().count() + 1).saturating_sub(column);
    span.len().clamp(1, left.max(1))
}

/// The help for "unknown field `x`, expected one of `a`, `b`" and its kin.
fn known_words(message: &str) -> Option<String> {
    let mut words = message.split('`').skip(1).step_by(2);
    let (unknown, known) = (words.next()?, words.collect::<Vec<_>>());
    if !message.starts_with("unknown") || known.is_empty() {
        return None;
    }
    Some(match nearest(unknown, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known words: {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        #[allow(dead_code)]
        chipset: String,
    }

    #[test]
    fn an_unknown_word_is_shown_with_its_place_and_the_nearest_known_one() {
        let source = Source { name: "boards/x.toml", text: "chipset = \"a\"\nchipest = 1\n", code: "BRD001" };
        let error = source.parse::<Thing>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "error[BRD001]: unknown field `chipest`, expected `chipset`\n  --> boards/x.toml:2:1\n  |\n2 | chipest = 1\n  | \
             ^^^^^^^\n  help: did you mean `chipset`?"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn any_span_is_safe() {
        let text = "ä = 1\nö";
        let source = Source { name: "x", text, code: "BRD001" };
        for start in 0..12 {
            for end in start..14 {
                assert!(source.error(Some(start..end), "m").message.contains('^'));
            }
        }
    }
}
