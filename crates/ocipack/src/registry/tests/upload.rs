//! The upload of a blob, answer by answer.

use imgcore::Digest;
use proptest::prelude::*;

use crate::registry::{Fault, Head, Session, Step, Upload, Uploaded};

const MIB: u64 = 1024 * 1024;

fn new(size: u64, from: Option<&str>) -> Upload {
    let base = "https://h.io/v2/a/b/".parse().unwrap();
    Upload::new(base, Digest::of(b"x"), size, from.map(ToOwned::to_owned))
}

fn head(status: u16) -> Head {
    Head { status, ..Head::default() }
}

fn at(status: u16, location: &str) -> Head {
    Head { status, location: Some(location.to_owned()), ..Head::default() }
}

fn holds(status: u16, range: &str) -> Head {
    Head { status, range: Some(range.to_owned()), ..Head::default() }
}

/// The step in a line: `PATCH /x 0-5` (the end is not in it).
fn line(upload: &Upload) -> String {
    match upload.step() {
        Step::Mount { url } => format!("MOUNT {}", url.query().unwrap()),
        Step::Begin { url } => format!("POST {}", url.path()),
        Step::Ask { url } => format!("GET {}", url.path()),
        Step::Piece { url, range } => format!("PATCH {} {}-{}", url.path(), range.start, range.end),
        Step::Close { url, range } => format!("PUT {} {}-{}", url.path(), range.start, range.end),
        Step::Confirm { .. } => "HEAD".to_owned(),
        Step::Done(how) => format!("{how:?}"),
    }
}

/// `break`, or an answer; after each the next step.
fn play(mut upload: Upload, answers: &[(Option<Head>, &str)]) -> Result<Upload, (usize, Fault)> {
    for (number, (answer, expected)) in answers.iter().enumerate() {
        match answer {
            Some(head) => upload.answer(head).map_err(|fault| (number, fault))?,
            None => upload.broken(),
        }
        assert_eq!(line(&upload), *expected, "after answer {number}: {answer:?}");
    }
    Ok(upload)
}

const SENT: &str = "Sent { resumed: 0 }";
const POST: &str = "POST /v2/a/b/blobs/uploads/";

#[test]
fn a_small_blob_goes_at_once() {
    for (size, put) in [(0, "PUT /u 0-0"), (5, "PUT /u 0-5"), (64 * MIB, "PUT /u 0-67108864")] {
        play(new(size, None), &[(Some(at(202, "/u")), put), (Some(head(201)), SENT)]).unwrap();
    }
    let upload = play(new(5, None), &[(Some(at(202, "/u?_state=a%3D%3D&b=+c")), "PUT /u 0-5")]).unwrap();
    let Step::Close { url, .. } = upload.step() else { panic!() };
    let digest = Digest::of(b"x");
    assert_eq!(url.query(), Some(format!("_state=a%3D%3D&b=+c&digest={digest}").as_str()), "byte for byte");
}

#[test]
fn a_large_blob_goes_in_pieces_that_shrink_when_refused() {
    let size = 130 * MIB;
    play(
        new(size, None),
        &[
            (Some(at(202, "/u")), "PATCH /u 0-67108864"),
            (Some(Head { range: Some("0-67108863".to_owned()), ..at(202, "/w") }), "PATCH /w 67108864-134217728"),
            (Some(head(202)), "PATCH /w 134217728-136314880"),
            (Some(holds(204, "bytes=0-136314879")), "PUT /w 136314880-136314880"),
            (Some(head(201)), SENT),
        ],
    )
    .unwrap();
    // GitHub: 416 above 4 MiB, and the session holds what it held.
    for status in [413, 416] {
        play(
            new(size, None),
            &[
                (Some(at(202, "/u")), "PATCH /u 0-67108864"),
                (Some(head(status)), "GET /u"),
                (Some(holds(204, "0-0")), "PATCH /u 0-4194304"),
                (Some(holds(202, "0-4194303")), "PATCH /u 4194304-8388608"),
            ],
        )
        .unwrap();
    }
    // A proxy with nginx's own limit; a registry that wants larger pieces than that.
    let refused = |least| {
        let begun = Head { least, ..at(202, "/u") };
        play(
            new(size, None),
            &[
                (Some(begun), "PATCH /u 0-67108864"),
                (Some(head(413)), "GET /u"),
                (Some(holds(204, "0-0")), "PATCH /u 0-4194304"),
                (Some(head(413)), "GET /u"),
                (Some(holds(204, "0-0")), "PATCH /u 0-1048576"),
            ],
        )
        .map(|_| ())
    };
    assert_eq!(refused(None), Ok(()));
    assert_eq!(refused(Some(2 * MIB)), Err((3, Fault::Refused)));
    // What does not fit at once goes in pieces.
    for status in [413, 416] {
        play(
            new(20 * MIB, None),
            &[
                (Some(at(202, "/u")), "PUT /u 0-20971520"),
                (Some(head(status)), "GET /u"),
                (Some(head(404)), POST),
                (Some(at(202, "/w")), "PATCH /w 0-4194304"),
            ],
        )
        .unwrap();
    }
}

#[test]
fn what_is_committed_decides_where_to_go_on() {
    let start = [(Some(at(202, "/u")), "PATCH /u 0-10")];
    let upload = || play(new(25, None).with_piece(10), &start).unwrap();
    for (answer, expected) in [
        (holds(202, "0-9"), "PATCH /u 10-20"),
        (holds(201, "0-9"), "PATCH /u 10-20"),
        (head(202), "PATCH /u 10-20"),
        (holds(202, "0-4"), "PATCH /u 5-15"),
        (holds(202, "0-0"), "PATCH /u 0-10"),
        (at(202, "http://h.io/w"), "PATCH /w 10-20"),
        (holds(202, "0-10"), POST),
        (holds(202, "1-9"), POST),
        (holds(202, "nonsense"), POST),
        (holds(202, "0--1"), POST),
        (holds(202, "0-18446744073709551615"), POST),
        (head(404), POST),
        (head(410), POST),
        (head(400), POST),
        (head(416), "GET /u"),
        (head(405), POST),
    ] {
        play(upload(), &[(Some(answer), expected)]).unwrap();
    }
    for refused in [401, 403, 429, 500, 503] {
        assert_eq!(upload().answer(&head(refused)), Err(Fault::Refused), "{refused}");
    }
    // Broken pieces ask; each answer to that.
    for (answer, expected) in [
        (holds(204, "0-3"), "PATCH /u 4-14"),
        (holds(200, "0-24"), "PUT /u 25-25"),
        (holds(204, "0-0"), "PATCH /u 0-10"),
        (holds(204, "0-25"), POST),
        (head(204), POST),
        (head(404), POST),
        (head(405), POST),
        (Head { range: Some("0-9".to_owned()), ..at(204, "/w") }, "PATCH /w 10-20"),
    ] {
        play(upload(), &[(None, "GET /u"), (Some(answer), expected)]).unwrap();
    }
}

#[test]
fn a_close_whose_answer_is_lost_is_looked_at() {
    let start = (Some(at(202, "/u")), "PUT /u 0-5");
    play(new(5, None), &[start.clone(), (None, "HEAD"), (Some(head(200)), SENT)]).unwrap();
    let lost = [start.clone(), (None, "HEAD"), (Some(head(404)), "GET /u"), (Some(holds(204, "0-2")), "PATCH /u 3-5")];
    play(new(5, None), &lost).unwrap();
    for accepted in [200, 202, 204, 404] {
        play(new(5, None), &[start.clone(), (Some(head(accepted)), "HEAD"), (Some(head(200)), SENT)]).unwrap();
        play(new(5, None), &[start.clone(), (Some(head(accepted)), "HEAD"), (Some(head(404)), POST)]).unwrap();
    }
    let short = Head { length: Some(4), ..head(200) };
    play(new(5, None), &[start.clone(), (Some(head(202)), "HEAD"), (Some(short), POST)]).unwrap();
    // DIGEST_INVALID: once more from the start, and not for ever.
    let again = [start.clone(), (Some(head(400)), POST)];
    let endless: Vec<_> = again.iter().cloned().cycle().take(8).collect();
    assert_eq!(play(new(5, None), &endless).map(|_| ()), Err((7, Fault::Refused)));
    let other = Head { digest: Some(Digest::of(b"y").to_string()), ..head(201) };
    assert!(matches!(play(new(5, None), &[start.clone(), (Some(other), "")]), Err((1, Fault::Protocol(_)))));
    let same = Head { digest: Some(Digest::of(b"x").to_string()), ..head(201) };
    play(new(5, None), &[start, (Some(same), SENT)]).unwrap();
}

#[test]
fn a_mount_is_a_wish() {
    let upload = new(5, Some("other/repo"));
    assert_eq!(
        line(&upload),
        format!("MOUNT mount={}&from=other%2Frepo", Digest::of(b"x").to_string().replace(':', "%3A"))
    );
    for (answer, expected) in [
        (head(201), "Mounted"),
        (at(202, "/u"), "PUT /u 0-5"),
        (at(200, "/u"), "PUT /u 0-5"),
        (head(202), POST),
        (head(400), POST),
        (head(401), POST),
        (head(403), POST),
        (head(404), POST),
        (head(405), POST),
        (at(307, "/elsewhere"), POST),
        (head(500), POST),
    ] {
        play(upload.clone(), &[(Some(answer), expected)]).unwrap();
    }
    assert_eq!(upload.clone().answer(&head(429)), Err(Fault::Refused));
}

#[test]
fn locations_of_all_kinds() {
    let resolved = |location: &str| {
        let mut upload = new(5, None);
        upload.answer(&at(202, location)).map(|()| upload.session().unwrap().location)
    };
    for (location, expected) in [
        ("/x?y", "https://h.io/x?y"),
        ("x", "https://h.io/v2/a/b/blobs/uploads/x"),
        ("https://other.io/x", "https://other.io/x"),
        ("//other.io/x", "https://other.io/x"),
        ("https://h.io:444/x#y", "https://h.io:444/x"),
        ("http://h.io/x", "https://h.io/x"),
        ("http://h.io:80/x", "https://h.io/x"),
        // Another port may be another server; whether it may be spoken to is not decided here.
        ("http://h.io:81/x", "http://h.io:81/x"),
        ("http://other.io/x", "http://other.io/x"),
    ] {
        assert_eq!(resolved(location), Ok(expected.to_owned()), "{location}");
    }
    for location in ["https://user@h.io/x", "https://u:p@h.io/", "ftp://h.io/x", "file:///etc/passwd", "https://["] {
        assert!(matches!(resolved(location), Err(Fault::Protocol(_))), "{location}");
    }
    assert!(matches!(new(5, None).answer(&head(202)), Err(Fault::Protocol(_))));
    assert_eq!(new(5, None).answer(&head(401)), Err(Fault::Refused));
}

#[test]
fn redirects_keep_the_step_and_end() {
    let hop = |status| at(status, "/elsewhere");
    play(
        new(5, None),
        &[
            (Some(hop(307)), "POST /elsewhere"),
            (Some(at(202, "/u")), "PUT /u 0-5"),
            (Some(at(308, "/w?digest=sha256:1&a=b")), "PUT /w 0-5"),
            (Some(head(201)), SENT),
        ],
    )
    .unwrap();
    for status in [301, 302, 303] {
        assert_eq!(new(5, None).answer(&hop(status)), Err(Fault::Refused), "{status}");
    }
    let mut upload = new(5, None);
    let faults = (0..20).find_map(|_| upload.answer(&hop(307)).err());
    assert!(matches!(faults, Some(Fault::Protocol(_))));
}

#[test]
fn a_session_goes_on_in_another_process() {
    let mut upload = play(
        new(25, None).with_piece(10),
        &[(Some(at(202, "/u")), "PATCH /u 0-10"), (Some(holds(202, "0-9")), "PATCH /u 10-20")],
    )
    .unwrap();
    let session = upload.session().unwrap();
    assert_eq!((session.location.as_str(), session.committed), ("https://h.io/u", 10));
    let json = serde_json::to_string(&session).unwrap();
    assert_eq!(serde_json::from_str::<Session>(&json).unwrap(), session);
    upload.abandon();
    assert_eq!((upload.session(), upload.take_abandoned().len(), upload.take_abandoned().len()), (None, 1, 0));
    let resumed = |session: &Session| new(25, Some("from")).with_piece(10).resume(session);
    play(
        resumed(&session),
        &[
            (Some(holds(204, "0-14")), "PATCH /u 15-25"),
            (Some(head(202)), "PUT /u 25-25"),
            (Some(head(201)), "Sent { resumed: 15 }"),
        ],
    )
    .unwrap();
    for dead in [404, 401, 403, 500, 503] {
        play(resumed(&session), &[(Some(head(dead)), POST), (Some(at(202, "/w")), "PATCH /w 0-10")]).unwrap();
    }
    assert_eq!(resumed(&session).answer(&head(429)), Err(Fault::Refused));
    for other in [
        Session { digest: Digest::of(b"y"), ..session.clone() },
        Session { size: 26, ..session.clone() },
        Session { location: "file:///u".to_owned(), ..session },
    ] {
        assert!(line(&resumed(&other)).starts_with("MOUNT"));
    }
}

#[test]
fn a_count_of_the_piece_alone_is_asked_about() {
    // zot: many more pieces than stalls are allowed.
    let mut upload = new(300, None).with_piece(10);
    upload.answer(&at(202, "/u")).unwrap();
    let mut held = 0;
    loop {
        let answer = match upload.step() {
            Step::Piece { range, .. } => {
                assert_eq!(range.start, held);
                held = range.end;
                holds(202, "0-9")
            }
            Step::Ask { .. } => holds(204, &format!("0-{}", held - 1)),
            Step::Close { .. } => break,
            step => panic!("{step:?}"),
        };
        upload.answer(&answer).unwrap();
    }
    assert_eq!((held, line(&upload)), (300, "PUT /u 300-300".to_owned()));
    // The doubt was right: the session goes on where it is, and a session that goes nowhere ends.
    let started = || {
        play(
            new(25, None).with_piece(10),
            &[(Some(at(202, "/u")), "PATCH /u 0-10"), (Some(holds(202, "0-9")), "PATCH /u 10-20")],
        )
        .unwrap()
    };
    play(started(), &[(Some(holds(202, "0-0")), "GET /u"), (Some(holds(204, "0-12")), "PATCH /u 13-23")]).unwrap();
    let nowhere = [(Some(holds(202, "0-9")), "GET /u"), (Some(holds(204, "0-9")), "PATCH /u 10-20")];
    let last = [(Some(holds(202, "0-9")), "GET /u"), (Some(holds(204, "0-9")), POST)];
    let answers: Vec<_> = [&nowhere, &nowhere, &nowhere, &last].into_iter().flatten().cloned().collect();
    play(started(), &answers).unwrap();
}

#[test]
fn a_registry_that_never_gets_further_is_left() {
    // Says `0-0` whatever comes: pieces lead nowhere, all at once does.
    let mut upload = new(25, None).with_piece(10);
    let mut steps = Vec::new();
    for _ in 0..100 {
        let step = line(&upload);
        steps.push(step.clone());
        let answer = match step.split(' ').next() {
            Some("POST") => at(202, "/u"),
            Some("PATCH") => holds(202, "0-0"),
            Some("PUT") => head(201),
            _ => break,
        };
        if let Err(fault) = upload.answer(&answer) {
            panic!("{fault} after {steps:?}");
        }
    }
    assert_eq!(steps.last().map(String::as_str), Some(SENT), "{steps:?}");
    // And one that takes a byte at a time.
    let mut upload = new(1000, None).with_piece(100);
    upload.answer(&at(202, "/u")).unwrap();
    let fault = (2..200).find_map(|number| match upload.step() {
        Step::Piece { .. } => upload.answer(&holds(202, &format!("0-{number}"))).err(),
        Step::Begin { .. } => upload.answer(&at(202, "/u")).err(),
        Step::Close { .. } => upload.answer(&head(413)).err(),
        step => panic!("{step:?}"),
    });
    assert!(fault.is_some());
}

/// What a registry may do to a request.
#[derive(Debug, Clone, Copy)]
enum Trick {
    /// Keeps a part of the bytes and breaks the connection.
    Break(u8),
    /// Keeps a part of the bytes and says so.
    Part(u8),
    /// Does what it should and breaks before it answers.
    Lose,
    /// Forgets the session.
    Forget,
    /// An answer without doing anything.
    Say(u16),
}

fn tricks() -> impl Strategy<Value = Vec<Option<Trick>>> {
    let trick = prop_oneof![
        any::<u8>().prop_map(Trick::Break),
        any::<u8>().prop_map(Trick::Part),
        Just(Trick::Lose),
        Just(Trick::Forget),
        prop::sample::select(vec![400, 404, 405, 416, 202, 204, 200]).prop_map(Trick::Say),
    ];
    prop::collection::vec(prop::option::weighted(0.6, trick), 0..24)
}

/// A registry in a few lines. `checks`: whether it looks at `Content-Range`; Debian's does not.
struct Model {
    session: Option<Vec<u8>>,
    stored: Option<Vec<u8>>,
    checks: bool,
}

impl Model {
    fn range(&self) -> String {
        let held = self.session.as_ref().map_or(0, Vec::len);
        format!("0-{}", held.max(1) - 1)
    }

    /// `None`: the connection breaks.
    fn serve(&mut self, step: &Step, data: &[u8], trick: Option<Trick>) -> Option<Head> {
        match (trick, step) {
            (Some(Trick::Forget), _) => self.session = None,
            (Some(Trick::Say(status)), Step::Piece { .. } | Step::Close { .. } | Step::Ask { .. }) => {
                // Only what is no lie: a success that did nothing says how much there is.
                let success = status < 300 && matches!(step, Step::Close { .. } | Step::Ask { .. });
                return Some(Head { range: (!success).then(|| self.range()), ..head(status) });
            }
            (Some(Trick::Break(share) | Trick::Part(share)), Step::Piece { range, .. } | Step::Close { range, .. }) => {
                let bytes = &data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
                let kept = &bytes[..bytes.len() * usize::from(share) / 256];
                let Some(session) = &mut self.session else { return Some(head(404)) };
                if self.checks && session.len() as u64 != range.start {
                    return Some(head(416));
                }
                session.extend_from_slice(kept);
                let closes = matches!(step, Step::Close { .. });
                let says = matches!(trick, Some(Trick::Part(_))) && !closes;
                return says.then(|| holds(202, &self.range()));
            }
            _ => {}
        }
        let answer = self.serve_well(step, data);
        (!matches!(trick, Some(Trick::Lose))).then_some(answer)
    }

    fn serve_well(&mut self, step: &Step, data: &[u8]) -> Head {
        match step {
            Step::Begin { .. } => {
                self.session = Some(Vec::new());
                at(202, "/u")
            }
            Step::Ask { .. } if self.session.is_some() => holds(204, &self.range()),
            Step::Confirm { .. } => head(if self.stored.is_some() { 200 } else { 404 }),
            Step::Ask { .. } | Step::Mount { .. } => head(404),
            Step::Piece { range, .. } | Step::Close { range, .. } => {
                let Some(session) = &mut self.session else { return head(404) };
                if self.checks && session.len() as u64 != range.start {
                    return head(416);
                }
                session.extend_from_slice(
                    &data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()],
                );
                if matches!(step, Step::Piece { .. }) {
                    return holds(202, &self.range());
                }
                let session = self.session.take().unwrap();
                if session != data {
                    return head(400);
                }
                self.stored = Some(session);
                head(201)
            }
            Step::Done(_) => unreachable!(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: it ends, what ends well is whole, and an honest registry gets each byte once.
    #[test]
    fn any_order_of_commits_and_faults(
        size in 0_usize..60,
        piece in 1_u64..70,
        checks: bool,
        mount: bool,
        tricks in tricks(),
    ) {
        let data: Vec<u8> = (0..size).map(|byte| u8::try_from(byte).unwrap()).collect();
        let mut upload = Upload::new(
            "https://h.io/v2/a/".parse().unwrap(),
            Digest::of(&data),
            size as u64,
            mount.then(|| "b".to_owned()),
        )
        .with_piece(piece);
        let mut model = Model { session: None, stored: None, checks };
        let faults = tricks.iter().flatten().count();
        let mut tricks = tricks.into_iter();
        let mut outcome = None;
        for _ in 0..800 {
            let step = upload.step();
            if let Step::Done(how) = step {
                outcome = Some(Ok(how));
                break;
            }
            match model.serve(&step, &data, tricks.next().flatten()) {
                None => upload.broken(),
                Some(head) => {
                    if let Err(fault) = upload.answer(&head) {
                        outcome = Some(Err(fault));
                        break;
                    }
                }
            }
            prop_assert!(upload.committed() <= size as u64);
        }
        match outcome {
            None => prop_assert!(false, "it does not end"),
            Some(Ok(how)) => {
                prop_assert_eq!(model.stored.as_deref(), Some(&data[..]));
                prop_assert_eq!(how, Uploaded::Sent { resumed: 0 });
            }
            Some(Err(fault)) => prop_assert!(faults > 1, "{} after {} faults", fault, faults),
        }
    }
}
