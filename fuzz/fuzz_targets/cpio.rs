//! Initramfs files: cpio archives, plain and compressed.
#![no_main]

use std::{io::Read, sync::Arc};

use initramfs::packed::{self, Limits};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { unpacked: 4 << 20, entries: 1000, ..Limits::default() };
    let mut unpacked = 0;
    packed::read(Arc::new(bytes.to_vec()), &limits, &mut |header, data| {
        let _ = header.path();
        // Every third file is left unread, as a receiver may.
        if header.ino % 3 != 0 {
            let mut bytes = Vec::new();
            data.take(1 << 16).read_to_end(&mut bytes)?;
            unpacked += bytes.len();
        }
        Ok(())
    });
    assert!(unpacked <= 4 << 20);
});
