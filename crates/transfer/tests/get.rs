//! Downloads, exactly: which parts are asked for, what is believed, what is in the sink at the end.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use common::script::{Reply, Script, kind, no_connection, reply, sent, silence, url};
use imgcore::{Digest, Hasher, NoProgress, Progress};
use transfer::{Anonymous, Error, Get, Got, Have, Sink};

const DATA: &[u8] = b"0123456789abcdefghij";

/// Remembers how often it began anew.
#[derive(Default)]
struct Paper {
    bytes: Vec<u8>,
    restarts: u32,
    validators: Vec<Option<String>>,
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Paper {
    fn restart(&mut self) -> io::Result<()> {
        self.restarts += 1;
        self.bytes.restart()
    }

    fn validator(&mut self, validator: Option<&str>) -> io::Result<()> {
        self.validators.push(validator.map(str::to_owned));
        Ok(())
    }
}

fn wanted(hosts: &[&str]) -> Get {
    Get {
        url: hosts.iter().map(|host| url(&format!("https://{host}.example/f"))).collect(),
        size: Some(DATA.len() as u64),
        digest: Some(Digest::of(DATA)),
        limit: 1000,
    }
}

fn part(from: usize, to: usize) -> Reply {
    reply(206)
        .with("content-range", format!("bytes {from}-{}/{}", to - 1, DATA.len()))
        .with("content-length", (to - from).to_string())
        .body(&DATA[from..to])
}

/// The whole, of which `came` bytes come.
fn cut(came: usize) -> Reply {
    reply(200).with("content-length", DATA.len().to_string()).body(&DATA[..came]).broken()
}

fn whole() -> Reply {
    reply(200).with("content-length", DATA.len().to_string()).body(DATA)
}

fn run(script: &Arc<Script>, get: &Get, have: Have, paper: &mut Paper) -> Result<Got, Error> {
    script.net().get(get, &Anonymous, have, paper, &NoProgress, "f")
}

/// What was asked for, as `host[range][ if validator]`.
fn asked(script: &Script) -> Vec<String> {
    let one = |request: &transfer::Request| {
        assert_eq!(sent(request, "accept-encoding"), Some("identity"));
        let host = request.url.host_str().unwrap().trim_end_matches(".example").to_owned();
        let range = sent(request, "range").map(|range| range.replace("bytes=", "")).unwrap_or_default();
        let bound = sent(request, "if-range").map(|bound| format!(" if {bound}")).unwrap_or_default();
        format!("{host}{range}{bound}")
    };
    script.heard().iter().map(one).collect()
}

#[test]
fn one_mirror() {
    let strong = |reply: Reply, tag: &str| reply.with("etag", format!("\"{tag}\""));
    let unknown = Get { size: None, digest: None, ..wanted(&["a"]) };
    let sized = Get { digest: None, ..wanted(&["a"]) };
    let proved = Get { size: None, ..wanted(&["a"]) };
    for (name, get, replies, expected, requests, restarts) in [
        ("whole", wanted(&["a"]), vec![whole()], "ok", vec!["a"], 0),
        ("chunked, of no announced size", wanted(&["a"]), vec![reply(200).body(DATA)], "ok", vec!["a"], 0),
        ("nothing known", unknown.clone(), vec![reply(200).body(DATA)], "ok", vec!["a"], 0),
        ("only the size known", sized.clone(), vec![whole()], "ok", vec!["a"], 0),
        ("only the digest known", proved.clone(), vec![reply(200).body(DATA)], "ok", vec!["a"], 0),
        (
            "identity is no encoding",
            wanted(&["a"]),
            vec![whole().with("content-encoding", "Identity")],
            "ok",
            vec!["a"],
            0,
        ),
        ("cut once", wanted(&["a"]), vec![cut(7), part(7, 20)], "ok", vec!["a", "a7-"], 0),
        ("cut before the first byte", wanted(&["a"]), vec![cut(0), whole()], "ok", vec!["a", "a"], 0),
        (
            "cut at the end",
            wanted(&["a"]),
            vec![reply(200).body(DATA).broken(), reply(416).with("content-range", "bytes */20")],
            "ok",
            vec!["a", "a20-"],
            0,
        ),
        (
            "ends early without an error",
            wanted(&["a"]),
            vec![reply(200).body(&DATA[..7]), part(7, 20)],
            "ok",
            vec!["a", "a7-"],
            0,
        ),
        (
            "cut four times",
            wanted(&["a"]),
            vec![
                cut(3),
                part(3, 20).body(&DATA[3..4]).broken(),
                part(4, 20).body("").broken(),
                no_connection(),
                part(4, 20),
            ],
            "ok",
            vec!["a", "a3-", "a4-", "a4-", "a4-"],
            0,
        ),
        (
            "cut too often",
            wanted(&["a"]),
            vec![cut(3), no_connection(), reply(503), reply(500), reply(429)],
            "GivenUp",
            vec!["a", "a3-", "a3-", "a3-", "a3-"],
            0,
        ),
        (
            "bound to its version",
            wanted(&["a"]),
            vec![strong(cut(7), "v"), strong(part(7, 20), "v")],
            "ok",
            vec!["a", "a7- if \"v\""],
            0,
        ),
        (
            "a weak tag binds nothing",
            wanted(&["a"]),
            vec![cut(7).with("etag", "W/\"v\""), part(7, 20)],
            "ok",
            vec!["a", "a7-"],
            0,
        ),
        ("nothing proves a second part", unknown.clone(), vec![cut(7), whole()], "ok", vec!["a", "a"], 1),
        (
            "a strong tag does",
            unknown.clone(),
            vec![strong(cut(7), "v"), strong(part(7, 20), "v")],
            "ok",
            vec!["a", "a7- if \"v\""],
            0,
        ),
        ("the range is ignored", wanted(&["a"]), vec![cut(7), whole()], "ok", vec!["a", "a7-"], 1),
        (
            "changed meanwhile, If-Range ignored",
            wanted(&["a"]),
            vec![strong(cut(7), "old"), strong(part(7, 20), "new"), strong(whole(), "new")],
            "ok",
            vec!["a", "a7- if \"old\"", "a"],
            1,
        ),
        (
            "another part than asked for",
            wanted(&["a"]),
            vec![cut(7), part(6, 20), whole()],
            "ok",
            vec!["a", "a7-", "a"],
            1,
        ),
        (
            "a part of another length than it says",
            wanted(&["a"]),
            vec![
                cut(7),
                reply(206).with("content-range", "bytes 7-19/20").with("content-length", "12").body(&DATA[7..19]),
                whole(),
            ],
            "ok",
            vec!["a", "a7-", "a"],
            1,
        ),
        ("a part that was not asked for", wanted(&["a"]), vec![part(3, 20)], "Protocol", vec!["a"], 0),
        ("the whole as a part", wanted(&["a"]), vec![part(0, 20)], "ok", vec!["a"], 0),
        (
            "a part without range",
            wanted(&["a"]),
            vec![cut(7), reply(206).body(&DATA[7..]), whole()],
            "ok",
            vec!["a", "a7-", "a"],
            1,
        ),
        (
            "fewer bytes than asked for",
            wanted(&["a"]),
            vec![cut(7), part(7, 12), part(12, 20)],
            "ok",
            vec!["a", "a7-", "a12-"],
            0,
        ),
        (
            "single bytes",
            wanted(&["a"]),
            vec![cut(7), part(7, 8), part(8, 9), part(9, 10), part(10, 11)],
            "Protocol",
            vec!["a", "a7-", "a8-", "a9-", "a10-"],
            0,
        ),
        (
            "a part of another whole",
            wanted(&["a"]),
            vec![cut(7), reply(206).with("content-range", "bytes 7-19/21").body(&DATA[7..])],
            "Size",
            vec!["a", "a7-"],
            0,
        ),
        ("416 where there is more", wanted(&["a"]), vec![cut(7), reply(416), whole()], "ok", vec!["a", "a7-", "a"], 1),
        (
            "the wrong size is announced",
            wanted(&["a"]),
            vec![reply(200).with("content-length", "21")],
            "Size",
            vec!["a"],
            0,
        ),
        ("longer than wanted", wanted(&["a"]), vec![reply(200).body([DATA, b"x"].concat())], "Size", vec!["a"], 1),
        ("longer than announced", unknown.clone(), vec![whole().body([DATA, b"x"].concat())], "Size", vec!["a"], 1),
        ("endless", unknown.clone(), vec![reply(200).body(vec![0; 1001])], "TooLarge", vec!["a"], 1),
        (
            "announced too large",
            unknown.clone(),
            vec![reply(200).with("content-length", "1001")],
            "TooLarge",
            vec!["a"],
            0,
        ),
        ("other bytes", wanted(&["a"]), vec![whole().body("0123456789abcdefghiJ")], "Digest", vec!["a"], 1),
        (
            "other bytes of no announced size may be cut ones",
            proved.clone(),
            vec![reply(200).body(&DATA[..9]), reply(200).body(DATA)],
            "ok",
            vec!["a", "a"],
            2,
        ),
        (
            "pieces that do not fit together",
            wanted(&["a"]),
            vec![cut(7), part(7, 20).body("XXXXXXXXXXXXX"), whole()],
            "ok",
            vec!["a", "a7-", "a"],
            2,
        ),
        ("packed", wanted(&["a"]), vec![whole().with("content-encoding", "gzip")], "Protocol", vec!["a"], 0),
        (
            "packed twice",
            wanted(&["a"]),
            vec![whole().with("content-encoding", "identity, br")],
            "Protocol",
            vec!["a"],
            0,
        ),
        ("nothing", wanted(&["a"]), vec![reply(204)], "Protocol", vec!["a"], 0),
        ("a redirect to nowhere", wanted(&["a"]), vec![reply(302)], "Status", vec!["a"], 0),
        ("not there", wanted(&["a"]), vec![reply(404)], "NotFound", vec!["a"], 0),
        ("not for us", wanted(&["a"]), vec![reply(403)], "Refused", vec!["a"], 0),
        ("too often", wanted(&["a"]), vec![reply(429).with("retry-after", "3600")], "RateLimited", vec!["a"], 0),
        ("silent", wanted(&["a"]), vec![silence(25), silence(25)], "GivenUp", vec!["a", "a"], 0),
        (
            "redirected",
            wanted(&["a"]),
            vec![reply(307).with("location", "https://b.example/f"), whole()],
            "ok",
            vec!["a", "b"],
            0,
        ),
        (
            "redirected again after a cut",
            wanted(&["a"]),
            vec![
                reply(307).with("location", "https://b.example/f"),
                cut(7),
                reply(307).with("location", "https://c.example/f"),
                part(7, 20),
            ],
            "ok",
            vec!["a", "b", "a7-", "c7-"],
            0,
        ),
    ] {
        let script = Script::new(replies);
        let mut paper = Paper::default();
        let result = run(&script, &get, Have::default(), &mut paper);
        let found = result.as_ref().map_or_else(kind, |_| "ok".to_owned());
        assert_eq!(found, expected, "{name}: {result:?}");
        assert_eq!(asked(&script), requests, "{name}");
        assert_eq!((script.left(), paper.restarts), (0, restarts), "{name}");
        match result {
            Ok(got) => {
                assert_eq!(paper.bytes, DATA, "{name}");
                assert_eq!((got.size, got.digest, got.mirror), (20, Digest::of(DATA), Some(0)), "{name}");
            }
            Err(_) => assert!(DATA.starts_with(&paper.bytes), "{name}: the sink holds {:?}", paper.bytes),
        }
    }
}

#[test]
fn several_mirrors() {
    let liar = || whole().body("0123456789abcdefghiJ");
    for (name, hosts, replies, expected, requests, pauses) in [
        ("the first works", 2, vec![whole()], "ok", vec!["a"], 0),
        ("the first is gone", 2, vec![reply(404), whole()], "ok", vec!["a", "b"], 0),
        ("the first lies", 2, vec![liar(), whole()], "ok", vec!["a", "b"], 0),
        (
            "the first announces a lie",
            2,
            vec![reply(200).with("content-length", "3"), whole()],
            "ok",
            vec!["a", "b"],
            0,
        ),
        ("the first is not reached", 2, vec![no_connection(), whole()], "ok", vec!["a", "b"], 0),
        ("the first is silent", 2, vec![silence(25), whole()], "ok", vec!["a", "b"], 0),
        ("the first breaks", 2, vec![cut(7), part(7, 20)], "ok", vec!["a", "b7-"], 0),
        (
            "the second has something else",
            3,
            vec![cut(7), part(7, 20).body("XXXXXXXXXXXXX"), whole()],
            "ok",
            vec!["a", "b7-", "c"],
            0,
        ),
        ("both are busy", 2, vec![reply(503), reply(503), whole()], "ok", vec!["a", "b", "a"], 1),
        ("both lie", 2, vec![liar(), liar()], "Digest", vec!["a", "b"], 0),
        ("gone and lie", 2, vec![reply(404), liar()], "Digest", vec!["a", "b"], 0),
        ("gone everywhere", 3, vec![reply(404), reply(410), reply(404)], "NotFound", vec!["a", "b", "c"], 0),
        ("refused and gone", 2, vec![reply(401), reply(404)], "Refused", vec!["a", "b"], 0),
        ("five tries in all", 2, vec![reply(503); 5], "GivenUp", vec!["a", "b", "a", "b", "a"], 2),
        ("more mirrors than tries", 7, vec![no_connection(); 7], "GivenUp", vec!["a", "b", "c", "d", "e", "f", "g"], 0),
    ] {
        let script = Script::new(replies);
        let mut paper = Paper::default();
        let get = wanted(&["a", "b", "c", "d", "e", "f", "g"][..hosts]);
        let result = run(&script, &get, Have::default(), &mut paper);
        assert_eq!(result.as_ref().map_or_else(kind, |_| "ok".to_owned()), expected, "{name}: {result:?}");
        assert_eq!(asked(&script), requests, "{name}");
        assert_eq!(script.clock.paused().len(), pauses, "{name}");
        if result.is_ok() {
            assert_eq!(paper.bytes, DATA, "{name}");
        }
    }
}

#[test]
fn a_validator_of_one_mirror_is_not_shown_to_another() {
    let script = Script::new([cut(7).with("etag", "\"v\""), part(7, 20)]);
    let mut paper = Paper::default();
    run(&script, &wanted(&["a", "b"]), Have::default(), &mut paper).unwrap();
    assert_eq!(asked(&script), ["a", "b7-"]);

    // Without a digest nothing says that two mirrors hold the same.
    let script = Script::new([cut(7).with("etag", "\"v\""), whole()]);
    let mut paper = Paper::default();
    run(&script, &Get { digest: None, ..wanted(&["a", "b"]) }, Have::default(), &mut paper).unwrap();
    assert_eq!((asked(&script), paper.bytes.as_slice()), (vec!["a".to_owned(), "b".to_owned()], DATA));
}

#[test]
fn an_earlier_run_is_continued_when_it_can_be_proved() {
    let have = |bytes: &[u8], validator: Option<&str>| {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        Have { offset: bytes.len() as u64, hasher, validator: validator.map(str::to_owned) }
    };
    let unproved = Get { digest: None, ..wanted(&["a"]) };
    let longer = [DATA, b"x"].concat();
    for (name, get, old, validator, replies, requests, restarts) in [
        ("the rest", wanted(&["a"]), &DATA[..7], None, vec![part(7, 20)], vec!["a7-"], 0),
        ("all is there", wanted(&["a"]), DATA, None, vec![], vec![], 0),
        ("all is there and wrong", wanted(&["a"]), b"XXXXXXXXXXXXXXXXXXXX", None, vec![whole()], vec!["a"], 2),
        ("more than all", wanted(&["a"]), &longer[..], None, vec![whole()], vec!["a"], 1),
        ("wrong bytes", wanted(&["a"]), b"XXXXXXX", None, vec![part(7, 20), whole()], vec!["a7-", "a"], 2),
        ("no proof", unproved.clone(), &DATA[..7], None, vec![whole()], vec!["a"], 1),
        (
            "a validator",
            unproved.clone(),
            &DATA[..7],
            Some("\"v\""),
            vec![part(7, 20).with("etag", "\"v\"")],
            vec!["a7- if \"v\""],
            0,
        ),
        (
            "a part without the validator",
            unproved.clone(),
            &DATA[..7],
            Some("\"v\""),
            vec![part(7, 20), whole()],
            vec!["a7- if \"v\"", "a"],
            1,
        ),
        ("an old validator", unproved.clone(), &DATA[..7], Some("\"v\""), vec![whole()], vec!["a7- if \"v\""], 1),
        (
            "all is there, says the server",
            Get { size: None, ..wanted(&["a"]) },
            DATA,
            None,
            vec![reply(416).with("content-range", "bytes */20")],
            vec!["a20-"],
            0,
        ),
        (
            "less is there, says the server",
            Get { size: None, ..wanted(&["a"]) },
            &longer[..],
            None,
            vec![reply(416).with("content-range", "bytes */20"), whole()],
            vec!["a21-", "a"],
            1,
        ),
    ] {
        let script = Script::new(replies);
        let mut paper = Paper { bytes: old.to_vec(), ..Paper::default() };
        let got = run(&script, &get, have(old, validator), &mut paper);
        assert_eq!(got.map(|got| got.digest).map_err(|error| error.to_string()), Ok(Digest::of(DATA)), "{name}");
        assert_eq!(
            (asked(&script), paper.bytes.as_slice()),
            (requests.iter().map(|s| (*s).to_owned()).collect(), DATA),
            "{name}"
        );
        assert_eq!(paper.restarts, restarts, "{name}");
    }
}

#[test]
fn the_sink_hears_what_names_the_version() {
    let script = Script::new([cut(7).with("etag", "\"v\""), part(7, 20).with("etag", "\"v\"")]);
    let mut paper = Paper::default();
    let got = run(&script, &wanted(&["a"]), Have::default(), &mut paper).unwrap();
    assert_eq!(paper.validators, [Some("\"v\"".to_owned()), Some("\"v\"".to_owned())]);
    assert_eq!((got.etag.as_deref(), got.requests), (Some("\"v\""), 2));
}

/// Sums what it hears, and stops after some bytes.
#[derive(Default)]
struct Bar {
    heard: Mutex<Vec<u64>>,
    stop_after: Option<u64>,
}

impl Progress for Bar {
    fn start(&self, _: &str, _: Option<u64>) {}

    fn advance(&self, _: &str, bytes: u64) {
        self.heard.lock().unwrap().push(bytes);
    }

    fn finish(&self, _: &str) {}

    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|most| self.heard.lock().unwrap().iter().sum::<u64>() >= most)
    }
}

#[test]
fn progress_counts_each_byte_once_and_can_stop() {
    let bar = Bar::default();
    let script = Script::new([cut(7), whole()]);
    script.net().get(&wanted(&["a"]), &Anonymous, Have::default(), &mut Vec::new(), &bar, "f").unwrap();
    assert_eq!(bar.heard.into_inner().unwrap(), [7, 13]);

    let bar = Bar { stop_after: Some(7), ..Bar::default() };
    let script = Script::new([cut(7)]);
    let error = script.net().get(&wanted(&["a"]), &Anonymous, Have::default(), &mut Vec::new(), &bar, "f").unwrap_err();
    assert!(error.is_cancelled());
}

/// A full disk.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Full {
    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_it_at_once() {
    let script = Script::new([whole()]);
    let get = wanted(&["a", "b"]);
    let error = script.net().get(&get, &Anonymous, Have::default(), &mut Full, &NoProgress, "f").unwrap_err();
    assert_eq!(kind(&error), "Io");
}

#[test]
fn impossible_wishes_ask_nobody() {
    for (get, expected) in [
        (Get { limit: 19, ..wanted(&["a"]) }, "TooLarge"),
        (wanted(&[]), "Address"),
        (Get { url: vec![url("https://u:p@a.example/")], ..wanted(&[]) }, "Address"),
    ] {
        let script = Script::new([]);
        let error = run(&script, &get, Have::default(), &mut Paper::default()).unwrap_err();
        assert_eq!(kind(&error), expected, "{error}");
        assert!(!error.to_string().contains("u:p"));
    }
}
