//! A client at servers that are wrong in one thing at a time: the right result or the right error, in time, and no
//! credential where none belongs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where its helpers do, and tells times")]

mod access;
mod drive;
mod files;
mod reading;
mod scenario;
mod writing;

use std::{
    collections::VecDeque,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use scenario::Scenario;

/// The longest that a scenario may take.
const LONGEST: Duration = Duration::from_mins(1);

/// Runs the rows, sixteen at a time, and says what is wrong with each.
fn run(table: Vec<Scenario>) {
    let queue = Mutex::new(VecDeque::from(table));
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let (queue, send) = (&queue, send.clone());
            scope.spawn(move || {
                loop {
                    let Some(scenario) = queue.lock().unwrap().pop_front() else { return };
                    let name = scenario.name.clone();
                    let start = Instant::now();
                    // A row that hangs must not keep the test from saying so.
                    let (done, result) = mpsc::channel();
                    std::thread::spawn(move || done.send(drive::run(scenario)));
                    let problems = match result.recv_timeout(LONGEST) {
                        Ok(problems) => problems,
                        Err(mpsc::RecvTimeoutError::Timeout) => vec!["hangs".to_owned()],
                        Err(mpsc::RecvTimeoutError::Disconnected) => vec!["panics".to_owned()],
                    };
                    send.send((name, start.elapsed(), problems)).unwrap();
                }
            });
        }
    });
    drop(send);
    let mut wrong = Vec::new();
    for (name, time, problems) in receive {
        println!("{name}: {time:.1?}");
        wrong.extend(problems.iter().map(|problem| format!("{name}: {problem}")));
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn letting_in() {
    run(access::table());
}

#[test]
fn reading() {
    run(reading::table());
}

#[test]
fn writing() {
    run(writing::table());
}

#[test]
fn files() {
    run(files::table());
}

#[test]
fn there_are_more_than_forty() {
    let tables = [access::table(), reading::table(), writing::table(), files::table()];
    let mut names: Vec<_> = tables.iter().flatten().map(|scenario| scenario.name.clone()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two scenarios have one name");
    assert!(count >= 40, "{count}");
}
