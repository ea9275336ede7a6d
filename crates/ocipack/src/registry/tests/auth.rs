//! Who gets which credential, and when it ends.

use std::time::Duration;

use transfer::{Method, Secret};

use super::{Answer, Only, Rig, Seen, rig, status, with};
use crate::{
    Error,
    registry::{Credential, NoCredentials, Options, Reference, Repository},
};

const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;
/// `me:canary`
const BASIC: &str = "Basic bWU6Y2FuYXJ5";

fn password(registry: &'static str) -> Only {
    Only(registry, Credential::Basic { user: "me".to_owned(), password: Secret::new("canary") })
}

fn identity(registry: &'static str) -> Only {
    Only(registry, Credential::IdentityToken(Secret::new("canary")))
}

fn ask(challenge: &str) -> Answer {
    with(401, &[("www-authenticate", challenge)], "")
}

fn manifest() -> Answer {
    with(200, &[("content-type", crate::media::INDEX)], INDEX)
}

fn read(rig: &Rig, reference: &str) -> Result<(), Error> {
    let reference: Reference = reference.parse().unwrap();
    rig.client.manifest(&reference).map(|document| assert_eq!(document.bytes, INDEX.as_bytes()))
}

fn problem(outcome: Result<(), Error>) -> String {
    let error = outcome.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("canary"), "{shown}");
    format!("{:?}", error.transfer().expect("a transfer").kind())
}

/// A digest, so that one GET is all.
fn by_digest() -> String {
    format!("h.io/a/b@{}", imgcore::Digest::of(INDEX.as_bytes()))
}

#[test]
fn a_token_is_fetched_for_the_scope_and_kept() {
    let rig = rig(NoCredentials, Options::default(), |seen: &Seen| match (seen.url.host_str(), seen.authorization()) {
        (Some("auth.io"), None) => with(200, &[], r#"{"token":"t1","expires_in":300}"#),
        (Some("h.io"), Some("Bearer t1")) => manifest(),
        (Some("h.io"), None) => ask(r#"Bearer realm="https://auth.io/token?x=y",service="the service""#),
        other => panic!("{other:?}"),
    });
    read(&rig, &by_digest()).unwrap();
    read(&rig, &by_digest()).unwrap();
    let url = format!("GET https://h.io/v2/a/b/manifests/{}", imgcore::Digest::of(INDEX.as_bytes()));
    let token = "GET https://auth.io/token?x=y&service=the+service&scope=repository%3Aa%2Fb%3Apull";
    assert_eq!(rig.server.lines(), [&url, token, &url, &url]);
    // It dies, and another one is there before the registry complains.
    rig.clock.pass(Duration::from_mins(5));
    read(&rig, &by_digest()).unwrap();
    assert_eq!(rig.server.lines()[4..], [token, &url]);
    // A push needs another one; a pull can use it.
    let repository: Repository = "h.io/a/b".parse().unwrap();
    rig.client.has_blob(&repository, &imgcore::Digest::of(b"x")).unwrap();
    rig.client.has_blob(&repository, &imgcore::Digest::of(b"y")).unwrap();
    let lines = rig.server.lines();
    assert!(lines[6].ends_with("&scope=repository%3Aa%2Fb%3Apull%2Cpush"), "{lines:?}");
    assert_eq!(lines.len(), 9, "{lines:?}");
}

#[test]
fn every_form_of_challenge() {
    for (challenge, token_answer, works) in [
        (r#"Bearer realm="https://auth.io/t",service="s""#, r#"{"token":"t"}"#, true),
        ("bearer realm=https://auth.io/t,service=s", r#"{"access_token":"t"}"#, true),
        (r#"Negotiate, Basic realm="x", Bearer realm="https://auth.io/t""#, r#"{"token":"","access_token":"t"}"#, true),
        (r#"Bearer realm="/token""#, r#"{"token":"t","expires_in":"60"}"#, true),
        (r#"Bearer realm="https://auth.io/t""#, r#"{"token":"t","expires_in":-1,"issued_at":7}"#, true),
        (r#"Bearer realm="https://auth.io/t""#, r#"{"token":"t","expires_in":0}"#, true),
        (r#"Bearer service="s""#, "", false),
        (r#"Bearer realm="http://auth.io/t""#, "", false),
        (r#"Bearer realm="http://h.io/t""#, "", false),
        (r#"Bearer realm="https://me:pw@auth.io/t""#, "", false),
        (r#"Bearer realm="ftp://auth.io/t""#, "", false),
        (r#"Bearer realm="https://[""#, "", false),
        (r#"Bearer realm="https://auth.io/t""#, r#"{"token":"a\nb"}"#, false),
        (r#"Bearer realm="https://auth.io/t""#, "{}", false),
        (r#"Bearer realm="https://auth.io/t""#, "<html>", false),
        (r#"Bearer realm="https://auth.io/t""#, r#"{"token":7}"#, false),
        ("Negotiate", "", false),
        ("", "", false),
    ] {
        let token_answer = token_answer.to_owned();
        let rig = rig(NoCredentials, Options::default(), move |seen: &Seen| {
            if seen.url.path().starts_with("/t") {
                return with(200, &[], &token_answer);
            }
            if seen.authorization() == Some("Bearer t") { manifest() } else { ask(challenge) }
        });
        let outcome = read(&rig, &by_digest());
        assert_eq!(outcome.is_ok(), works, "{challenge}: {outcome:?}");
        let plain = rig.server.lines().iter().any(|line| line.contains("http://"));
        assert!(!plain && rig.server.lines().len() <= 4, "{challenge}: {:?}", rig.server.lines());
    }
}

#[test]
fn a_password_is_sent_when_asked_for_and_to_nobody_else() {
    // To the registry itself.
    let basic = rig(password("h.io"), Options::default(), |seen: &Seen| {
        if seen.authorization() == Some(BASIC) { manifest() } else { ask(r#"Basic realm="x""#) }
    });
    read(&basic, &by_digest()).unwrap();
    read(&basic, &by_digest()).unwrap();
    let sent: Vec<_> = basic.server.seen.lock().unwrap().iter().map(|seen| seen.authorization().is_some()).collect();
    assert_eq!(sent, [false, true, true], "not before it is asked for, then at once");
    // To the token server that it names, and then not to the registry.
    let bearer = rig(password("h.io"), Options::default(), |seen: &Seen| match seen.url.host_str() {
        Some("auth.io") => {
            assert_eq!(seen.authorization(), Some(BASIC));
            assert!(!seen.url.as_str().contains("canary"));
            with(200, &[], r#"{"token":"t"}"#)
        }
        _ if seen.authorization() == Some("Bearer t") => manifest(),
        _ => {
            assert_eq!(seen.authorization(), None);
            ask(r#"Basic realm="x", Bearer realm="https://auth.io/t""#)
        }
    });
    read(&bearer, &by_digest()).unwrap();
    // Not to where the registry, or the token server, leads.
    let away = rig(password("h.io"), Options::default(), |seen: &Seen| match (seen.url.host_str(), seen.url.path()) {
        (Some("evil.io"), _) => {
            assert_eq!(seen.authorization(), None);
            if seen.url.path() == "/token" { with(200, &[], r#"{"token":"t"}"#) } else { manifest() }
        }
        (_, "/t") => with(307, &[("location", "https://evil.io/token")], ""),
        _ if seen.authorization() == Some("Bearer t") => with(302, &[("location", "https://evil.io/blob")], ""),
        _ => ask(r#"Bearer realm="https://h.io/t""#),
    });
    read(&away, &by_digest()).unwrap();
    // Not to another registry, and not because another host asks.
    let other = rig(password("other.io"), Options::default(), |_: &Seen| ask(r#"Basic realm="x""#));
    assert!(problem(read(&other, &by_digest())).contains("with_credentials: false"));
    let evil = rig(password("h.io"), Options::default(), |seen: &Seen| match seen.url.host_str() {
        Some("evil.io") => {
            assert_eq!(seen.authorization(), None);
            ask(r#"Basic realm="x", Bearer realm="https://evil.io/token""#)
        }
        _ => with(307, &[("location", "https://evil.io/blob")], ""),
    });
    assert!(problem(read(&evil, &by_digest())).starts_with("Refused"));
}

#[test]
fn without_tls_credentials_stay_at_the_host() {
    let options = || Options { plain_http: vec!["h.io".to_owned(), "auth.io".to_owned()], ..Options::default() };
    for (realm, works) in [
        ("http://h.io/t", true),
        ("http://h.io:81/t", true),
        ("https://h.io/t", true),
        ("http://auth.io/t", false),
        ("https://auth.io/t", false),
    ] {
        let rig = rig(password("h.io"), options(), move |seen: &Seen| {
            assert!(seen.authorization().is_none() || seen.url.host_str() == Some("h.io"));
            match (seen.url.path(), seen.authorization()) {
                ("/t", _) => with(200, &[], r#"{"token":"t"}"#),
                (_, Some("Bearer t")) => manifest(),
                _ => ask(&format!(r#"Bearer realm="{realm}""#)),
            }
        });
        assert_eq!(read(&rig, &by_digest()).is_ok(), works, "{realm}");
    }
    // Nobody in particular may ask any token server over TLS.
    let rig = rig(NoCredentials, options(), |seen: &Seen| match (seen.url.path(), seen.authorization()) {
        ("/t", None) => with(200, &[], r#"{"token":"t"}"#),
        (_, Some("Bearer t")) => manifest(),
        _ => ask(r#"Bearer realm="https://auth.io/t""#),
    });
    read(&rig, &by_digest()).unwrap();
}

#[test]
fn an_identity_token_is_exchanged() {
    let challenge = r#"Bearer realm="https://auth.io/t",service="s""#;
    let form =
        "grant_type=refresh_token&service=s&client_id=ocipack&scope=repository%3Aa%2Fb%3Apull&refresh_token=canary";
    let oauth = rig(identity("h.io"), Options::default(), move |seen: &Seen| match seen.url.host_str() {
        Some("auth.io") => {
            assert_eq!((&seen.method, seen.url.query()), (&Method::POST, None));
            assert_eq!(String::from_utf8_lossy(&seen.body), form);
            assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
            with(200, &[], r#"{"access_token":"t","refresh_token":"other"}"#)
        }
        _ if seen.authorization() == Some("Bearer t") => manifest(),
        _ => ask(challenge),
    });
    read(&oauth, &by_digest()).unwrap();
    for refused in [404, 405] {
        let old =
            rig(identity("h.io"), Options::default(), move |seen: &Seen| match (seen.url.host_str(), &seen.method) {
                (Some("auth.io"), &Method::POST) => status(refused),
                // `<token>:canary`
                (Some("auth.io"), _) if seen.authorization() == Some("Basic PHRva2VuPjpjYW5hcnk=") => {
                    with(200, &[], r#"{"token":"t"}"#)
                }
                (Some("h.io"), _) if seen.authorization() == Some("Bearer t") => manifest(),
                (Some("h.io"), _) => ask(challenge),
                other => panic!("{other:?}"),
            });
        read(&old, &by_digest()).unwrap();
    }
    for refused in [400, 401, 403, 500] {
        let rig = rig(identity("h.io"), Options::default(), move |seen: &Seen| match seen.url.host_str() {
            Some("auth.io") => with(refused, &[], "refresh_token=canary is wrong"),
            _ => ask(challenge),
        });
        problem(read(&rig, &by_digest()));
    }
}

#[test]
fn no_loop_of_refusals() {
    // A token that never pleases.
    let bearer = rig(password("h.io"), Options::default(), |seen: &Seen| match seen.url.host_str() {
        Some("auth.io") => with(200, &[], r#"{"token":"t"}"#),
        _ => ask(r#"Bearer realm="https://auth.io/t",error="insufficient_scope""#),
    });
    assert!(problem(read(&bearer, &by_digest())).contains("with_credentials: true"));
    assert_eq!(bearer.server.lines().len(), 3);
    // A scope that changes each time.
    let mut count = 0;
    let changing = rig(NoCredentials, Options::default(), move |seen: &Seen| {
        if seen.url.host_str() == Some("auth.io") {
            return with(200, &[], r#"{"token":"t"}"#);
        }
        count += 1;
        ask(&format!(r#"Bearer realm="https://auth.io/t",scope="repository:x{count}:pull""#))
    });
    assert!(problem(read(&changing, &by_digest())).contains("with_credentials: false"));
    assert!(changing.server.lines().len() <= 5, "{:?}", changing.server.lines());
    // A password that is wrong, asked for again and again.
    let basic = rig(password("h.io"), Options::default(), |_: &Seen| ask(r#"Basic realm="x""#));
    assert!(problem(read(&basic, &by_digest())).contains("with_credentials: true"));
    assert_eq!(basic.server.lines().len(), 2);
    // A token server that refuses.
    for code in [401, 403] {
        let rig = rig(NoCredentials, Options::default(), move |seen: &Seen| match seen.url.host_str() {
            Some("auth.io") => ask_with(code),
            _ => ask(r#"Bearer realm="https://auth.io/t""#),
        });
        assert!(problem(read(&rig, &by_digest())).starts_with("Refused"));
        assert_eq!(rig.server.lines().len(), 2);
    }
}

fn ask_with(code: u16) -> Answer {
    with(code, &[("www-authenticate", r#"Bearer realm="https://auth.io/t""#)], r#"{"details":"incorrect username"}"#)
}

#[test]
fn a_second_scope_is_learned_and_a_stale_token_replaced() {
    // The registry wants more than a reader would ask for.
    let rig1 =
        rig(NoCredentials, Options::default(), |seen: &Seen| match (seen.url.host_str(), seen.authorization()) {
            (Some("auth.io"), _) if seen.url.as_str().contains("more") => with(200, &[], r#"{"token":"t2"}"#),
            (Some("auth.io"), _) => with(200, &[], r#"{"token":"t1"}"#),
            (_, Some("Bearer t2")) => manifest(),
            (_, Some(_)) => {
                ask(r#"Bearer realm="https://auth.io/t",scope="repository:proxy/a/b:pull repository:more:pull""#)
            }
            _ => ask(r#"Bearer realm="https://auth.io/t",scope="repository:proxy/a/b:pull""#),
        });
    read(&rig1, &by_digest()).unwrap();
    // A token that the server forgot before its time.
    let mut given = 0;
    let rig2 =
        rig(NoCredentials, Options::default(), move |seen: &Seen| match (seen.url.host_str(), seen.authorization()) {
            (Some("auth.io"), _) => {
                given += 1;
                with(200, &[], format!(r#"{{"token":"t{given}","expires_in":3600}}"#))
            }
            (_, Some("Bearer t1")) if given == 1 && seen.url.path().contains("manifests") => manifest(),
            (_, Some("Bearer t2")) => status(200),
            _ => ask(r#"Bearer realm="https://auth.io/t""#),
        });
    read(&rig2, &by_digest()).unwrap();
    let repository: Repository = "h.io/a/b".parse().unwrap();
    assert!(rig2.client.has_blob(&repository, &imgcore::Digest::of(b"x")).unwrap());
}

#[test]
fn a_mirror_gets_its_own_credential() {
    let mirrors = vec![("h.io".to_owned(), "m.io/proxy".to_owned())];
    let options = Options { mirrors, ..Options::default() };
    let rig = rig(password("m.io"), options.clone(), |seen: &Seen| {
        assert_eq!(seen.url.host_str(), Some("m.io"));
        assert!(seen.url.path().starts_with("/v2/proxy/a/b/"));
        if seen.authorization() == Some(BASIC) { manifest() } else { ask(r#"Basic realm="x""#) }
    });
    read(&rig, &by_digest()).unwrap();
    let rig = super::rig(password("h.io"), options, |seen: &Seen| match seen.url.host_str() {
        Some("m.io") => {
            assert_eq!(seen.authorization(), None);
            ask(r#"Basic realm="x""#)
        }
        _ if seen.authorization() == Some(BASIC) => manifest(),
        _ => ask(r#"Basic realm="x""#),
    });
    read(&rig, &by_digest()).unwrap();
}
