//! One request until its final answer, exactly: what is sent, to whom, after which pauses.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::script::{Reply, Script, kind, no_connection, reply, sent, silence, url};
use imgcore::Blob;
use transfer::{Access, Anonymous, Body, Error, ErrorKind, HeaderValue, Method, Request, Response, check, header};

fn outcome(result: Result<Response, Error>) -> String {
    match result {
        Ok(response) => response.status.as_u16().to_string(),
        Err(error) => kind(&error),
    }
}

#[test]
fn what_is_tried_again_and_when() {
    use Method as M;
    let busy = || reply(503);
    // Jitter is half of: 500 ms, 1 s, 2 s, 4 s.
    for (name, method, replies, expected, pauses) in [
        ("done", M::GET, vec![reply(200)], "200", vec![]),
        ("not found is an answer", M::GET, vec![reply(404)], "404", vec![]),
        ("one hiccup", M::GET, vec![busy(), reply(200)], "200", vec![250]),
        ("five tries", M::GET, vec![busy(), busy(), busy(), busy(), busy()], "503", vec![250, 500, 1000, 2000]),
        ("408", M::GET, vec![reply(408), reply(200)], "200", vec![250]),
        ("425", M::GET, vec![reply(425), reply(200)], "200", vec![250]),
        ("500, 502, 504", M::GET, vec![reply(500), reply(502), reply(504), reply(200)], "200", vec![250, 500, 1000]),
        ("501 stays", M::GET, vec![reply(501)], "501", vec![]),
        ("505 stays", M::GET, vec![reply(505)], "505", vec![]),
        ("connection", M::HEAD, vec![no_connection(), reply(200)], "200", vec![250]),
        ("no connection", M::GET, vec![no_connection(); 5], "GivenUp", vec![250, 500, 1000, 2000]),
        ("one long silence", M::GET, vec![silence(25), reply(200)], "200", vec![250]),
        ("two long silences fill a minute", M::GET, vec![silence(25), silence(25)], "GivenUp", vec![250]),
        ("one very long silence", M::GET, vec![silence(31)], "Timeout", vec![]),
        ("slow refusals", M::GET, vec![busy().after(25), busy().after(25)], "503", vec![250]),
        ("seconds", M::GET, vec![reply(429).with("retry-after", "7"), reply(200)], "200", vec![7_250]),
        ("ten minutes", M::GET, vec![reply(429).with("retry-after", "600"), reply(200)], "200", vec![600_250]),
        ("more than ten minutes", M::GET, vec![reply(429).with("retry-after", "601")], "429", vec![]),
        ("absurd", M::GET, vec![reply(429).with("retry-after", "9".repeat(30))], "429", vec![]),
        ("no time", M::GET, vec![reply(429).with("retry-after", "soon"), reply(200)], "200", vec![250]),
        (
            "a date",
            M::GET,
            vec![reply(503).with("retry-after", "Sun, 22 Nov 2026 00:00:09 GMT"), reply(200)],
            "200",
            vec![9_250],
        ),
        (
            "a date of the server's clock",
            M::GET,
            vec![
                reply(503)
                    .with("retry-after", "Mon, 01 Jan 2001 00:00:03 GMT")
                    .with("date", "Mon, 01 Jan 2001 00:00:00 GMT"),
                reply(200),
            ],
            "200",
            vec![3_250],
        ),
        (
            "a date that is over",
            M::GET,
            vec![reply(503).with("retry-after", "Mon, 01 Jan 2001 00:00:00 GMT"), reply(200)],
            "200",
            vec![250],
        ),
        (
            "a date in a year",
            M::GET,
            vec![reply(503).with("retry-after", "Mon, 22 Nov 2027 00:00:00 GMT")],
            "503",
            vec![],
        ),
        ("PUT of few bytes", M::PUT, vec![no_connection(), busy(), reply(201)], "201", vec![250, 500]),
        ("POST of few bytes", M::POST, vec![no_connection(), reply(202)], "202", vec![250]),
        ("PATCH is not repeated", M::PATCH, vec![busy()], "503", vec![]),
        ("PATCH, no connection", M::PATCH, vec![no_connection()], "Connect", vec![]),
        ("PATCH, not yet", M::PATCH, vec![reply(429), reply(202)], "202", vec![250]),
    ] {
        let script = Script::new(replies);
        let body = if method == M::PUT || method == M::POST { Body::Bytes(vec![1]) } else { Body::Empty };
        let request = Request::new(method, url("https://a.example/x?secret=1")).body(body);
        assert_eq!(outcome(script.net().exchange(request, &Anonymous)), expected, "{name}");
        assert_eq!(script.clock.paused(), pauses, "{name}");
        assert_eq!(script.left(), 0, "{name}");
        for (_, why) in script.clock.pauses.lock().unwrap().iter() {
            assert!(why.starts_with("a.example: ") && !why.contains("secret"), "{name}: {why}");
        }
    }
}

#[test]
fn a_streamed_body_is_not_repeated_after_a_failure() {
    for (replies, expected) in [
        (vec![reply(500)], "500"),
        (vec![no_connection()], "Connect"),
        (vec![reply(429).with("retry-after", "1"), reply(201)], "201"),
        // Sending may take long.
        (vec![reply(429).after(3600), reply(201).after(3600)], "201"),
    ] {
        let script = Script::new(replies);
        let body = Body::Blob(Blob::from_bytes("layer", vec![0; 10]));
        let request = Request::new(Method::PUT, url("https://a.example/")).body(body);
        assert_eq!(outcome(script.net().exchange(request, &Anonymous)), expected);
        assert_eq!(script.left(), 0);
    }
}

#[test]
fn the_user_hears_why_it_waits() {
    let script = Script::new([reply(503), no_connection(), reply(200)]);
    script.net().exchange(Request::new(Method::GET, url("https://a.example:8443/x")), &Anonymous).unwrap();
    let told: Vec<_> = script.clock.pauses.lock().unwrap().iter().map(|(_, why)| why.clone()).collect();
    assert_eq!(told, ["a.example:8443: status 503; try 2 of 5", "a.example: no connection: refused; try 3 of 5"]);
}

fn to(location: &str) -> Reply {
    reply(307).with("location", location)
}

#[test]
fn where_a_redirect_may_lead() {
    let circle = || vec![to("/b"), to("/a")];
    let long = |count: usize| (0..count).map(|step| to(&format!("/{step}"))).collect::<Vec<_>>();
    let then = |mut replies: Vec<Reply>| {
        replies.push(reply(200));
        replies
    };
    for (name, from, replies, expected, last) in [
        (
            "absolute",
            "https://a.example/a",
            then(vec![to("https://b.example/x?y=z")]),
            "200",
            "https://b.example/x?y=z",
        ),
        ("relative to the root", "https://a.example/v2/a", then(vec![to("/b")]), "200", "https://a.example/b"),
        ("relative", "https://a.example/v2/a", then(vec![to("b?c")]), "200", "https://a.example/v2/b?c"),
        (
            "other host, same scheme",
            "https://a.example/v2/a",
            then(vec![to("//b.example/x")]),
            "200",
            "https://b.example/x",
        ),
        ("without its fragment", "https://a.example/a", then(vec![to("/b#c")]), "200", "https://a.example/b"),
        ("301", "https://a.example/a", then(vec![reply(301).with("location", "/b")]), "200", "https://a.example/b"),
        ("302", "https://a.example/a", then(vec![reply(302).with("location", "/b")]), "200", "https://a.example/b"),
        ("303", "https://a.example/a", then(vec![reply(303).with("location", "/b")]), "200", "https://a.example/b"),
        ("308", "https://a.example/a", then(vec![reply(308).with("location", "/b")]), "200", "https://a.example/b"),
        (
            "300 is an answer",
            "https://a.example/a",
            vec![reply(300).with("location", "/b")],
            "300",
            "https://a.example/a",
        ),
        (
            "304 is an answer",
            "https://a.example/a",
            vec![reply(304).with("location", "/b")],
            "304",
            "https://a.example/a",
        ),
        ("no location", "https://a.example/a", vec![reply(302)], "302", "https://a.example/a"),
        ("ten", "https://a.example/a", then(long(10)), "200", "https://a.example/9"),
        ("eleven", "https://a.example/a", long(11), "Protocol", "https://a.example/9"),
        ("circle", "https://a.example/a", circle(), "Protocol", "https://a.example/b"),
        ("to itself", "https://a.example/a", vec![to("/a")], "Protocol", "https://a.example/a"),
        ("to itself by fragment", "https://a.example/a", vec![to("#x")], "Protocol", "https://a.example/a"),
        ("off TLS", "https://a.example/a", vec![to("http://a.example/a")], "Insecure", "https://a.example/a"),
        (
            "off TLS at another port",
            "https://a.example/a",
            vec![to("http://b.example:443/")],
            "Insecure",
            "https://a.example/a",
        ),
        (
            "off TLS where it is allowed",
            "https://a.example/a",
            then(vec![to("http://plain.example/")]),
            "200",
            "http://plain.example/",
        ),
        (
            "onto TLS",
            "http://plain.example/a",
            then(vec![to("https://plain.example/a")]),
            "200",
            "https://plain.example/a",
        ),
        ("with a user", "https://a.example/a", vec![to("https://u:p@b.example/")], "Address", "https://a.example/a"),
        ("to a file", "https://a.example/a", vec![to("file:///etc/passwd")], "Address", "https://a.example/a"),
        ("to data", "https://a.example/a", vec![to("data:text/plain,x")], "Address", "https://a.example/a"),
        ("to ftp", "https://a.example/a", vec![to("ftp://a.example/a")], "Address", "https://a.example/a"),
        ("to nowhere", "https://a.example/a", vec![to("https://")], "Address", "https://a.example/a"),
        (
            "to a port that is none",
            "https://a.example/a",
            vec![to("https://b:99999/")],
            "Address",
            "https://a.example/a",
        ),
    ] {
        let script = Script::new(replies);
        let result = script.net().exchange(Request::new(Method::GET, url(from)), &Anonymous);
        if let Ok(response) = &result {
            assert_eq!(response.trail.url.as_ref().unwrap().as_str(), last, "{name}");
        }
        assert_eq!(outcome(result), expected, "{name}");
        assert_eq!(script.heard().last().unwrap().url.as_str(), last, "{name}");
        assert_eq!(script.left(), 0, "{name}");
    }
}

#[test]
fn other_methods_give_the_redirect_back() {
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let script = Script::new([to("/elsewhere")]);
        let result = script.net().exchange(Request::new(method, url("https://a.example/a")), &Anonymous);
        let error = check(result.unwrap(), &url("https://a.example/a")).unwrap_err();
        assert_eq!(error.to_string(), "https://a.example/a: status 307: leads to https://a.example/elsewhere");
    }
}

/// Adds the same token to everything it is asked about, and learns another one when that is refused.
#[derive(Default)]
struct Careless(AtomicU32);

impl Access for Careless {
    fn authorise(&self, request: &mut Request) -> Result<(), Error> {
        let value = format!("Bearer canary-{}", self.0.load(Ordering::Relaxed));
        request.headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
        Ok(())
    }

    fn refused(&self, request: &Request, _: &Response) -> Result<bool, Error> {
        assert!(request.headers.contains_key(header::AUTHORIZATION));
        Ok(self.0.fetch_add(1, Ordering::Relaxed) < 100)
    }
}

#[test]
fn credentials_stay_at_the_first_scheme_host_and_port() {
    for (next, with_credentials) in [
        ("/other", true),
        ("https://A.example:443/other", true),
        ("https://a.example:8443/", false),
        ("https://b.example/", false),
        ("https://a.example.b.example/", false),
        ("https://sub.a.example/", false),
    ] {
        let script = Script::new([to(next), reply(200)]);
        let mut own = HeaderValue::from_static("canary-own");
        own.set_sensitive(true);
        let request = Request::new(Method::GET, url("https://a.example/a"))
            .header(header::ACCEPT, HeaderValue::from_static("x/y"))
            .header(header::HeaderName::from_static("x-job-token"), own)
            .header(header::COOKIE, HeaderValue::from_static("canary-cookie"));
        let response = script.net().exchange(request, &Careless::default()).unwrap();
        let second = &script.heard()[1];
        let canaries =
            format!("{:?}", second.headers.values().map(|value| value.to_str().unwrap()).collect::<Vec<_>>());
        assert_eq!(canaries.matches("canary").count(), if with_credentials { 3 } else { 0 }, "{next}: {canaries}");
        assert_eq!(sent(second, "accept"), Some("x/y"));
        assert_eq!(response.trail.with_credentials(), with_credentials);
    }
}

#[test]
fn after_a_refusal_a_better_credential_is_sent_and_no_loop_begins() {
    let script = Script::new([reply(401), reply(200)]);
    let request = || Request::new(Method::PUT, url("https://a.example/a")).body(Body::Bytes(b"x".to_vec()));
    assert_eq!(outcome(script.net().exchange(request(), &Careless::default())), "200");
    let tokens: Vec<_> =
        script.heard().iter().map(|request| sent(request, "authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer canary-0", "Bearer canary-1"]);

    let script = Script::new(vec![reply(401); 4]);
    assert_eq!(outcome(script.net().exchange(request(), &Careless::default())), "401");
    assert_eq!(script.left(), 0);

    let script = Script::new([reply(401)]);
    let error = check(script.net().exchange(request(), &Anonymous).unwrap(), &url("https://a.example/a")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Refused { status: 401, with_credentials: false, .. }));

    let script = Script::new([reply(401).after(3600), reply(201)]);
    let request = Request::new(Method::PUT, url("https://a.example/a")).body(Body::Blob(Blob::from_bytes("b", "b")));
    assert_eq!(outcome(script.net().exchange(request, &Careless::default())), "201");

    // Another host asks for credentials: it gets none.
    let script = Script::new([to("https://b.example/"), reply(401)]);
    let request = Request::new(Method::GET, url("https://a.example/a"));
    assert_eq!(outcome(script.net().exchange(request, &Careless::default())), "401");
    assert_eq!(sent(&script.heard()[1], "authorization"), None);
}

#[test]
fn refusals_say_what_the_server_says_and_no_secret() {
    let answer = |reply: Reply| {
        let script = Script::new(vec![reply; 4]);
        let url = url("https://a.example/v2/x?sig=canary");
        let request = Request::new(Method::GET, url.clone());
        let result = script.net().once(&request, &Careless::default()).and_then(|answer| check(answer, &url));
        result.err().map(|error| format!("{}: {error}", kind(&error)))
    };
    let denied = r#"{"errors":[{"code":"DENIED","message":"no: canary-0\u001b[31m\nmore"}]}"#;
    for (reply, expected) in [
        (reply(200), None),
        (reply(206), None),
        (reply(401), Some("Refused: a.example: 401: access refused")),
        (reply(403).body(denied), Some("Refused: a.example: 403: access refused: no: …[31m")),
        (
            reply(403).with("x-ratelimit-remaining", "0").with("x-ratelimit-limit", "60").body("wait"),
            Some("RateLimited: a.example: too many requests: wait"),
        ),
        (reply(403).with("x-ratelimit-remaining", "1"), Some("Refused: a.example: 403: access refused")),
        (
            reply(429).with("ratelimit-remaining", "0;w=21600").with("ratelimit-limit", "100;w=21600"),
            Some("RateLimited: a.example: too many requests: 0 of 100 requests left, in each 6 h"),
        ),
        (reply(404).body("<html><title>Nope"), Some("NotFound: https://a.example/v2/x: not found")),
        (reply(410).body("gone\n"), Some("NotFound: https://a.example/v2/x: not found: gone")),
        (reply(429).body("slow down"), Some("RateLimited: a.example: too many requests: slow down")),
        (reply(418), Some("Status: https://a.example/v2/x: status 418")),
        (
            reply(503).with("retry-after", "9000").body("later"),
            Some("Status: https://a.example/v2/x: status 503: later; asks to come again in 9000 s"),
        ),
        (reply(502).body("cut").broken(), Some("Status: https://a.example/v2/x: status 502: cut")),
    ] {
        assert_eq!(answer(reply).as_deref(), expected);
    }
}

#[test]
fn addresses_with_users_and_of_other_schemes_are_not_asked() {
    for text in ["https://u:p@a.example/", "ftp://a.example/", "file:///x", "data:,x"] {
        let script = Script::new([]);
        let error = script.net().exchange(Request::new(Method::GET, url(text)), &Anonymous).unwrap_err();
        assert_eq!(kind(&error), "Address");
        assert!(!error.to_string().contains("p@"), "{error}");
    }
}
