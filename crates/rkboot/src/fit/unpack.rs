//! Compressed data of images, unpacked within bounds.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// What unpacking gave.
#[cfg_attr(not(feature = "codecs"), expect(dead_code, reason = "without decoders nothing is unpacked"))]
#[derive(Debug)]
pub(super) enum Unpacked {
    /// All of it.
    Data(Vec<u8>),
    /// It is damaged, in the decoder's words.
    Damaged(String),
    /// It is longer than allowed.
    TooLong,
    /// Compression of that name is not read here, or this crate was built without the feature `codecs`.
    NotRead,
}

/// The names that U-Boot gives to what is read here: `gzip`, `lzma` (the format of `lzma_alone`), `zstd`.
///
/// SPLs can have gzip and lzma only; bzip2, lzo and lz4 are for kernels.
#[cfg(feature = "codecs")]
pub(super) fn unpack(compression: &str, data: &[u8], limit: u64) -> Unpacked {
    /// The decoder's own memory: a dictionary of 64 MiB, which no boot loader has room for.
    const MEMORY: u64 = 80 * 1024 * 1024;
    match compression {
        // U-Boot reads one member and leaves what follows it.
        "gzip" => read(flate2::bufread::GzDecoder::new(data), limit),
        "lzma" => match liblzma::stream::Stream::new_lzma_decoder(MEMORY) {
            Ok(stream) => read(liblzma::bufread::XzDecoder::new_stream(data, stream), limit),
            Err(error) => Unpacked::Damaged(error.to_string()),
        },
        "zstd" => match zstd::stream::read::Decoder::with_buffer(data) {
            Ok(mut decoder) => match decoder.window_log_max(26) {
                Ok(()) => read(decoder.single_frame(), limit),
                Err(error) => Unpacked::Damaged(error.to_string()),
            },
            Err(error) => Unpacked::Damaged(error.to_string()),
        },
        _ => Unpacked::NotRead,
    }
}

#[cfg(feature = "codecs")]
fn read(decoder: impl std::io::Read, limit: u64) -> Unpacked {
    use std::io::Read as _;
    let mut data = Vec::new();
    match decoder.take(limit.saturating_add(1)).read_to_end(&mut data) {
        Ok(size) if size as u64 > limit => Unpacked::TooLong,
        Ok(_) => Unpacked::Data(data),
        Err(error) => Unpacked::Damaged(error.to_string()),
    }
}

/// Nothing is read without the feature `codecs`.
#[cfg(not(feature = "codecs"))]
pub(super) fn unpack(_: &str, _: &[u8], _: u64) -> Unpacked {
    Unpacked::NotRead
}
