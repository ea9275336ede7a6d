//! A kernel of our own that starts nothing, for demonstrations and tests.

/// A file with the header of an arm64 `Image` (`Documentation/arch/arm64/booting.rst`) and the banner of `release`; it
/// holds no code. It stands in for a kernel where no real one is at hand.
pub fn sample_image(release: &str) -> Vec<u8> {
    let mut image = vec![0; 64];
    // `ccmp x18, #0, #0xd, pl`, which spells MZ, as in a kernel with an EFI stub; then a branch to itself.
    image.splice(0..4, 0xfa40_5a4d_u32.to_le_bytes());
    image.splice(4..8, 0x1400_0000_u32.to_le_bytes());
    image.splice(24..32, 0xa_u64.to_le_bytes()); // 4 KiB pages, placed anywhere
    image.splice(56..60, *b"ARM\x64");
    image.resize(4096, 0);
    image.extend_from_slice(format!("Linux version {release} (talos-rk) (no compiler) #1 sample\n\0").as_bytes());
    image.resize(image.len().next_multiple_of(512), 0);
    let size = image.len() as u64;
    image.splice(16..24, size.to_le_bytes());
    image
}
