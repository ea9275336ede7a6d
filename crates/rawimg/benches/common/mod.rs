//! The image that everything is measured on: 1246 MiB, 97 MiB of them data.
//!
//! Partition tables at both ends, two pieces like boot loaders, a table like FAT's, an arm64 kernel of 31 MB, 66 MiB of
//! random bytes; the rest is zero. The kernel is the reference's if it is there, else something like it is made.

#![allow(dead_code, clippy::cast_possible_truncation, reason = "every bench uses a part; numbers are cut on purpose")]

use std::sync::Arc;

use imgcore::{Blob, ReadAt};
use rawimg::Extents;

/// Size of the whole image.
pub(crate) const SIZE: u64 = 1246 << 20;
/// Size of the part that does not shrink.
pub(crate) const RANDOM: usize = 66 << 20;

/// Random bytes that are the same in every run (splitmix64).
pub(crate) fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The kernel of the reference, or bytes that shrink about as much.
pub(crate) fn kernel() -> Vec<u8> {
    let real = testkit::reference().map(|folder| folder.join("in/vmlinuz")).filter(|path| path.exists());
    match real {
        Some(path) => testkit::read(path),
        None => code(31_000_000),
    }
}

/// Words of a vocabulary in a skewed distribution, as instructions are.
fn code(len: usize) -> Vec<u8> {
    let vocabulary = noise(4 * 4096, 7);
    let rolls = noise(len / 2 + 16, 8);
    let mut bytes = Vec::with_capacity(len + 4);
    for roll in rolls.as_chunks::<8>().0 {
        let roll = u64::from_le_bytes(*roll);
        for part in [roll, roll >> 12, roll >> 24, roll >> 36] {
            let word = (part & 0xFFF) as usize >> (part >> 48 & 7);
            bytes.extend_from_slice(&vocabulary[word * 4..word * 4 + 4]);
        }
    }
    bytes.truncate(len);
    bytes
}

/// Other images: what an image may hold at worst and at best.
pub(crate) const OTHERS: [&str; 4] =
    ["kernel three times", "random 97 MiB", "zeros and random by 4 KiB", "usual in 16 GiB"];

/// The payload of one of [`OTHERS`] or of the usual image.
pub(crate) fn payload(kind: &str) -> Vec<u8> {
    match kind {
        "kernel three times" => kernel().repeat(3),
        "random 97 MiB" => noise(97 << 20, 1),
        "zeros and random by 4 KiB" => {
            let mut bytes = noise(97 << 20, 1);
            bytes.chunks_mut(8192).for_each(|pair| pair[..4096].fill(0));
            bytes
        }
        _ => [kernel(), noise(RANDOM, 1)].concat(),
    }
}

/// An image by its kind.
pub(crate) fn image_of(kind: &str, payload: &Arc<dyn ReadAt>) -> Extents {
    let (size, content) = match kind {
        "usual in 16 GiB" => (16 << 30, image(payload).into()),
        kind if OTHERS.contains(&kind) => (payload.size(), Blob::new(kind, Arc::clone(payload), None).into()),
        _ => return image(payload),
    };
    let mut whole = Extents::new(size);
    whole.insert(0, "all", content).expect("no overlap");
    whole
}

/// The image over a place where the payload lies: first the kernel, then the random bytes.
pub(crate) fn image(payload: &Arc<dyn ReadAt>) -> Extents {
    let all = Blob::new("payload", Arc::clone(payload), None);
    let kernel = payload.size() - RANDOM as u64;
    let mut image = Extents::new(SIZE);
    let table: Vec<u8> = (0..512 * 33_u32).map(|n| if n % 128 < 56 { (n * 7 % 251) as u8 } else { 0 }).collect();
    let fat: Vec<u8> = (2_u32..60_000).flat_map(u32::to_le_bytes).collect();
    let random = kernel..payload.size();
    for (offset, label, content) in [
        (512, "GPT", table.clone().into()),
        (32_768, "idbloader", all.slice(random.start..random.start + 190_000).into()),
        (8 << 20, "u-boot", all.slice(3 << 20..4 << 20).into()),
        (17 << 20, "FAT", fat.into()),
        (19 << 20, "kernel", all.slice(0..kernel).into()),
        ((19 << 20) + kernel.next_multiple_of(4096), "initramfs", all.slice(random).into()),
        (SIZE - 512 * 33, "backup GPT", table.into()),
    ] {
        image.insert(offset, label, content).expect("no overlap");
    }
    image
}
