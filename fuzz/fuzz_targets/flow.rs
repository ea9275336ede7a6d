//! What a second stage starts, which blobs a file holds, and whether they go together.
#![no_main]

use rkboot::{
    flow::{self, Carried, CarriedTree},
    identity, pairing,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let (Some(found), _) = flow::abilities(bytes) {
        let _ = flow::scenario(flow::first_stage(bytes).as_ref(), &found, bytes);
        let trees = vec![CarriedTree::new("/dtb/rockchip/a.dtb", bytes)];
        let _ = flow::check(&found, &Carried { efi_fallback_loader: true, trees, ..Carried::default() });
    }
    let _ = identity::identify(bytes);
    let _ = pairing::check(bytes, bytes);
});
