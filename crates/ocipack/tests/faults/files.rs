//! Faults of plain files, of which there are two mirrors: the registry's host and the other one.

use std::time::Duration;

use testkit::faulty::{Answer, At, Request, Wire, on};

use crate::scenario::{Ends, Scenario, fetch};

const LIES: Ends = Ends::Wrong(&["Digest", "Size", "Protocol"]);

fn flipped(_: &Request, mut answer: Answer) -> Answer {
    if let Some(byte) = answer.body.last_mut() {
        *byte ^= 1;
    }
    answer
}

pub(crate) fn table() -> Vec<Scenario> {
    let here = || on("GET", "/files/a").at(At::Registry);
    let both = || on("GET", "/files/a");
    let mut table = vec![
        fetch("nothing wrong"),
        fetch("the first mirror has it not").with(here().gives(Answer::new(404))),
        fetch("the first mirror lies").with(here().edits(flipped)),
        fetch("the first mirror is down").with(here().gives(Answer::new(500))),
        fetch("the first mirror is refused").with(here().gives(Answer::new(403))),
        fetch("the first mirror is silent").with(here().edits(|_, answer| answer.wire(Wire::Stall(None)))),
        fetch("the first mirror drips")
            .with(here().edits(|_, answer| answer.wire(Wire::Drip(5, Duration::from_millis(40))))),
        fetch("the first mirror breaks, the second goes on")
            .with(here().edits(|_, answer| answer.wire(Wire::Cut(70_000))))
            .resumes(),
        fetch("the first mirror gives a page")
            .with(here().gives(Answer::new(200).header("Content-Type", "text/html").body("<html>not here</html>"))),
        fetch("the first mirror wants a rest of a day")
            .with(here().gives(Answer::new(429).header("Retry-After", "86400"))),
        fetch("the first mirror points to the second")
            .with(here().gives(Answer::new(302).header("Location", "http://{other}{target}"))),
        fetch("both lie").with(both().edits(flipped)).ends(LIES),
        fetch("both have it not").with(both().gives(Answer::new(404))).ends(Ends::Wrong(&["NotFound"])),
        fetch("both are down").with(both().gives(Answer::new(503))).ends(Ends::Wrong(&["Status"])),
        fetch("both break at each byte")
            .with(both().edits(|_, answer| answer.wire(Wire::Cut(1))))
            .ends(Ends::Wrong(&["Connect"])),
        fetch("both are longer than locked")
            .with(both().edits(|_, mut answer| {
                answer.body.push(0);
                answer
            }))
            .ends(LIES),
        fetch("both are compressed on the way")
            .with(both().edits(|_, answer| answer.header("Content-Encoding", "gzip")))
            .ends(Ends::Wrong(&["Protocol"])),
        fetch("parts of another version")
            .with(both().edits(|request, answer| {
                if request.header("range").is_some() {
                    flipped(request, answer)
                } else {
                    answer.wire(Wire::Cut(70_000))
                }
            }))
            .ends(Ends::Safely),
        fetch("parts that overlap")
            .with(both().first(1).edits(|_, answer| answer.wire(Wire::Cut(70_000))))
            .with(both().edits(|request, answer| {
                if request.header("range").is_some() {
                    answer.header("Content-Range", "bytes 0-262143/262144")
                } else {
                    answer
                }
            }))
            .ends(Ends::Safely),
    ];
    for at in [1, 65_536, 262_143] {
        table.push(
            fetch("cut once, after")
                .number(at)
                .with(both().first(1).edits(move |_, answer| answer.wire(Wire::Cut(at))))
                .resumes(),
        );
    }
    table
}
