//! ID blocks v2, flat and spread, and what is taken out of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let (Some(block), _) = rkboot::idblock::parse_for(bytes, Some(rkboot::Soc::Rk3576)) {
        let _ = block.ddr(bytes);
    }
    let _ = rkboot::idblock::copies(bytes, 2);
});
