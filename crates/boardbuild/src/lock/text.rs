//! The lock file as text: what it holds is written in one way only, and read with errors that point.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use imgcore::Report;
use serde::Deserialize;
use toml::Spanned;

use super::{Container, Lock, Locked, LockedImage, Unresolved};
use crate::{
    board::is_name,
    error::{Error, Exit, Result},
    toml_text::Source as Text,
};

const HEADER: &str = "# What every input's bytes are. `cargo xtask` writes this file; reviewers read it.\n\n";

/// A longer word than any name, address or licence: a file with one is damaged.
const LONGEST: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LockToml {
    version: Spanned<u32>,
    epoch: Option<u64>,
    #[serde(default)]
    source: Vec<Spanned<Locked>>,
    #[serde(default)]
    image: Vec<Spanned<LockedImage>>,
    #[serde(default)]
    unresolved: Vec<Spanned<Unresolved>>,
}

impl Lock {
    /// Checks the text of a lock file. `name` is what errors call it.
    ///
    /// # Errors
    /// [`Exit::Usage`] with place and cure: no TOML, an unknown key, a digest that is none, an input twice.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let source = Text { name, text, code: "BRD005" };
        let toml: LockToml = source.parse()?;
        if *toml.version.get_ref() != 1 {
            let message = format!("lock file of version {}, this program reads version 1", toml.version.get_ref());
            return Err(Error::new(Exit::Usage, source.error(Some(toml.version.span()), &message)));
        }
        let mut check = Check { source, seen: BTreeMap::new(), images: BTreeMap::new(), errors: Report::new() };
        for locked in &toml.source {
            check.locked(locked.get_ref(), locked.span());
        }
        for open in &toml.unresolved {
            check.unresolved(open.get_ref(), open.span());
        }
        for image in &toml.image {
            check.image(image.get_ref(), image.span());
        }
        if !check.errors.is_empty() {
            return Err(Error::with_report(Exit::Usage, check.errors));
        }
        let mut lock = Self {
            epoch: toml.epoch,
            sources: toml.source.into_iter().map(Spanned::into_inner).collect(),
            images: toml.image.into_iter().map(Spanned::into_inner).collect(),
            unresolved: toml.unresolved.into_iter().map(Spanned::into_inner).collect(),
        };
        lock.sort();
        Ok(lock)
    }

    /// The text of the lock file: the same for the same content.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}version = 1\n");
        if let Some(epoch) = self.epoch {
            let _ = writeln!(text, "epoch = {epoch}");
        }
        for LockedImage { reference, platform, digest, size, unpacked } in &self.images {
            let _ = writeln!(text, "\n[[image]]\nreference = {}\nplatform = {}", quoted(reference), quoted(platform));
            let _ = writeln!(text, "digest = \"{digest}\"\nsize = {size}");
            if let Some(unpacked) = unpacked {
                let _ = writeln!(text, "unpacked = {unpacked}");
            }
        }
        for Locked { board, name, origin, sha256, size, licence, from } in &self.sources {
            let _ = writeln!(text, "\n[[source]]\nboard = {}\nname = {}", quoted(board), quoted(name));
            let _ = writeln!(text, "origin = {}\nsha256 = \"{sha256}\"\nsize = {size}", quoted(origin));
            if let Some(licence) = licence {
                let _ = writeln!(text, "licence = {}", quoted(licence));
            }
            if let Some(Container { url, sha256, size, unpacked }) = from {
                let url = url.as_ref().map(|url| format!("url = {}, ", quoted(url))).unwrap_or_default();
                let unpacked = unpacked.map(|unpacked| format!(", unpacked = {unpacked}")).unwrap_or_default();
                let _ = writeln!(text, "from = {{ {url}sha256 = \"{sha256}\", size = {size}{unpacked} }}");
            }
        }
        for Unresolved { board, name, origin, why, licence } in &self.unresolved {
            let _ = writeln!(text, "\n[[unresolved]]\nboard = {}\nname = {}", quoted(board), quoted(name));
            let _ = writeln!(text, "origin = {}\nwhy = {}", quoted(origin), quoted(why));
            if let Some(licence) = licence {
                let _ = writeln!(text, "licence = {}", quoted(licence));
            }
        }
        text
    }
}

/// A basic string of TOML 1.0: on one line, whatever it holds.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What is wrong with the entries, all of it.
struct Check<'a> {
    source: Text<'a>,
    seen: BTreeMap<(String, String), usize>,
    images: BTreeMap<(String, String), usize>,
    errors: Report,
}

impl Check<'_> {
    fn fail(&mut self, span: &Range<usize>, message: &str, help: &str) {
        self.errors.push(self.source.error(Some(span.clone()), message).help(help));
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.source.text.get(..span.start).unwrap_or_default().matches('\n').count().saturating_add(1)
    }

    fn key(&mut self, span: &Range<usize>, board: &str, name: &str) {
        for (key, word) in [("board", board), ("name", name)] {
            if !is_name(word) {
                self.fail(span, &format!("`{key}` is no name: {word:?}"), RESTORE);
            }
        }
        let line = self.line(span);
        if let Some(first) = self.seen.insert((board.to_owned(), name.to_owned()), line) {
            let message = format!("the input {name} of {board} is there twice, first in line {first}");
            self.fail(span, &message, "keep the entry that is meant; `cargo xtask lock` checks it against its origin");
        }
    }

    fn words(&mut self, span: &Range<usize>, words: &[(&str, Option<&String>)]) {
        for (key, word) in words.iter().filter_map(|(key, word)| word.map(|word| (key, word))) {
            if word.trim().is_empty() {
                self.fail(span, &format!("`{key}` is empty"), RESTORE);
            } else if word.len() > LONGEST || word.chars().any(char::is_control) {
                self.fail(span, &format!("`{key}` holds control characters or over {LONGEST} bytes"), RESTORE);
            }
        }
    }

    fn locked(&mut self, locked: &Locked, span: Range<usize>) {
        self.key(&span, &locked.board, &locked.name);
        self.words(&span, &[("origin", Some(&locked.origin)), ("licence", locked.licence.as_ref())]);
        if locked.size == 0 {
            self.fail(&span, "an input of 0 bytes", RESTORE);
        }
        if let Some(from) = &locked.from {
            self.words(&span, &[("from.url", from.url.as_ref())]);
            if from.size == 0 || from.unpacked == Some(0) {
                self.fail(&span, "`from` has 0 bytes", RESTORE);
            }
        }
    }

    fn unresolved(&mut self, open: &Unresolved, span: Range<usize>) {
        self.key(&span, &open.board, &open.name);
        let words = [("origin", Some(&open.origin)), ("why", Some(&open.why)), ("licence", open.licence.as_ref())];
        self.words(&span, &words);
    }

    fn image(&mut self, image: &LockedImage, span: Range<usize>) {
        self.words(&span, &[("reference", Some(&image.reference))]);
        if image.platform.parse::<ocipack::Platform>().is_err() {
            let message = format!("`platform` is none: {:?}", image.platform);
            self.fail(&span, &message, "`linux/arm64`, say");
        }
        let line = self.line(&span);
        if let Some(first) = self.images.insert((image.reference.clone(), image.platform.clone()), line) {
            let message = format!("{} for {} is there twice, first in line {first}", image.reference, image.platform);
            self.fail(
                &span,
                &message,
                "keep the entry that is meant; `cargo xtask lock` checks it against the registry",
            );
        }
    }
}

const RESTORE: &str =
    "restore the file from version control, or take the entry out: `cargo xtask lock` writes it again";
