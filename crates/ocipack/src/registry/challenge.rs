//! `WWW-Authenticate`, and the scopes that registries speak of.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::{BTreeMap, BTreeSet};

/// Longer headers are cut: no registry needs that many challenges.
const LONGEST: usize = 16 * 1024;
/// As many parameters as one challenge keeps.
const MOST_PARAMETERS: usize = 32;
/// As many scopes as one request for a token names.
const MOST_SCOPES: usize = 32;

/// One way that a server offers to prove who one is (RFC 9110 section 11.6.1).
///
/// ```
/// use ocipack::registry::Challenge;
/// let header = r#"Basic realm="a, b", Bearer realm="https://h/token",service=h,scope="repository:n:pull,push""#;
/// let challenges = Challenge::parse(header);
/// assert_eq!(challenges.len(), 2);
/// assert_eq!(challenges[1].scheme(), "bearer");
/// assert_eq!(challenges[1].parameter("scope"), Some("repository:n:pull,push"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The challenges of one header, as far as they can be read.
    pub fn parse(header: &str) -> Vec<Self> {
        let mut text = Text { rest: cut(header, LONGEST) };
        let mut challenges: Vec<Self> = Vec::new();
        loop {
            text.skip(|c| c.is_whitespace() || c == ',');
            let word = text.take(is_token);
            if word.is_empty() {
                // The end, or something that begins neither a scheme nor a parameter.
                if text.skip_one() {
                    continue;
                }
                return challenges;
            }
            text.skip(char::is_whitespace);
            if !text.rest.starts_with('=') {
                challenges.push(Self { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                continue;
            }
            text.skip_one();
            text.skip(char::is_whitespace);
            let Some(value) = text.value() else {
                // The padding of a token68, which no scheme of registries has.
                text.skip(|c| c == '=');
                continue;
            };
            if let Some(challenge) = challenges.last_mut()
                && challenge.parameters.len() < MOST_PARAMETERS
            {
                challenge.parameters.push((word.to_ascii_lowercase(), value));
            }
        }
    }

    /// The scheme in lower case: `basic`, `bearer`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The first parameter of that name, which is in lower case; an empty one is none.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

struct Text<'a> {
    rest: &'a str,
}

impl<'a> Text<'a> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.take(unwanted);
    }

    fn skip_one(&mut self) -> bool {
        let mut chars = self.rest.chars();
        let any = chars.next().is_some();
        self.rest = chars.as_str();
        any
    }

    /// A quoted text, or an unquoted one up to the next comma or space: some registries forget the quotes of an address.
    fn value(&mut self) -> Option<String> {
        let Some(inside) = self.rest.strip_prefix('"') else {
            let word = self.take(|c| !c.is_whitespace() && !matches!(c, ',' | '"' | '='));
            return (!word.is_empty()).then(|| word.to_owned());
        };
        let (mut value, mut chars, mut escaped) = (String::new(), inside.chars(), false);
        for c in chars.by_ref() {
            match c {
                _ if escaped => {
                    value.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => break,
                _ => value.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(value)
    }
}

/// RFC 9110 section 5.6.2, and the slash of a token68.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c)
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// What a token is for: `repository:NAME:pull,push` and others ("Token Scope Documentation" of the distribution project).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    pub(crate) fn repository(name: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self(BTreeMap::from([(format!("repository:{name}"), actions)]))
    }

    /// Scopes with single spaces between them. What has not three parts is kept as it is, without actions.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split_ascii_whitespace().take(MOST_SCOPES) {
            // The name may hold colons: `repository:localhost:5000/x:pull`.
            let (target, actions) = match scope.rsplit_once(':').filter(|(target, _)| target.contains(':')) {
                Some((target, actions)) => (target, actions),
                None => (scope, ""),
            };
            let actions = actions.split(',').filter(|action| !action.is_empty()).map(ToOwned::to_owned);
            scopes.0.entry(target.to_owned()).or_default().extend(actions);
        }
        scopes
    }

    pub(crate) fn join(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (target, actions) in &other.0 {
            all.0.entry(target.clone()).or_default().extend(actions.iter().cloned());
        }
        all
    }

    /// Whether a token for these scopes serves for `other` as well.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|(target, actions)| self.0.get(target).is_some_and(|mine| mine.is_superset(actions)))
    }

    /// Each scope as a token server reads it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(target, actions)| {
            let actions: Vec<_> = actions.iter().map(String::as_str).collect();
            if actions.is_empty() { target.clone() } else { format!("{target}:{}", actions.join(",")) }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::arithmetic_side_effects)]

    use super::*;

    fn seen(header: &str) -> String {
        let challenge = |challenge: &Challenge| {
            let parameters: Vec<_> = challenge.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{}({})", challenge.scheme, parameters.join("|"))
        };
        Challenge::parse(header).iter().map(challenge).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenges_of_all_forms() {
        for (header, expected) in [
            ("", ""),
            ("Basic", "basic()"),
            (r#"Basic realm="Registry Realm""#, "basic(realm=Registry Realm)"),
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                "bearer(realm=https://auth.docker.io/token|service=registry.docker.io|scope=repository:a/b:pull,push)",
            ),
            (r#"BEARER Realm = "https://h/t" , Service = h"#, "bearer(realm=https://h/t|service=h)"),
            ("Bearer realm=https://h/t,service=h", "bearer(realm=https://h/t|service=h)"),
            (r#"Negotiate, Basic realm="x", Bearer realm="y""#, "negotiate() basic(realm=x) bearer(realm=y)"),
            ("Negotiate abc/d+==, Basic realm=x", "negotiate() basic(realm=x)"),
            (r#"Bearer realm="a\"b\\c", error="invalid_token""#, r#"bearer(realm=a"b\c|error=invalid_token)"#),
            (r#"Bearer realm="never ends"#, "bearer(realm=never ends)"),
            (r#"realm="of nobody""#, ""),
            (r#", ,Bearer ,realm="x",,"#, "bearer(realm=x)"),
            ("Bearer realm=\"\u{1}é☃\"", "bearer(realm=\u{1}é☃)"),
            (r#"Bearer {"x":1} realm="y""#, "bearer() x() 1() bearer"),
        ] {
            if expected.ends_with("bearer") {
                // What is no challenge must end, whatever is seen in it.
                seen(header);
            } else {
                assert_eq!(seen(header), expected, "{header}");
            }
        }
    }

    #[test]
    fn scopes_join_and_cover() {
        let texts = |scopes: &Scopes| scopes.texts().collect::<Vec<_>>().join(" ");
        let pull = Scopes::repository("a/b", &["pull"]);
        let push = Scopes::repository("a/b", &["pull", "push"]);
        let other = Scopes::parse("repository:localhost:5000/c:pull registry:catalog:* aws");
        assert_eq!(texts(&other), "aws registry:catalog:* repository:localhost:5000/c:pull");
        assert_eq!(texts(&pull.join(&push)), "repository:a/b:pull,push");
        assert!(push.cover(&pull) && !pull.cover(&push) && !push.cover(&other));
        assert!(push.join(&other).cover(&other) && Scopes::default().cover(&Scopes::parse("  ")));
        assert_eq!(Scopes::parse(&"x ".repeat(1000)).0.len(), 1);
        let many: Vec<_> = (0..1000).map(|number| format!("repository:r{number}:pull")).collect();
        assert_eq!(Scopes::parse(&many.join(" ")).0.len(), MOST_SCOPES);
    }

    #[test]
    fn damaged_challenges_never_panic() {
        let header = r#"Basic realm="x\"y", Bearer realm="https://auth.example/token",service="registry é",scope="repository:a/b:pull,push repository:c:pull""#;
        testkit::mutants(12, 10_000, header.as_bytes(), |bytes| {
            for challenge in Challenge::parse(&String::from_utf8_lossy(bytes)) {
                assert!(challenge.parameters.len() <= MOST_PARAMETERS);
                Scopes::parse(challenge.parameter("scope").unwrap_or_default());
            }
        });
        assert!(Challenge::parse(&"é,".repeat(LONGEST)).is_empty());
    }
}
