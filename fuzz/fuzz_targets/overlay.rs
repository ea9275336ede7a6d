//! What the overlay installer reads from standard input and from overlay.json.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = talosimg::overlay::InstallOptions::parse(text);
        let _ = talosimg::overlay::ExtraOptions::parse(text);
        let _ = talosimg::overlay::OverlayJson::parse(text);
    }
});
