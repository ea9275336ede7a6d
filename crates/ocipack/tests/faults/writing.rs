//! Faults of what is written: mounts, uploads, manifests, tags.

use testkit::faulty::{Answer, At, Auth, Content, Request, Wire, on};

use crate::scenario::{Ends, Scenario, mount, push, push_in_pieces};

const DOWN: Ends = Ends::Wrong(&["Connect", "Timeout", "Protocol", "Status"]);
const BROKEN: Ends = Ends::Wrong(&["Protocol", "Address", "Insecure"]);

pub(crate) fn table() -> Vec<Scenario> {
    let start = || on("POST", "/blobs/uploads/");
    let piece = || on("PATCH", "/blobs/uploads/");
    let close = || on("PUT", "/blobs/uploads/");
    let tag = || on("PUT", "/manifests/latest");
    let mut table = vec![
        push("nothing wrong"),
        push_in_pieces("nothing wrong"),
        mount("nothing wrong"),
        // Mounts.
        mount("a mount is an upload")
            .asks(Auth::Bearer)
            .with(on("POST", "mount=").edits(|_, answer| if answer.status == 201 { upload(202) } else { answer }))
            .ends(Ends::Safely),
        mount("a mount is not found").with(on("POST", "mount=").gives(Answer::error(
            404,
            "NAME_UNKNOWN",
            "repository unknown",
        ))),
        mount("a mount is not allowed").with(on("POST", "mount=").gives(Answer::new(405))),
        mount("a mount is wrong").with(on("POST", "mount=").gives(Answer::error(400, "UNSUPPORTED", "no mounts"))),
        mount("a mount is forbidden")
            .asks(Auth::Bearer)
            .with(on("POST", "mount=").gives(Answer::error(403, "DENIED", "no entry")))
            .ends(Ends::Safely),
        mount("a mount is done at another digest")
            .with(
                on("POST", "mount=")
                    .edits(|_, answer| answer.header("Docker-Content-Digest", format!("sha256:{}", "2".repeat(64)))),
            )
            .ends(Ends::Safely),
        // Sessions.
        push("uploads are busy twice").with(start().first(2).gives(Answer::new(503))),
        push("uploads are busy for ever").with(start().gives(Answer::new(503))).ends(DOWN),
        push("no place for an upload").with(start().edits(|_, answer| answer.without("Location"))).ends(BROKEN),
        push("a place in a file")
            .with(start().edits(|_, answer| answer.header("Location", "file:///tmp/x")))
            .ends(BROKEN),
        push("a place with user and password")
            .with(
                start().edits(|_, answer| answer.header("Location", "http://a:b@{here}/v2/demo/image/blobs/uploads/x")),
            )
            .ends(BROKEN),
        push("a place at another host").asks(Auth::Bearer).with(start().edits(elsewhere)),
        push("a place at a host that nobody named")
            .asks(Auth::Bearer)
            .trusts_here_alone()
            .with(start().edits(elsewhere))
            .ends(Ends::Wrong(&["Insecure"])),
        push("a place with a query")
            .with(on("", "/blobs/uploads/").edits(|_, mut answer| {
                for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "Location") {
                    *value += "?_state=a%2Fb%3D&x";
                }
                answer
            }))
            .sends("_state=a%2Fb%3D&x"),
        push("an absolute place").with(start().edits(|_, mut answer| {
            for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "Location") {
                *value = format!("http://{{here}}{value}");
            }
            answer
        })),
        push("the start moves to another host")
            .asks(Auth::Bearer)
            .with(start().at(At::Registry).gives(Answer::new(307).header("Location", "http://{other}/cdn{target}")))
            .ends(Ends::Safely),
        push("the end moves to another host")
            .asks(Auth::Bearer)
            .with(close().at(At::Registry).gives(Answer::new(307).header("Location", "http://{other}/cdn{target}")))
            .ends(Ends::Safely),
        push("201 where an upload begins").with(start().gives(Answer::new(201))).ends(Ends::Safely),
        push("200 for everything")
            .with(on("", "/blobs/uploads/").edits(|_, mut answer| {
                if answer.status < 300 {
                    answer.status = 200;
                }
                answer
            }))
            .ends(Ends::Safely),
        // Blobs.
        push("the session is gone").with(close().first(1).changes(Content::forget_uploads)),
        push("the session is always gone")
            .with(close().changes(Content::forget_uploads))
            .ends(Ends::Wrong(&["NotFound", "Status", "Protocol"])),
        push("the answer to an upload is lost")
            .with(close().first(1).edits(|_, answer| answer.wire(Wire::Reset(None)))),
        push("the connection breaks in an upload").with(close().larger_than(50_000).first(1).breaks_after(50_000)),
        push("the connection always breaks in an upload")
            .with(close().breaks_after(50_000))
            .with(on("PATCH", "").breaks_after(50_000))
            .ends(Ends::Safely),
        push("nobody reads").with(close().never_reads()).ends(DOWN),
        push("a silent end, once").with(close().first(1).edits(|_, answer| answer.wire(Wire::Stall(None)))),
        push("no digest in the answer").with(close().edits(|_, answer| answer.without("Docker-Content-Digest"))),
        push("another digest in the answer")
            .with(
                close().edits(|_, answer| answer.header("Docker-Content-Digest", format!("sha256:{}", "3".repeat(64)))),
            )
            .ends(Ends::Wrong(&["Digest", "Protocol"])),
        push("the bytes are called wrong")
            .with(close().gives(Answer::error(400, "DIGEST_INVALID", "provided digest did not match")))
            .ends(Ends::Wrong(&["Status", "Protocol"])),
        push("uploads are forbidden")
            .asks(Auth::Bearer)
            .with(start().gives(Answer::error(403, "DENIED", "no entry")))
            .ends(Ends::Wrong(&["Refused"])),
        push("HEAD is not allowed").with(on("HEAD", "").gives(Answer::new(405))),
        push("HEAD finds what is not there")
            .with(on("HEAD", "/blobs/").gives(Answer::new(200).header("Content-Length", "1")))
            .ends(Ends::Safely),
        push("429 with seconds").with(close().first(1).gives(Answer::new(429).header("Retry-After", "5"))).waits(5),
        // Pieces.
        push_in_pieces("the connection breaks in a piece").with(piece().nth(1).breaks_after(30_000)),
        push_in_pieces("the answer to a piece is lost")
            .with(piece().nth(1).edits(|_, answer| answer.wire(Wire::Reset(None)))),
        push_in_pieces("a piece is silent, once")
            .with(piece().nth(1).edits(|_, answer| answer.wire(Wire::Stall(None)))),
        push_in_pieces("the session is gone in the middle").with(piece().nth(2).changes(Content::forget_uploads)),
        push_in_pieces("no range in the answers").with(piece().edits(|_, answer| answer.without("Range"))),
        push_in_pieces("no place in the answers").with(piece().edits(|_, answer| answer.without("Location"))),
        push_in_pieces("a range that says less")
            .with(piece().nth(1).edits(|_, answer| answer.header("Range", "0-99")))
            .ends(Ends::Safely),
        push_in_pieces("a range that says more")
            .with(piece().nth(1).edits(|_, answer| answer.header("Range", "0-99999999")))
            .ends(Ends::Safely),
        push_in_pieces("a range of garbage")
            .with(piece().nth(1).edits(|_, answer| answer.header("Range", "bytes=a-b")))
            .ends(Ends::Safely),
        push_in_pieces("416 that names what is there").with(piece().nth(1).edits(|_, mut answer| {
            answer.status = 416;
            answer
        })),
        push_in_pieces("416 that names nothing").with(piece().nth(1).gives(Answer::new(416))),
        push_in_pieces("416 for ever").with(piece().gives(Answer::new(416).header("Range", "0-0"))).ends(Ends::Safely),
        push_in_pieces("a piece is too large").ceiling(40_000, 413).ends(Ends::Safely),
        push_in_pieces("a token ends between pieces")
            .asks(Auth::Bearer)
            .with(piece().nth(1).changes(Content::forget_tokens)),
        push_in_pieces("every second piece is busy")
            .with(piece().nth(1).gives(Answer::new(502)))
            .with(piece().nth(3).gives(Answer::new(502))),
        push_in_pieces("a place at another host")
            .asks(Auth::Bearer)
            .with(start().edits(elsewhere))
            .with(piece().edits(elsewhere)),
        push_in_pieces("the least piece is larger")
            .with(start().edits(|_, answer| answer.header("OCI-Chunk-Min-Length", "150000"))),
        push_in_pieces("the least piece is absurd")
            .with(start().edits(|_, answer| answer.header("OCI-Chunk-Min-Length", "99999999999999999999")))
            .ends(Ends::Safely),
        push_in_pieces("a piece is forgotten")
            .with(piece().nth(1).gives(Answer::new(202).header("Location", "{target}").header("Range", "0-65535")))
            .ends(Ends::Safely),
        // Manifests and tags.
        push("manifests are busy twice").with(on("PUT", "/manifests/").first(2).gives(Answer::new(500))),
        push("the answer to a manifest is lost").with(tag().first(1).edits(|_, answer| answer.wire(Wire::Reset(None)))),
        push("another digest of the manifest")
            .with(tag().edits(|_, answer| answer.header("Docker-Content-Digest", format!("sha256:{}", "4".repeat(64)))))
            .ends(Ends::Wrong(&["Digest", "Protocol"])),
        push("no digest of the manifest").with(tag().edits(|_, answer| answer.without("Docker-Content-Digest"))),
        push("a manifest is called wrong")
            .with(tag().gives(Answer::error(400, "MANIFEST_INVALID", "manifest \\u001b[31minvalid")))
            .ends(Ends::Wrong(&["Status"])),
        push("tags are immutable")
            .with(tag().gives(Answer::error(409, "TAG_INVALID", "the tag is immutable")))
            .ends(Ends::Wrong(&["Status"])),
    ];
    for at in [0_usize, 1, 65_536, 200_000] {
        table.push(
            push("the connection breaks after")
                .number(at)
                .with(on("PUT", "/blobs/uploads/").larger_than(50_000).first(1).breaks_after(at)),
        );
        table.push(
            push_in_pieces("the connection breaks after")
                .number(at)
                .with(on("PATCH", "/blobs/uploads/").larger_than(50_000).first(1).breaks_after(at)),
        );
    }
    table
}

/// An upload that begins at the other host, which asks nobody.
fn elsewhere(request: &Request, mut answer: Answer) -> Answer {
    if request.at == At::Elsewhere {
        return answer;
    }
    for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "Location") {
        if value.starts_with('/') {
            *value = format!("http://{{elsewhere}}/cdn{value}");
        }
    }
    answer
}

fn upload(status: u16) -> Answer {
    Answer::new(status).header("Location", "/v2/demo/image/blobs/uploads/none")
}
