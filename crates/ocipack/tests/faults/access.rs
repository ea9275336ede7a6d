//! Faults of letting in: challenges, tokens, scopes.

use std::time::Duration;

use testkit::faulty::{Answer, At, Auth, Content, Wire, on};

use crate::scenario::{Ends, Scenario, Who, pull, push};

/// A challenge for a token from elsewhere than it should be.
fn realm(realm: &str) -> Answer {
    challenge(&format!(r#"Bearer realm="{realm}",service="testkit",scope="repository:demo/image:pull""#))
}

fn challenge(text: &str) -> Answer {
    Answer::error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", text)
}

fn token(body: &str) -> Answer {
    Answer::new(200).header("Content-Type", "application/json").body(body)
}

const REFUSED: Ends = Ends::Wrong(&["Refused"]);
const BROKEN: Ends = Ends::Wrong(&["Protocol", "TooLarge", "Refused"]);

pub(crate) fn table() -> Vec<Scenario> {
    let bearer = |scenario: Scenario| scenario.asks(Auth::Bearer);
    let basic = |scenario: Scenario| scenario.asks(Auth::Basic);
    vec![
        bearer(pull("a token")),
        basic(pull("a password")),
        bearer(pull("a token for nobody")).comes(Who::Nobody),
        bearer(pull("an identity token")).comes(Who::Identity),
        bearer(push("a token for a push")),
        bearer(push("nobody pushes")).comes(Who::Nobody).ends(REFUSED),
        basic(pull("a wrong password")).comes(Who::Stranger).ends(REFUSED),
        bearer(pull("a wrong password at the token server")).comes(Who::Stranger).ends(REFUSED),
        basic(pull("401 for ever, password"))
            .with(on("", "/v2/").gives(challenge(r#"Basic realm="testkit""#)))
            .at_most(12)
            .ends(REFUSED),
        bearer(pull("401 for ever, token")).with(on("", "/v2/").gives(realm("http://{here}/token"))).at_most(16).ends(REFUSED),
        bearer(pull("401 without a challenge")).with(on("", "/v2/").gives(Answer::new(401))).ends(REFUSED),
        bearer(pull("401 with a challenge of no known scheme"))
            .with(on("", "/v2/").gives(challenge("Negotiate, NTLM")))
            .ends(REFUSED),
        bearer(pull("401 with garbage for a challenge"))
            .with(on("", "/v2/").gives(challenge(r#"Bearer realm="unclosed, ,,=,"="#)))
            .ends(BROKEN),
        bearer(pull("401 that repeats the credentials")).with(on("", "/v2/demo").edits(|request, answer| {
            let sent = request.header("authorization").unwrap_or_default();
            if sent.is_empty() { answer } else { Answer::error(403, "DENIED", &format!("no entry for {sent}")) }
        }))
        .ends(REFUSED),
        bearer(pull("403 with a token")).with(on("GET", "/v2/demo").gives(Answer::error(403, "DENIED", "no entry"))).ends(REFUSED),
        bearer(pull("several challenges in one header")).with(on("", "/v2/demo").edits(|_, answer| {
            let Some((_, value)) = answer.headers.iter().find(|(name, _)| name == "WWW-Authenticate") else { return answer };
            let value = format!(r#"Negotiate, Digest realm="a, Bearer realm=\"b\"", {value}"#);
            answer.header("WWW-Authenticate", value)
        })),
        bearer(pull("a scheme in small letters")).with(on("", "/v2/demo").edits(|_, mut answer| {
            for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "WWW-Authenticate") {
                *value = value.replace("Bearer realm", "bearer Realm");
            }
            answer
        })),
        bearer(pull("a token that is worth nothing any more")).with(on("GET", "/blobs/").nth(1).changes(Content::forget_tokens)),
        bearer(push("a token that ends in the middle of a push")).with(on("PUT", "/blobs/").nth(1).changes(Content::forget_tokens)),
        bearer(pull("another scope in the middle")).with(on("GET", "/blobs/").first(1).gives(challenge(
            r#"Bearer realm="http://{here}/token",service="testkit",scope="repository:demo/image:pull repository:demo/base:pull""#,
        ))),
        bearer(pull("another service in the middle")).with(on("GET", "/blobs/").first(1).gives(challenge(
            r#"Bearer realm="http://{here}/token",service="other",scope="repository:demo/image:pull""#,
        ))),
        bearer(pull("a challenge without scope")).with(on("", "/v2/demo").edits(|_, mut answer| {
            for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "WWW-Authenticate") {
                *value = value.split(",scope").next().unwrap_or_default().to_owned();
            }
            answer
        })),
        bearer(pull("the token server is down twice")).with(on("", "/token").first(2).gives(Answer::new(500))),
        bearer(pull("the token server is down")).with(on("", "/token").gives(Answer::new(500))).ends(Ends::Wrong(&["Status"])),
        bearer(pull("the token server gives garbage")).with(on("", "/token").gives(token("{\"token\": \"canary-token-x"))).ends(BROKEN),
        bearer(pull("the token server gives nothing")).with(on("", "/token").gives(token("{}"))).ends(BROKEN),
        bearer(pull("the token server gives a number")).with(on("", "/token").gives(token("{\"token\": 7}"))).ends(BROKEN),
        bearer(pull("the token server gives a line break"))
            .with(on("", "/token").gives(token("{\"token\": \"canary-token-x\\r\\nX-Evil: 1\"}")))
            .ends(BROKEN),
        bearer(pull("the token server does not stop"))
            .with(on("", "/token").gives(token(&" ".repeat(1 << 16)).wire(Wire::Endless)))
            .ends(BROKEN),
        bearer(pull("the token server never answers"))
            .with(on("", "/token").gives(Answer::new(200).wire(Wire::Stall(None))))
            .ends(Ends::Wrong(&["Timeout"])),
        bearer(pull("the token is called access_token")).with(on("", "/token").edits(|_, mut answer| {
            answer.body = String::from_utf8_lossy(&answer.body).replace("\"token\":", "\"x\":").into_bytes();
            answer
        })),
        bearer(pull("the token is past its time at once")).with(on("", "/token").edits(|_, mut answer| {
            answer.body = String::from_utf8_lossy(&answer.body).replace("300", "0").into_bytes();
            answer
        })),
        bearer(pull("the token is past its time, absurdly")).with(on("", "/token").edits(|_, mut answer| {
            answer.body = String::from_utf8_lossy(&answer.body).replace("300", "-1e300").into_bytes();
            answer
        }))
        .ends(Ends::Safely),
        bearer(pull("the token server moved to another host"))
            .with(on("", "/token").at(At::Registry).gives(Answer::new(307).header("Location", "http://{other}{target}")))
            .ends(Ends::Safely),
        bearer(pull("a realm at another host without TLS"))
            .with(on("", "/v2/").gives(realm("http://{elsewhere by name}/token")))
            .ends(Ends::Wrong(&["Insecure"])),
        bearer(pull("a realm at a port that nobody named"))
            .trusts_here_alone()
            .with(on("", "/v2/").gives(realm("http://{other}/token")))
            .ends(Ends::Wrong(&["Insecure"])),
        bearer(pull("a realm with user and password"))
            .with(on("", "/v2/").gives(realm("http://a:b@{here}/token")))
            .ends(Ends::Wrong(&["Insecure", "Protocol", "Refused", "Address"])),
        bearer(pull("a realm in a file"))
            .with(on("", "/v2/").gives(realm("file:///etc/passwd")))
            .ends(Ends::Wrong(&["Insecure", "Protocol", "Refused", "Address"])),
        bearer(pull("a realm without address")).with(on("", "/v2/").gives(realm(""))).ends(Ends::Wrong(&["Protocol", "Refused", "Address"])),
        bearer(pull("the token server drips"))
            .with(on("", "/token").edits(|_, answer| answer.wire(Wire::Drip(1, Duration::from_millis(5))))),
    ]
}
