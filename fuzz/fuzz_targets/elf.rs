//! ELF programs of TF-A and OP-TEE.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (elf, _) = rkboot::elf::parse(bytes);
    for segment in elf.iter().flat_map(|elf| &elf.segments) {
        let _ = segment.bytes(bytes);
    }
});
