//! Device trees: the checks of dtc say something of whatever can be read, and no more than they may.
#![no_main]

use dtbtool::check::{self, Options};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = check::fatal(bytes);
    if let Ok(tree) = check::read_as_dtc(bytes) {
        let _ = check::format_dtc_bytes(&check::run(&tree, &Options { limit: 1 << 16, ..Options::default() }));
    }
    let Some(tree) = dtbtool::scan(bytes).0 else { return };
    for keep_going in [false, true] {
        let checked = check::run(&tree, &Options { keep_going, limit: 1 << 16, ..Options::default() });
        assert!(check::format_dtc(&checked).len() < 1 << 21);
        for finding in &check::to_summary(&checked) {
            assert!(dtbtool::RULES.iter().any(|(code, ..)| *code == finding.code));
        }
    }
});
