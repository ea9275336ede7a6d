//! ID blocks v1, flat and spread, and what is taken out of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let (Some(block), _) = rkboot::idblock::v1::parse_for(bytes, Some(rkboot::Soc::Rk3399)) {
        assert!(block.decoded(bytes).len() as u64 <= block.content_length);
        let _ = block.ddr(bytes);
    }
    let _ = rkboot::facts(bytes);
});
