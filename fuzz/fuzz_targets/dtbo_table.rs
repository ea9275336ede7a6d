//! Android tables of device-tree overlays: what is read without error is built again to the same trees.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (Some(table), report) = rkboot::dtbo_table::parse(bytes) else { return };
    if report.is_empty() {
        let overlays: Vec<_> = table
            .entries
            .iter()
            .map(|entry| rkboot::dtbo_table::Overlay {
                tree: entry.data(bytes),
                id: entry.id,
                rev: entry.rev,
                custom: entry.custom,
            })
            .collect();
        let parts = rkboot::dtbo_table::Parts {
            overlays: &overlays,
            page_size: table.page_size,
            version: table.version,
        };
        let again = rkboot::dtbo_table::build(&parts).expect("read trees are no more than can be built");
        let (read, _) = rkboot::dtbo_table::parse(&again);
        assert_eq!(read.expect("what is built is read").entries.len(), table.entries.len());
    }
});
