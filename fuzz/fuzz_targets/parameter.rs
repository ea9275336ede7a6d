//! Parameter files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let (Some(parameter), _) = rkboot::parameter::parse(bytes) {
        let _ = parameter.layout(u64::MAX).sorted();
    }
});
