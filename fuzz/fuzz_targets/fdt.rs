//! Device trees: the scan and the strict view agree, and what is strict can be written as text.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (_, report) = dtbtool::scan(bytes);
    let _ = dtbtool::facts(bytes, 0);
    if let Ok(tree) = dtbtool::Fdt::parse(bytes) {
        assert!(!report.iter().any(|finding| finding.code < "DTB050" && finding.severity == imgcore::Severity::Error));
        let _ = dtbtool::to_dts(&tree);
    }
});
