//! The kernel command line, with the merge rules of go-procfs 0.1.2 (`spec/talos-image.md` §3).
//!
//! A command line is an ordered list of keys, each with its values. Repeated keys meet at the first one's place; what
//! is printed last is therefore not always what was said last.
//!
//! ```
//! use talosimg::{cmdline, release};
//!
//! let row = release::find(&"v1.13.9".parse()?)?;
//! let overlay = ["console=tty1".to_owned(), "console=ttyS2,1500000n8".to_owned()];
//! let line = cmdline::build(row, &overlay, &["-consoleblank".to_owned(), "panic=10".to_owned()]).to_string();
//! assert_eq!(
//!     line,
//!     "talos.platform=metal console=tty1 console=ttyS2,1500000n8 init_on_alloc=1 slab_nomerge pti=on \
//!      nvme_core.io_timeout=4294967295 printk.devkmsg=on selinux=1 module.sig_enforce=1 \
//!      proc_mem.force_override=never panic=10"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use imgcore::{Finding, Report};

use crate::release::Release;

/// Keys of which an extra argument replaces what is there instead of joining it.
const OVERWRITTEN: [&str; 2] = ["console", "talos.platform"];

/// `COMMAND_LINE_SIZE` of Linux on arm64 (`arch/arm64/include/uapi/asm/setup.h`), with the final NUL.
const KERNEL_LIMIT: usize = 2048;

/// A kernel command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cmdline {
    parameters: Vec<Parameter>,
}

/// A key and its values; an empty value is a bare key. A key whose values were all removed keeps its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    key: String,
    values: Vec<String>,
}

impl Cmdline {
    /// A command line without a word.
    pub fn new() -> Self {
        Self::default()
    }

    /// Splits at white space, then each word at its first `=`; repeated keys are grouped at the first one.
    pub fn parse(text: &str) -> Self {
        let mut line = Self::new();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            line.append(key, value);
        }
        line
    }

    /// The values of a key, in order.
    pub fn values<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.parameters
            .iter()
            .find(|parameter| parameter.key == key)
            .into_iter()
            .flat_map(|p| &p.values)
            .map(String::as_str)
    }

    /// Replaces all values of each key that is named, in place; keys that are not there go to the end.
    pub fn set_all<S: AsRef<str>>(&mut self, arguments: &[S]) {
        for parameter in joined(arguments).parameters {
            self.set(parameter);
        }
    }

    /// Adds values to the keys that are there, or at the end. Repeats are kept.
    pub fn append_all<S: AsRef<str>>(&mut self, arguments: &[S]) {
        for parameter in joined(arguments).parameters {
            for value in &parameter.values {
                self.append(&parameter.key, value);
            }
        }
    }

    /// Applies what a user asks for: `-key` removes a key, `-key=value` one value; `console` and `talos.platform`
    /// replace what was there before (several of one request stand together); every other repeat is kept. A lone `-` is
    /// a word like any other.
    ///
    /// An argument with spaces is several words. All words are grouped by key before they are applied, so
    /// `["a=1", "-a"]` leaves no `a`, and `["-a", "a=1"]` moves it to the end.
    pub fn extra<S: AsRef<str>>(&mut self, arguments: &[S]) {
        for parameter in joined(arguments).parameters {
            match parameter.key.strip_prefix('-') {
                Some(key) if !key.is_empty() => {
                    // A bare `-key` counts only as the first of its kind; behind `-key=value` it removes a bare `key`.
                    if parameter.values.first().is_some_and(String::is_empty) {
                        self.parameters.retain(|there| there.key != key);
                    } else if let Some(there) = self.parameters.iter_mut().find(|there| there.key == key) {
                        there.values.retain(|value| !parameter.values.contains(value));
                    }
                }
                _ if OVERWRITTEN.contains(&parameter.key.as_str()) => self.set(parameter),
                _ => {
                    for value in &parameter.values {
                        self.append(&parameter.key, value);
                    }
                }
            }
        }
    }

    /// The line with one more argument behind it, as the reset entries have it.
    #[must_use]
    pub fn followed_by(&self, argument: &str) -> String {
        format!("{self} {argument}")
    }

    /// What a kernel would make of the line: words that cannot be passed, a line that is cut.
    pub fn check(&self) -> Report {
        let mut report = Report::new();
        let line = self.to_string();
        if let Some(bad) = line.chars().find(|c| c.is_control()) {
            let message = format!("the kernel command line holds the control character {bad:?}");
            report.push(Finding::error("TAL020", message).help("remove it from the kernel arguments"));
        }
        if line.len() >= KERNEL_LIMIT {
            let message = format!(
                "the kernel command line has {} bytes, but a kernel for arm64 keeps {}",
                line.len(),
                KERNEL_LIMIT - 1
            );
            report.push(Finding::error("TAL021", message).help("remove kernel arguments: -name removes a default"));
        }
        report
    }

    fn set(&mut self, parameter: Parameter) {
        match self.parameters.iter_mut().find(|there| there.key == parameter.key) {
            Some(there) => *there = parameter,
            None => self.parameters.push(parameter),
        }
    }

    fn append(&mut self, key: &str, value: &str) {
        match self.parameters.iter_mut().find(|there| there.key == key) {
            Some(there) => there.values.push(value.to_owned()),
            None => self.parameters.push(Parameter { key: key.to_owned(), values: vec![value.to_owned()] }),
        }
    }
}

fn joined<S: AsRef<str>>(arguments: &[S]) -> Cmdline {
    Cmdline::parse(&arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "))
}

/// Single spaces between words, none at the end, no line break.
impl fmt::Display for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for Parameter { key, values } in &self.parameters {
            for value in values {
                text.push_str(key);
                if !value.is_empty() {
                    text.push('=');
                    text.push_str(value);
                }
                text.push(' ');
            }
        }
        // A lone `=` is a word without letters, so there may be more than one space at the end.
        f.write_str(text.trim_end_matches(' '))
    }
}

/// The command line of a disk image for the platform `metal` on arm64 (§3.2): platform, the overlay's arguments in
/// place of the platform's consoles, the release's defaults, what the user asks for.
pub fn build(release: &Release, overlay: &[String], extra: &[String]) -> Cmdline {
    let mut line = Cmdline::parse("talos.platform=metal");
    line.set_all(release.platform_args);
    line.set_all(overlay);
    line.append_all(release.kernel_args);
    line.extra(extra);
    line
}

#[cfg(test)]
mod tests;
