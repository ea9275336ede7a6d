//! Whole operations over a scripted connection.

use std::sync::Arc;

use imgcore::{Blob, Digest, NoProgress, Progress};
use transfer::{Have, Method, Secret};

use super::{Answer, Only, Rig, Seen, rig, status, with};
use crate::{
    Descriptor, Document, Error, media,
    registry::{Credential, NoCredentials, Options, Reference, Repository, Session, Uploaded},
};

const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn repository() -> Repository {
    "h.io/a/b".parse().unwrap()
}

fn kind(outcome: &Result<impl std::fmt::Debug, Error>) -> String {
    let error = outcome.as_ref().expect_err("an error");
    format!("{:?}", error.transfer().expect("a transfer").kind())
}

fn plain(serve: impl FnMut(&Seen) -> Answer + Send + 'static) -> Rig {
    rig(NoCredentials, Options::default(), serve)
}

fn found(headers: &[(&'static str, &str)]) -> Answer {
    let mut answer = with(200, &[("content-type", media::INDEX)], INDEX);
    for (name, value) in headers {
        answer.1.retain(|(other, _)| other != name);
        answer.1.push((*name, (*value).to_owned()));
    }
    answer
}

#[test]
fn a_tag_is_asked_for_before_it_is_read() {
    let digest = Digest::of(INDEX.as_bytes()).to_string();
    let said = digest.clone();
    let rig = plain(move |seen: &Seen| {
        assert!(seen.header("accept").unwrap().contains(media::INDEX));
        found(&[("docker-content-digest", &said), ("content-length", "34"), ("ratelimit-remaining", "7;w=60")])
    });
    let document = rig.client.manifest(&reference("h.io/a/b:v1")).unwrap();
    assert_eq!((document.media_type.as_str(), document.bytes.as_slice()), (media::INDEX, INDEX.as_bytes()));
    let head = rig.client.head(&reference("h.io/a/b:v1")).unwrap();
    assert_eq!((head.digest, head.size), (document.digest, 34));
    assert_eq!(
        rig.server.lines(),
        [
            "HEAD https://h.io/v2/a/b/manifests/v1".to_owned(),
            format!("GET https://h.io/v2/a/b/manifests/{digest}"),
            "HEAD https://h.io/v2/a/b/manifests/v1".to_owned(),
        ]
    );
    assert_eq!(rig.client.rate_limit().map(|rate| rate.remaining), Some(7));
}

#[test]
fn a_registry_without_head_is_read_all_the_same() {
    for refused in [404, 405, 400, 501, 200, 204] {
        let rig = plain(move |seen: &Seen| if seen.method == Method::HEAD { status(refused) } else { found(&[]) });
        let digest = rig.client.manifest(&reference("h.io/a/b:v1")).map(|document| document.digest);
        assert_eq!(digest.ok(), Some(Digest::of(INDEX.as_bytes())), "{refused}");
        let head = rig.client.head(&reference("h.io/a/b:v1")).unwrap();
        assert_eq!((head.size, head.media_type.as_str()), (34, media::INDEX));
        assert_eq!(rig.client.tag_digest(&reference("h.io/a/b:v1")).ok().flatten(), Some(head.digest));
    }
    // The digest that it names is not there, but the tag is.
    let rig = plain(|seen: &Seen| match (&seen.method, seen.url.path()) {
        (&Method::HEAD, _) => found(&[("docker-content-digest", &Digest::of(b"other").to_string())]),
        (_, path) if path.contains("sha256") => status(404),
        _ => found(&[]),
    });
    assert!(rig.client.manifest(&reference("h.io/a/b:v1")).is_ok());
    let gone =
        plain(|_: &Seen| with(404, &[], r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#));
    let outcome = gone.client.manifest(&reference("h.io/a/b:v1"));
    assert!(kind(&outcome).starts_with("NotFound"));
    let message = outcome.unwrap_err().to_string();
    assert!(message.starts_with("reading h.io/a/b:v1: ") && message.contains("no such repository"), "{message}");
    assert_eq!(gone.client.tag_digest(&reference("h.io/a/b:v1")).unwrap(), None);
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let other = Digest::of(b"other").to_string();
    for (headers, body, expected) in [
        (vec![("docker-content-digest", other.as_str())], INDEX, "Digest"),
        (vec![("content-length", "33")], INDEX, "Size"),
        (vec![("content-length", "104857601")], INDEX, "TooLarge"),
        (vec![("content-encoding", "gzip")], INDEX, "Protocol"),
        (vec![("content-type", media::MANIFEST)], INDEX, "Protocol"),
        (vec![], "<html>", "Protocol"),
        (vec![], r#"{"manifests":[],"layers":[]}"#, "Protocol"),
        (vec![], r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#, "Protocol"),
        (vec![], r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#, "Protocol"),
    ] {
        let (headers, body): (Vec<_>, _) =
            (headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect(), body.to_owned());
        let rig = plain(move |seen: &Seen| {
            if seen.method == Method::HEAD {
                return status(405);
            }
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut answer = found(&headers);
            answer.2 = body.clone().into_bytes();
            answer
        });
        let outcome = rig.client.manifest(&reference("h.io/a/b:v1"));
        assert!(kind(&outcome).starts_with(expected), "{expected}: {outcome:?}");
    }
    // Asked by digest, and the right answer to another question.
    let rig = plain(|_: &Seen| found(&[]));
    let outcome = rig.client.manifest(&repository().with_digest(Digest::of(b"x")));
    assert!(kind(&outcome).starts_with("Digest"), "{outcome:?}");
    // A header by another algorithm proves nothing.
    let rig = plain(|_: &Seen| found(&[("docker-content-digest", "sha512:00"), ("content-type", "text/plain")]));
    let document = rig.client.manifest(&repository().with_digest(Digest::of(INDEX.as_bytes()))).unwrap();
    assert_eq!(document.media_type, media::INDEX);
}

#[test]
fn documents_that_would_fill_the_memory_are_refused() {
    let digest = Digest::of(INDEX.as_bytes());
    for (size, expected) in [(34, None), (33, Some("TooLarge")), (35, Some("Size"))] {
        let rig = plain(|_: &Seen| found(&[]));
        let outcome = rig.client.child(&repository(), &Descriptor::new(media::INDEX, digest, size));
        assert_eq!(outcome.is_ok(), expected.is_none(), "{size}");
        assert!(expected.is_none_or(|expected| kind(&outcome).starts_with(expected)), "{outcome:?}");
    }
    let root = |entries: &[(Digest, u64)]| {
        let entry = |(digest, size): &(Digest, u64)| format!(r#"{{"digest":"{digest}","size":{size}}}"#);
        let entries: Vec<_> = entries.iter().map(entry).collect();
        let bytes = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")).into_bytes();
        Document { media_type: media::INDEX.to_owned(), digest: Digest::of(&bytes), bytes }
    };
    let follow = |root: Document| {
        let fetch = &mut |entry: &Descriptor| {
            let mut bytes = INDEX.as_bytes().to_vec();
            bytes.resize(usize::try_from(entry.size).unwrap(), b' ');
            Ok(Document { media_type: media::INDEX.to_owned(), digest: entry.digest, bytes })
        };
        crate::Contents::follow(root, &[], fetch).map_err(|error| error.to_string())
    };
    let mib = 1 << 20;
    let entries = |count: u8, size| (0..count).map(|number| (Digest::of(&[number]), size)).collect::<Vec<_>>();
    assert!(follow(root(&entries(3, 8 * mib))).is_ok());
    assert!(follow(root(&entries(1, 8 * mib + 1))).unwrap_err().contains("of one document"));
    assert!(follow(root(&entries(4, 8 * mib))).unwrap_err().contains("documents of the image"));
    let many = |count| {
        let list = vec![r#"{"digest":"","size":0}"#; count].join(",");
        let bytes = format!(r#"{{"manifests":[{list}]}}"#).into_bytes();
        follow(Document { media_type: media::INDEX.to_owned(), digest: Digest::of(&bytes), bytes }).unwrap_err()
    };
    assert!(many(65_537).contains("at most 65536 descriptors"), "{}", many(65_537));
    assert!(many(65_536).contains("refers to"), "{}", many(65_536));
}

#[test]
fn a_mirror_that_fails_or_lies_is_followed_by_the_registry() {
    let options = || Options { mirrors: vec![("h.io".to_owned(), "m.io".to_owned())], ..Options::default() };
    let bad: Vec<fn() -> Answer> = vec![|| status(404), || status(403), || status(0), || {
        with(200, &[("content-type", media::INDEX)], r#"{"manifests":[],"x":1}"#)
    }];
    for bad in bad {
        let rig = rig(
            NoCredentials,
            options(),
            move |seen: &Seen| {
                if seen.url.host_str() == Some("m.io") { bad() } else { found(&[]) }
            },
        );
        let wanted = repository().with_digest(Digest::of(INDEX.as_bytes()));
        assert!(rig.client.manifest(&wanted).is_ok());
        let descriptor = Descriptor::new("x", Digest::of(INDEX.as_bytes()), 34);
        let mut bytes = Vec::new();
        rig.client.blob(&repository(), &descriptor, Have::default(), &mut bytes, &NoProgress).unwrap();
        assert_eq!(bytes, INDEX.as_bytes());
    }
    // Nothing but the mirror can be reached: its own reason counts.
    let alone = rig(NoCredentials, options(), |seen: &Seen| {
        if seen.url.host_str() == Some("m.io") { with(404, &[], "not mirrored") } else { status(0) }
    });
    let outcome = alone.client.manifest(&repository().with_digest(Digest::of(b"x")));
    assert!(kind(&outcome).contains("m.io") && kind(&outcome).contains("not mirrored"), "{outcome:?}");
    // A push does not go to a mirror.
    let push = rig(NoCredentials, options(), |seen: &Seen| {
        assert_eq!(seen.url.host_str(), Some("h.io"));
        status(404)
    });
    assert!(!push.client.has_blob(&repository(), &Digest::of(b"x")).unwrap());
    assert_eq!(push.client.tag_digest(&reference("h.io/a/b:v1")).unwrap(), None);
}

#[test]
fn whether_a_blob_is_there() {
    for (answer, expected) in [
        (status(200), Some(true)),
        (status(404), Some(false)),
        (status(405), Some(false)),
        (with(307, &[("location", "https://cdn.io/signed-for-get")], ""), Some(true)),
        (status(403), None),
        (status(401), None),
    ] {
        let given = answer.clone();
        let rig =
            plain(move |seen: &Seen| if seen.url.host_str() == Some("h.io") { answer.clone() } else { status(403) });
        assert_eq!(rig.client.has_blob(&repository(), &Digest::of(b"x")).ok(), expected, "{given:?}");
    }
}

fn document() -> Document {
    Document {
        media_type: media::INDEX.to_owned(),
        digest: Digest::of(INDEX.as_bytes()),
        bytes: INDEX.as_bytes().to_vec(),
    }
}

#[test]
fn a_manifest_is_put_byte_for_byte() {
    let digest = document().digest.to_string();
    for (answer, expected) in [
        (with(201, &[("docker-content-digest", &digest)], ""), "ok"),
        (status(201), "ok"),
        (status(200), "ok"),
        (status(202), "ok"),
        (status(204), "ok"),
        (with(201, &[("docker-content-digest", &Digest::of(b"x").to_string())], ""), "Digest"),
        (with(400, &[], r#"{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}"#), "Status"),
        (status(413), "Status"),
    ] {
        let rig = plain(move |seen: &Seen| {
            assert_eq!((seen.header("content-type"), seen.body.as_slice()), (Some(media::INDEX), INDEX.as_bytes()));
            assert_eq!(seen.line(), "PUT https://h.io/v2/a/b/manifests/v1");
            answer.clone()
        });
        let outcome = rig.client.put_manifest(&reference("h.io/a/b:v1"), &document());
        let seen = if outcome.is_ok() { "ok".to_owned() } else { kind(&outcome) };
        assert!(seen.starts_with(expected), "{expected}: {seen}");
    }
    let rig = plain(|seen: &Seen| {
        assert!(seen.url.path().ends_with(&Digest::of(INDEX.as_bytes()).to_string()));
        status(201)
    });
    rig.client.put_manifest(&repository().with_digest(document().digest), &document()).unwrap();
    let outcome = rig.client.put_manifest(&repository().with_digest(Digest::of(b"x")), &document());
    assert!(kind(&outcome).starts_with("Digest"));
}

/// A registry that holds one session, looks at ranges, and plays tricks first.
fn sessions(
    mut tricks: impl FnMut(&Seen, &mut Vec<u8>) -> Option<Answer> + Send + 'static,
) -> impl FnMut(&Seen) -> Answer + Send {
    let mut held = Vec::new();
    move |seen: &Seen| {
        if let Some(answer) = tricks(seen, &mut held) {
            return answer;
        }
        match seen.method.as_str() {
            "POST" => {
                held.clear();
                with(202, &[("location", "/u")], "")
            }
            "PATCH" => {
                let from: usize = seen.header("content-range").unwrap().split('-').next().unwrap().parse().unwrap();
                if from != held.len() {
                    return status(416);
                }
                held.extend_from_slice(&seen.body);
                with(202, &[("location", "/u"), ("range", &format!("0-{}", held.len() - 1))], "")
            }
            "GET" => with(204, &[("range", &format!("0-{}", held.len().max(1) - 1))], ""),
            "PUT" => {
                held.extend_from_slice(&seen.body);
                let whole = seen.url.query().unwrap().ends_with(&format!("digest={}", Digest::of(&held)));
                status(if whole { 201 } else { 400 })
            }
            "DELETE" => status(204),
            other => panic!("{other}"),
        }
    }
}

#[derive(Debug)]
struct Sent {
    outcome: Result<Uploaded, Error>,
    sessions: Vec<Option<u64>>,
    lines: Vec<String>,
    rig: Rig,
}

fn send(resume: Option<&Session>, tricks: impl FnMut(&Seen, &mut Vec<u8>) -> Option<Answer> + Send + 'static) -> Sent {
    let options = Options { piece: Some(10), ..Options::default() };
    let rig = rig(NoCredentials, options, sessions(tricks));
    let blob = Blob::from_bytes("blob", (0..25).collect::<Vec<u8>>());
    let mut sessions = Vec::new();
    let mut heard = |session: Option<&Session>| sessions.push(session.map(|session| session.committed));
    let outcome = rig.client.upload(&repository(), &blob, None, resume, &mut heard, &NoProgress);
    let lines = rig.server.lines().iter().map(|line| line.replace("https://h.io", "")).collect();
    Sent { outcome, sessions, lines, rig }
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rig")
    }
}

#[test]
fn an_upload_in_pieces_tells_of_its_session() {
    let sent = send(None, |_, _| None);
    assert_eq!(sent.outcome.unwrap(), Uploaded::Sent { resumed: 0 });
    assert_eq!(sent.sessions, [Some(0), Some(10), Some(20), Some(25), None]);
    let digest = Digest::of(&(0..25).collect::<Vec<u8>>());
    let put = format!("PUT /u?digest={digest}");
    assert_eq!(sent.lines, ["POST /v2/a/b/blobs/uploads/", "PATCH /u", "PATCH /u", "PATCH /u", &put]);
}

#[test]
fn a_broken_piece_goes_on_where_the_registry_is() {
    // Breaks, 5xx and 429, each in the middle of the second piece.
    for code in [0, 500, 503, 408] {
        let mut patches = 0;
        let sent = send(None, move |seen, held| {
            patches += usize::from(seen.method == Method::PATCH);
            (patches == 2 && seen.method == Method::PATCH).then(|| {
                held.extend_from_slice(&seen.body[..4]);
                status(code)
            })
        });
        assert_eq!(sent.outcome.unwrap(), Uploaded::Sent { resumed: 0 }, "{code}");
        let ranges: Vec<_> = sent
            .rig
            .server
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter_map(|seen| seen.header("content-range").map(ToOwned::to_owned))
            .collect();
        assert_eq!(ranges, ["0-9", "10-19", "14-23", "24-24"], "{code}");
    }
    // It says that nothing was done: the same piece again, when it says so.
    let mut refused = 0;
    let sent = send(None, move |seen, _| {
        refused += u32::from(seen.method == Method::PATCH);
        (seen.method == Method::PATCH && refused < 3).then(|| with(429, &[("retry-after", "7")], ""))
    });
    assert!(sent.outcome.is_ok(), "{:?}", sent.outcome);
    assert!(transfer::Pace::now(&*sent.rig.clock).as_secs() >= 14);
}

#[test]
fn an_upload_that_cannot_go_on_is_given_up_or_kept() {
    // The registry is away: a later run goes on.
    let sent = send(None, |seen, _| (seen.method == Method::PATCH).then(|| status(0)));
    assert!(kind(&sent.outcome).starts_with("GivenUp"), "{:?}", sent.outcome);
    assert_eq!(sent.sessions.last(), Some(&Some(0)));
    assert!(!sent.lines.iter().any(|line| line.starts_with("DELETE")), "{:?}", sent.lines);
    // It refuses: the session is cancelled.
    let sent = send(None, |seen, _| {
        (seen.method == Method::PATCH)
            .then(|| with(400, &[], r#"{"errors":[{"code":"SIZE_INVALID","message":"no such size"}]}"#))
    });
    let error = sent.outcome.unwrap_err().to_string();
    assert!(error.starts_with("sending h.io/a/b@sha256:") && error.contains("no such size"), "{error}");
    assert_eq!(sent.sessions.last(), Some(&None));
    assert_eq!(sent.lines.iter().filter(|line| *line == "DELETE /u").count(), 4, "each session: {:?}", sent.lines);
}

#[test]
fn a_session_of_an_earlier_run_is_used() {
    let digest = Digest::of(&(0..25).collect::<Vec<u8>>());
    let session = |location: &str| Session { location: location.to_owned(), digest, size: 25, committed: 10 };
    let mut first = true;
    let sent = send(Some(&session("https://h.io/u")), move |_, held| {
        if std::mem::take(&mut first) {
            *held = (0..15).collect();
        }
        None
    });
    assert_eq!(sent.outcome.unwrap(), Uploaded::Sent { resumed: 15 });
    assert_eq!(sent.lines[..2], ["GET /u", "PATCH /u"]);
    // It is gone.
    let sent = send(Some(&session("https://h.io/gone")), |seen, _| (seen.url.path() == "/gone").then(|| status(404)));
    assert_eq!(sent.outcome.unwrap(), Uploaded::Sent { resumed: 0 });
    // It is dead in ways that registries do not call gone, or its host is: one question, and all is sent anew.
    for dead in [500, 503, 401, 403, 0] {
        let sent = send(Some(&session("https://old.io/dead")), move |seen, _| {
            (seen.url.path() == "/dead").then(|| status(dead))
        });
        assert_eq!(sent.outcome.unwrap(), Uploaded::Sent { resumed: 0 }, "{dead}");
        assert_eq!(sent.lines.iter().filter(|line| line.contains("/dead")).count(), 1, "{:?}", sent.lines);
        assert_eq!(sent.sessions, [Some(0), Some(10), Some(20), Some(25), None], "{dead}");
    }
    // The registry is away as well: the session stays noted.
    let sent = send(Some(&session("https://h.io/u")), |_, _| Some(status(0)));
    assert!(kind(&sent.outcome).starts_with("GivenUp"), "{:?}", sent.outcome);
    assert_eq!(sent.sessions, []);
    // It lies where nobody may go.
    let sent = send(Some(&session("http://h.io/u")), |_, _| None);
    assert!(kind(&sent.outcome).starts_with("Insecure"));
}

#[test]
fn a_location_on_another_host_sees_no_credential() {
    let password = Only("h.io", Credential::Basic { user: "me".to_owned(), password: Secret::new("canary") });
    let options = Options { piece: Some(10), ..Options::default() };
    let mut held = Vec::new();
    let rig = rig(password, options, move |seen: &Seen| {
        if seen.url.host_str() == Some("store.io") {
            assert_eq!(seen.authorization(), None);
            held.extend_from_slice(&seen.body);
            let code = if seen.method == Method::PUT { 201 } else { 202 };
            return with(code, &[("range", &format!("0-{}", held.len().max(1) - 1))], "");
        }
        match seen.authorization() {
            None => with(401, &[("www-authenticate", r#"Basic realm="x""#)], ""),
            Some(_) => with(202, &[("location", "https://store.io/u?signed")], ""),
        }
    });
    let blob = Blob::from_bytes("blob", (0..25).collect::<Vec<u8>>());
    let outcome = rig.client.upload(&repository(), &blob, None, None, &mut |_| {}, &NoProgress);
    assert_eq!(outcome.unwrap(), Uploaded::Sent { resumed: 0 });
    let insecure = plain(|_: &Seen| with(202, &[("location", "http://store.io/u")], ""));
    let outcome = insecure.client.upload(&repository(), &blob, None, None, &mut |_| {}, &NoProgress);
    assert!(kind(&outcome).starts_with("Insecure"), "{outcome:?}");
    assert_eq!(insecure.server.lines().len(), 1);
}

#[test]
fn a_mount_asks_for_both_repositories() {
    let from: Repository = "h.io/c/d".parse().unwrap();
    let blob = Blob::from_bytes("blob", *b"hello");
    // A token server that gives no token for both: the blob is sent.
    for refuses in [false, true] {
        let rig = plain(move |seen: &Seen| {
            let url = seen.url.as_str();
            match (seen.url.host_str(), seen.authorization()) {
                (Some("auth.io"), _) if url.contains("c%2Fd") && refuses => status(403),
                (Some("auth.io"), _) if url.contains("c%2Fd") => with(200, &[], r#"{"token":"both"}"#),
                (Some("auth.io"), _) => with(200, &[], r#"{"token":"own"}"#),
                (_, None) => with(401, &[("www-authenticate", r#"Bearer realm="https://auth.io/t""#)], ""),
                (_, Some("Bearer both")) if url.contains("&from=c%2Fd") => status(201),
                (_, Some(_)) if seen.method == Method::POST => with(202, &[("location", "/u")], ""),
                _ => status(201),
            }
        });
        let outcome = rig.client.upload(&repository(), &blob, Some(&from), None, &mut |_| {}, &NoProgress).unwrap();
        assert_eq!(outcome, if refuses { Uploaded::Sent { resumed: 0 } } else { Uploaded::Mounted });
        let token = rig.server.lines().into_iter().find(|line| line.contains("auth.io")).unwrap();
        assert!(token.contains("repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%2Fd%3Apull"), "{token}");
    }
    // Another registry's repository says nothing about this one.
    let rig = plain(|seen: &Seen| {
        assert_eq!(seen.url.query().filter(|query| query.contains("mount")), None);
        if seen.method == Method::POST { with(202, &[("location", "/u")], "") } else { status(201) }
    });
    for other in ["other.io/c/d", "h.io/a/b"] {
        let other: Repository = other.parse().unwrap();
        rig.client.upload(&repository(), &blob, Some(&other), None, &mut |_| {}, &NoProgress).unwrap();
    }
}

#[test]
fn a_stop_ends_an_upload_between_pieces() {
    #[derive(Default)]
    struct Stop(std::sync::atomic::AtomicBool);
    impl Progress for Stop {
        fn start(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, _: &str, _: u64) {}
        fn finish(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::SeqCst)
        }
    }
    let stop = Arc::new(Stop::default());
    let stopper = Arc::clone(&stop);
    let serve = sessions(move |seen, _| {
        stopper.0.fetch_or(seen.method == Method::PATCH, std::sync::atomic::Ordering::SeqCst);
        None
    });
    let rig = rig(NoCredentials, Options { piece: Some(10), ..Options::default() }, serve);
    let blob = Blob::new("blob", Arc::new((0..25).collect::<Vec<u8>>()), None);
    let mut kept = None;
    let mut heard = |session: Option<&Session>| kept = session.map(|session| session.committed);
    let outcome = rig.client.upload(&repository(), &blob, None, None, &mut heard, &*stop);
    assert!(kind(&outcome).starts_with("Cancelled"), "{outcome:?}");
    assert_eq!(rig.server.lines().len(), 2, "{:?}", rig.server.lines());
    assert_eq!(kept, Some(10), "a later run goes on");
}

#[test]
fn progress_ends_at_the_size() {
    #[derive(Default)]
    struct Count(std::sync::Mutex<Vec<u64>>);
    impl Progress for Count {
        fn start(&self, task: &str, total: Option<u64>) {
            assert!(task.starts_with("pushing ") && total == Some(25));
        }
        fn advance(&self, _task: &str, bytes: u64) {
            self.0.lock().unwrap().push(bytes);
        }
        fn finish(&self, _task: &str) {}
    }
    let rig = rig(NoCredentials, Options { piece: Some(10), ..Options::default() }, sessions(|_, _| None));
    let blob = Blob::new("blob", Arc::new((0..25).collect::<Vec<u8>>()), None);
    let count = Count::default();
    rig.client.upload(&repository(), &blob, None, None, &mut |_| {}, &count).unwrap();
    assert_eq!(count.0.lock().unwrap().iter().sum::<u64>(), 25);
}
