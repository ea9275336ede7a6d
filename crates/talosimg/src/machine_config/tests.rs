use std::fmt::Write as _;

use imgcore::Severity;
use proptest::prelude::*;

use super::*;

/// A control plane's configuration with everything that may hold a secret; each secret's value has `S3CRET` in it, and
/// what only looks like one has `harmless`.
const FULL: &str = include_str!("../../tests/data/machine_config.yaml");

#[test]
fn every_secret_of_a_complete_configuration_is_named_by_its_path() {
    let found: Vec<String> = secrets(FULL).unwrap().iter().map(ToString::to_string).collect();
    let expected: Vec<&str> = include_str!("../../tests/data/machine_config.txt").lines().collect();
    assert_eq!(found, expected);
    for line in &found {
        assert!(!line.contains("S3CRET") && !line.contains("UzNDUkVU"), "{line}");
    }
    // Each secret of the text is found: one for each mark.
    assert_eq!(found.len(), FULL.matches("S3CRET").count());
}

#[test]
fn a_configuration_without_secrets_is_taken() {
    let text = "# settings of a board\nmachine:\n  type: worker\n  install: {disk: /dev/mmcblk0}\n  network:\n    hostname: m6\n  \
                env: {http_proxy: http://proxy.example:3128, TOKEN_URL: https://example.org}\nversion: v1alpha1\ncluster:\n  \
                controlPlane: {endpoint: https://10.0.0.1:6443}\n  ca: {crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==, key: \
                \"\"}\n  token: ${TOKEN}\n  secret: '**********'\n---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n---\n";
    for row in release::all() {
        let report = check(text.as_bytes(), row);
        let codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, if row.extensions.embedded_config { &[][..] } else { &["CFG004"] }, "{report:?}");
    }
}

#[test]
fn findings_name_the_place_and_never_the_value() {
    let row = release::find(&"v1.13.9".parse().unwrap()).unwrap();
    for (text, code, severity, word) in [
        ("version: v1alpha1\nmachine: {token: S3CRET}\n", "CFG001", Severity::Error, "machine.token"),
        (
            "apiVersion: v1alpha1\nkind: FutureConfig\napiKey: S3CRET\nenabled: true\n",
            "CFG003",
            Severity::Warning,
            "FutureConfig",
        ),
        (
            "apiVersion: v1alpha1\nkind: HostnameConfg\nauto: off\n",
            "CFG003",
            Severity::Warning,
            "did you mean HostnameConfig",
        ),
        ("", "CFG002", Severity::Error, "nothing in it"),
        ("---\n---\n", "CFG002", Severity::Error, "nothing in it"),
        ("S3CRET", "CFG002", Severity::Error, "is no map"),
        ("- S3CRET\n", "CFG002", Severity::Error, "is no map"),
        ("machine: {token: S3CRET}\n", "CFG002", Severity::Error, "has no version"),
        ("version: v1alpha2\nmachine: {}\n", "CFG002", Severity::Error, "\"v1alpha2\""),
        ("version: v1alpha1\nmachin: {}\n", "CFG002", Severity::Error, "did you mean `machine`"),
        ("apiVersion: v1\nkind: Secret\ndata: {a: S3CRET}\n", "CFG002", Severity::Error, "inlineManifests"),
        ("apiVersion: v1alpha1\nmachine: {}\n", "CFG002", Severity::Error, "has no kind"),
        ("version: v1alpha1\n---\nversion: v1alpha1\n", "CFG002", Severity::Error, "two documents"),
        ("a: [S3CRET\n", "CFG002", Severity::Error, "machine configuration: "),
        ("a: S3CRET\na: S3CRET\n", "CFG002", Severity::Error, "twice"),
        ("context: admin\ncontexts: {}\n", "CFG002", Severity::Error, "has a key \"context\""),
    ] {
        let report = check(text.as_bytes(), row);
        let first = report.iter().next().unwrap();
        assert_eq!((first.code, first.severity), (code, severity), "{text}: {first}");
        assert!(first.message.contains(word) && first.help.is_some(), "{text}: {first}");
        assert!(report.iter().all(|finding| !finding.to_string().contains("S3CRET")), "{report:?}");
    }
    let later =
        check(b"apiVersion: v1alpha1\nkind: FutureConfig\nspec: {apiKey: S3CRET, tokens: 3, useToken: true}\n", row);
    assert!(
        later.iter().any(|finding| finding.message.contains("FutureConfig (document 1), spec.apiKey")),
        "{later:?}"
    );
    assert_eq!(later.len(), 2);
    assert_eq!(check(b"\xff", row).iter().next().unwrap().code, "CFG002");
}

#[test]
fn large_and_hostile_texts_are_bounded() {
    let row = release::find(&"v1.13.9".parse().unwrap()).unwrap();
    let mut keys = "version: v1alpha1\nmachine:\n  env:\n".to_owned();
    for index in 0..20_000 {
        writeln!(keys, "    K{index}_TOKEN: S3CRET").unwrap();
    }
    assert_eq!(check(keys.as_bytes(), row).len(), 20_000);
    assert_eq!(check(&vec![b' '; 5 << 20], row).iter().next().unwrap().code, "CFG002");
}

proptest! {
    #[test]
    fn no_text_ends_the_search(text in "\\PC{0,60}", lines in prop::collection::vec("[ -]{0,4}[a-zA-Z&*<]{0,6}[:]? ?[\\PC]{0,9}", 0..8)) {
        let whole = format!("version: v1alpha1\nmachine:\n  {}\n", lines.join("\n  "));
        for text in [text.as_str(), whole.as_str()] {
            for row in release::all() {
                let _ = check(text.as_bytes(), row);
            }
        }
    }
}
