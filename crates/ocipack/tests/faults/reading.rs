//! Faults of what is read: manifests and blobs.

use std::time::Duration;

use testkit::faulty::{Answer, At, Auth, Wire, on};

use crate::scenario::{Ends, LAYER_PATH, Scenario, layer, pull};

const LIES: Ends = Ends::Wrong(&["Digest", "Size", "Protocol"]);
const DOWN: Ends = Ends::Wrong(&["Connect", "Timeout", "Protocol", "Status"]);
const BROKEN: Ends = Ends::Wrong(&["Protocol", "Connect", "Document", "Size", "Digest"]);

fn moved(status: u16, to: &str) -> Answer {
    Answer::new(status).header("Location", to)
}

fn flipped(mut answer: Answer) -> Answer {
    if let Some(byte) = answer.body.last_mut() {
        *byte ^= 1;
    }
    answer
}

pub(crate) fn table() -> Vec<Scenario> {
    // One blob alone, so that a count of requests is a count of tries.
    let blobs = || on("GET", LAYER_PATH.as_str());
    let manifests = || on("", "/manifests/");
    let mut table = vec![
        pull("nothing wrong"),
        // Redirects.
        pull("blobs at another host")
            .asks(Auth::Bearer)
            .with(blobs().at(At::Registry).gives(moved(307, "http://{other}/cdn{target}"))),
        pull("blobs at another host, by password")
            .asks(Auth::Basic)
            .with(blobs().at(At::Registry).gives(moved(302, "http://{other}/cdn{target}"))),
        pull("blobs and their heads at another host")
            .asks(Auth::Bearer)
            .with(on("", "/blobs/").at(At::Registry).gives(moved(308, "http://{other}/cdn{target}"))),
        pull("manifests at another host")
            .asks(Auth::Bearer)
            .with(manifests().at(At::Registry).gives(moved(307, "http://{other}/cdn{target}"))),
        pull("blobs at a host that nobody named")
            .trusts_here_alone()
            .with(blobs().at(At::Registry).gives(moved(307, "http://{other}/cdn{target}")))
            .ends(Ends::Wrong(&["Insecure"])),
        pull("a redirect in a circle")
            .asks(Auth::Bearer)
            .with(blobs().gives(moved(307, "{target}")))
            .ends(Ends::Wrong(&["Protocol", "Address"])),
        pull("a redirect between two hosts")
            .asks(Auth::Bearer)
            .with(blobs().gives(moved(307, "http://{other}{target}")))
            .ends(Ends::Wrong(&["Protocol", "Address"])),
        pull("a redirect that grows")
            .with(blobs().gives(moved(307, "{target}x")))
            .ends(Ends::Wrong(&["Protocol", "Address"])),
        pull("a redirect to a file")
            .with(blobs().gives(moved(307, "file:///etc/passwd")))
            .ends(Ends::Wrong(&["Address", "Protocol"])),
        pull("a redirect to a program")
            .with(blobs().gives(moved(307, "javascript:alert(1)")))
            .ends(Ends::Wrong(&["Address", "Protocol"])),
        pull("a redirect with user and password")
            .with(blobs().gives(moved(307, "http://a:b@{other}/cdn{target}")))
            .ends(Ends::Wrong(&["Address", "Protocol"])),
        pull("a redirect to nowhere")
            .with(blobs().gives(Answer::new(307)))
            .ends(Ends::Wrong(&["Protocol", "Status", "Address"])),
        pull("a redirect to no address")
            .with(blobs().gives(moved(307, "http://[::bad")))
            .ends(Ends::Wrong(&["Protocol", "Address"])),
        pull("a relative redirect").with(blobs().first(1).gives(moved(307, "?again"))),
        pull("a redirect to a host that is not there")
            .with(blobs().gives(moved(307, "http://127.0.0.1:1/x")))
            .ends(Ends::Wrong(&["Connect", "Insecure"])),
        // Other bytes.
        pull("another blob, always").with(blobs().edits(|_, answer| flipped(answer))).ends(LIES),
        pull("another blob, once").with(blobs().first(1).edits(|_, answer| flipped(answer))).ends(Ends::Safely),
        pull("another manifest").with(on("GET", "/manifests/sha256:").edits(|_, answer| flipped(answer))).ends(LIES),
        pull("the root is another")
            .with(on("GET", "/manifests/").first(1).edits(|_, answer| flipped(answer)))
            .ends(LIES),
        pull("another root than its head says")
            .with(on("HEAD", "").gives(Answer::new(405)))
            .with(on("GET", "/manifests/latest").edits(|_, answer| flipped(answer)))
            .ends(LIES),
        pull("a head that lies about the digest")
            .with(
                manifests()
                    .edits(|_, answer| answer.header("Docker-Content-Digest", format!("sha256:{}", "0".repeat(64)))),
            )
            .ends(Ends::Wrong(&["Digest", "Protocol", "NotFound"])),
        pull("no digest in the head").with(manifests().edits(|_, answer| answer.without("Docker-Content-Digest"))),
        pull("a digest in capitals")
            .with(manifests().edits(|_, mut answer| {
                for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "Docker-Content-Digest") {
                    *value = value.to_uppercase();
                }
                answer
            }))
            .ends(Ends::Safely),
        pull("a digest of an algorithm that nobody knows")
            .with(manifests().edits(|_, answer| answer.header("Docker-Content-Digest", "md5:0123")))
            .ends(Ends::Safely),
        pull("the parent where the child should be")
            .with(
                on("GET", "/manifests/sha256:")
                    .edits(|_, answer| answer.body(r#"{"schemaVersion": 2, "manifests": []}"#)),
            )
            .ends(LIES),
        pull("the tag moves after its head")
            .with(
                on("HEAD", "/manifests/latest")
                    .edits(|_, answer| answer.header("Docker-Content-Digest", format!("sha256:{}", "1".repeat(64)))),
            )
            .ends(Ends::Safely),
        // Other lengths.
        pull("a blob with more bytes")
            .with(blobs().edits(|_, mut answer| {
                answer.body.extend_from_slice(b"more");
                answer
            }))
            .ends(LIES),
        pull("a blob with fewer bytes")
            .with(blobs().edits(|_, mut answer| {
                answer.body.truncate(answer.body.len() / 2);
                answer
            }))
            .ends(Ends::Wrong(&["Digest", "Size", "Protocol", "Connect"])),
        pull("an empty blob")
            .with(blobs().edits(|_, mut answer| {
                answer.body.clear();
                answer
            }))
            .ends(Ends::Wrong(&["Digest", "Size", "Protocol", "Connect"])),
        pull("a length that is too small")
            .with(blobs().edits(|_, answer| {
                let length = answer.body.len() - 7;
                answer.header("Content-Length", length.to_string()).wire(Wire::Cut(usize::MAX))
            }))
            .ends(Ends::Wrong(&["Digest", "Size", "Protocol", "Connect"])),
        pull("a length that is too large")
            .with(blobs().edits(|_, answer| {
                let length = answer.body.len() + 7;
                answer.header("Content-Length", length.to_string()).wire(Wire::Cut(usize::MAX))
            }))
            .ends(Ends::Safely),
        pull("no length, the end is the end")
            .with(blobs().edits(|_, answer| answer.header("Content-Length", "").wire(Wire::Cut(usize::MAX)))),
        pull("two lengths")
            .with(blobs().edits(|_, mut answer| {
                answer.headers.push(("Content-Length".into(), "5".into()));
                answer.headers.push(("Content-Length".into(), "6".into()));
                answer
            }))
            .ends(BROKEN),
        pull("no length in answers to HEAD")
            .with(on("HEAD", "").edits(|_, answer| answer.header("Content-Length", ""))),
        pull("HEAD is refused").with(on("HEAD", "").gives(Answer::new(405))),
        pull("a manifest of 200 MiB, as it says")
            .with(
                on("GET", "/manifests/")
                    .edits(|_, answer| answer.header("Content-Length", "209715200").wire(Wire::Stall(Some(10)))),
            )
            .ends(Ends::Wrong(&["TooLarge", "Size"])),
        pull("a manifest without end")
            .with(on("GET", "/manifests/").edits(|_, answer| answer.body(vec![b' '; 1 << 20]).wire(Wire::Endless)))
            .ends(Ends::Wrong(&["TooLarge", "Size"])),
        pull("a blob without end")
            .with(blobs().edits(|_, answer| answer.body(vec![b' '; 1 << 20]).wire(Wire::Endless)))
            .ends(Ends::Wrong(&["TooLarge", "Size", "Digest", "Protocol"])),
        // Time.
        pull("silence before the head, once").with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Stall(None)))),
        pull("silence before the head, always")
            .with(blobs().edits(|_, answer| answer.wire(Wire::Stall(None))))
            .ends(Ends::Wrong(&["Timeout"])),
        pull("silence in the body, once")
            .with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Stall(Some(5000))))),
        pull("a body that drips")
            .with(blobs().edits(|_, answer| answer.wire(Wire::Drip(3, Duration::from_millis(40)))))
            .ends(Ends::Wrong(&["Timeout"])),
        pull("a manifest that drips")
            .with(manifests().edits(|_, answer| answer.wire(Wire::Drip(1, Duration::from_millis(40)))))
            .ends(Ends::Wrong(&["Timeout"])),
        // Broken connections.
        pull("reset before the head, twice").with(blobs().first(2).edits(|_, answer| answer.wire(Wire::Reset(None)))),
        pull("reset before the head, always")
            .with(blobs().edits(|_, answer| answer.wire(Wire::Reset(None))))
            .ends(DOWN),
        pull("cut after a byte, always").with(blobs().edits(|_, answer| answer.wire(Wire::Cut(1)))).ends(DOWN),
        pull("cut in the manifest, twice")
            .with(on("GET", "/manifests/").first(2).edits(|_, answer| answer.wire(Wire::Cut(20)))),
        // Resuming.
        pull("cut, and the range is ignored")
            .with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Cut(9000))))
            .with(blobs().edits(|_, mut answer| {
                if answer.status == 206 {
                    answer = Answer::new(200).body(layer());
                }
                answer
            })),
        pull("cut, and the range is another")
            .with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Cut(9000))))
            .with(blobs().edits(|_, answer| {
                if answer.status == 206 { answer.header("Content-Range", "bytes 17-99999/262144") } else { answer }
            }))
            .ends(Ends::Safely),
        pull("cut, and the range is missing")
            .with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Cut(9000))))
            .with(
                blobs().edits(|_, answer| if answer.status == 206 { answer.without("Content-Range") } else { answer }),
            )
            .ends(Ends::Safely),
        pull("cut, and the range is refused")
            .with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Cut(9000))))
            .with(blobs().nth(1).gives(Answer::new(416).header("Content-Range", "bytes */262144")))
            .ends(Ends::Safely),
        pull("cut, and the tag of the bytes is another")
            .with(blobs().first(1).edits(|_, answer| answer.header("ETag", "\"old\"").wire(Wire::Cut(9000)))),
        pull("cut, and the tag of the bytes is weak")
            .with(blobs().edits(|_, answer| answer.header("ETag", "W/\"weak\"")))
            .with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Cut(9000)))),
        pull("cut, and the other part is a lie")
            .with(blobs().first(1).edits(|_, answer| answer.wire(Wire::Cut(9000))))
            .with(blobs().edits(|_, answer| if answer.status == 206 { flipped(answer) } else { answer })),
        pull("a part that nobody asked for")
            .with(blobs().edits(|_, mut answer| {
                answer.status = 206;
                answer.body.truncate(100);
                answer.header("Content-Range", "bytes 0-99/262144")
            }))
            .ends(Ends::Safely),
        // Bodies that are not what they seem.
        pull("a blob with an encoding")
            .with(blobs().edits(|_, answer| answer.header("Content-Encoding", "gzip")))
            .ends(Ends::Wrong(&["Protocol"])),
        pull("a manifest with an encoding")
            .with(on("GET", "/manifests/").edits(|_, answer| answer.header("Content-Encoding", "br")))
            .ends(Ends::Wrong(&["Protocol"])),
        pull("chunks").with(blobs().edits(|_, answer| {
            let mut body = format!("{:x}\r\n", answer.body.len()).into_bytes();
            body.extend_from_slice(&answer.body);
            body.extend_from_slice(b"\r\n0\r\n\r\n");
            answer.header("Transfer-Encoding", "chunked").body(body)
        })),
        pull("chunks of garbage")
            .with(blobs().edits(|_, answer| {
                answer.header("Transfer-Encoding", "chunked").body("zz\r\nnothing\r\n").wire(Wire::Cut(usize::MAX))
            }))
            .ends(BROKEN),
        pull("a chunk of absurd length")
            .with(blobs().edits(|_, answer| {
                answer.header("Transfer-Encoding", "chunked").body("ffffffffffffffff\r\nx").wire(Wire::Cut(usize::MAX))
            }))
            .ends(BROKEN),
        pull("a head without end").with(blobs().gives(Answer::new(200).wire(Wire::Raw(bomb())))).ends(BROKEN),
        pull("no head at all")
            .with(blobs().gives(Answer::new(200).wire(Wire::Raw(b"\x16\x03\x01 garbage\r\n\r\n".to_vec()))))
            .ends(BROKEN),
        pull("an answer of HTTP/0.9")
            .with(blobs().gives(Answer::new(200).wire(Wire::Raw(b"<html>".to_vec()))))
            .ends(BROKEN),
        pull("204 for a blob")
            .with(blobs().gives(Answer::new(204)))
            .ends(Ends::Wrong(&["Protocol", "Size", "Status", "Connect", "Digest"])),
        pull("304 for a blob")
            .with(blobs().gives(Answer::new(304)))
            .ends(Ends::Wrong(&["Protocol", "Size", "Status", "Connect"])),
        pull("a page for a blob")
            .with(blobs().gives(Answer::new(200).header("Content-Type", "text/html").body(page())))
            .ends(LIES),
        pull("a page for a manifest")
            .with(on("GET", "/manifests/").gives(Answer::new(200).header("Content-Type", "text/html").body(page())))
            .ends(Ends::Wrong(&["Digest", "Protocol", "Size", "Document"])),
        pull("a page for an error")
            .with(on("GET", "/manifests/").gives(Answer::new(400).header("Content-Type", "text/html").body(page())))
            .ends(Ends::Wrong(&["Status"])),
        pull("no such manifest")
            .with(on("", "/manifests/latest").gives(Answer::error(
                404,
                "MANIFEST_UNKNOWN",
                "manifest \\u001b[31munknown",
            )))
            .ends(Ends::Wrong(&["NotFound"])),
        pull("no such blob")
            .with(on("", "/blobs/").gives(Answer::error(404, "BLOB_UNKNOWN", "blob unknown")))
            .ends(Ends::Wrong(&["NotFound"])),
        pull("a type with parameters").with(on("GET", "/manifests/").edits(|_, mut answer| {
            for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "Content-Type") {
                *value += "; charset=utf-8";
            }
            answer
        })),
        pull("no type").with(manifests().edits(|_, answer| answer.without("Content-Type"))),
        pull("the type of an old form")
            .with(on("HEAD", "/manifests/latest").changes(|content| {
                let old = content.add_manifest(
                    "demo/image",
                    "application/vnd.docker.distribution.manifest.v1+prettyjws",
                    br#"{"schemaVersion": 1, "name": "demo", "fsLayers": []}"#,
                );
                content.set_tag("demo/image", "latest", &old);
            }))
            .ends(Ends::Wrong(&["Protocol", "Document", "UnexpectedMediaType"])),
        // Busy.
        pull("429 with seconds").with(blobs().first(1).gives(Answer::new(429).header("Retry-After", "7"))).waits(7),
        pull("429 with a date that is over")
            .with(blobs().first(1).gives(Answer::new(429).header("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"))),
        pull("429 with an absurd time")
            .with(blobs().gives(Answer::new(429).header("Retry-After", "99999999999999999999")))
            .ends(Ends::Wrong(&["RateLimited"])),
        pull("429 with a day")
            .with(blobs().gives(Answer::new(429).header("Retry-After", "86400")))
            .ends(Ends::Wrong(&["RateLimited"])),
        pull("429 with garbage").with(blobs().first(1).gives(Answer::new(429).header("Retry-After", "soon"))),
        pull("429 without a time").with(blobs().first(2).gives(Answer::new(429))),
        pull("429 for ever")
            .with(on("", "/manifests/").gives(Answer::error(
                429,
                "TOOMANYREQUESTS",
                "you have reached your pull rate limit",
            )))
            .at_most(8)
            .ends(Ends::Wrong(&["RateLimited"])),
        pull("503 with seconds").with(blobs().first(1).gives(Answer::new(503).header("Retry-After", "3"))).waits(3),
        pull("501").with(blobs().gives(Answer::new(501))).ends(Ends::Wrong(&["Status"])),
    ];
    for status in [408, 425, 500, 502, 503, 504] {
        table.push(
            pull("busy twice")
                .number(status)
                .with(on("GET", "/v2/demo").first(2).gives(Answer::new(u16::try_from(status).unwrap()))),
        );
    }
    for status in [500, 503] {
        table.push(
            pull("busy for ever")
                .number(status)
                .with(on("GET", LAYER_PATH.as_str()).gives(Answer::new(u16::try_from(status).unwrap()).body(page())))
                .at_most(60)
                .ends(Ends::Wrong(&["Status"])),
        );
    }
    for at in [0, 1, 4096, 100_000, 262_143] {
        let cut = pull("cut once, after")
            .number(at)
            .with(blobs().first(1).edits(move |_, answer| answer.wire(Wire::Cut(at))));
        table.push(if at > 0 { cut.resumes() } else { cut });
        let reset = blobs().first(1).edits(move |_, answer| answer.wire(Wire::Reset(Some(at))));
        table.push(pull("reset once, after").number(at).with(reset));
    }
    table
}

/// A page as balancers give, with what must not reach a terminal.
fn page() -> Vec<u8> {
    let mut page = b"<html>\x1b]0;title\x07\x1b[2J\r\n\0\x7f\xc2\x9b31m<h1>Bad \xff gateway</h1>".to_vec();
    page.extend(std::iter::repeat_n(b'a', 1 << 16));
    page
}

/// A head of many lines.
fn bomb() -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for line in 0..40_000 {
        head.extend_from_slice(format!("X-{line}: {}\r\n", "y".repeat(60)).as_bytes());
    }
    head
}
