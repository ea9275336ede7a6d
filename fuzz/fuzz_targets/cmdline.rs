//! Kernel command lines: what is printed reads back as itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let line = talosimg::cmdline::Cmdline::parse(text).to_string();
        assert_eq!(talosimg::cmdline::Cmdline::parse(&line).to_string(), line);
    }
});
