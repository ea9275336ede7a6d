//! A small boot picture of ours, drawn by this code: a chip with its pins. Talos' own picture is under another licence,
//! so it is never shipped; a base that has one is used instead.
//!
//! ```
//! let picture = talosimg::splash::picture();
//! assert_eq!(&picture[..2], b"BM");
//! assert_eq!(picture.len(), 14 + 40 + 4 * 4 + 160 * 96);
//! ```

/// Width in pixels, a multiple of four, so that rows need no padding.
const WIDTH: u32 = 160;
/// Height in pixels.
const HEIGHT: u32 = 96;
const COLOURS: u32 = 4;
/// Blue, green, red, unused: background, pins, body, mark.
const PALETTE: [[u8; 4]; COLOURS as usize] =
    [[0x00, 0x00, 0x00, 0], [0x9a, 0x9a, 0x9a, 0], [0x30, 0x30, 0x30, 0], [0x27, 0x8a, 0xf2, 0]];
/// File header and the information header of Windows 3.
const HEADERS: u32 = 14 + 40;

/// The picture as an uncompressed BMP with eight bits per pixel and four colours, which systemd's stub can show.
pub fn picture() -> Vec<u8> {
    let offset = HEADERS + 4 * COLOURS;
    let pixels = WIDTH * HEIGHT;
    let mut bmp = b"BM".to_vec();
    // size, reserved, offset of the pixels; header size, width, height (positive: rows from the bottom up)
    let mut words = vec![offset + pixels, 0, offset, 40, WIDTH, HEIGHT];
    words.push(8 << 16 | 1); // one plane, eight bits
    // no compression, bytes of pixels, 72 dpi both ways, colours used, all important
    words.extend([0, pixels, 2835, 2835, COLOURS, 0]);
    bmp.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bmp.extend(PALETTE.as_flattened());
    for y in (0..HEIGHT).rev() {
        bmp.extend((0..WIDTH).map(|x| pixel(x, y)));
    }
    bmp
}

/// The palette index of a pixel, counted from the top left.
fn pixel(x: u32, y: u32) -> u8 {
    const BODY: u32 = 28; // half the side of the chip
    const PIN: u32 = 8; // length of a pin, and the distance from one to the next
    let (dx, dy) = (x.abs_diff(WIDTH / 2), y.abs_diff(HEIGHT / 2));
    let (near, far) = (dx.min(dy), dx.max(dy));
    let corner_cut = dx + dy > 2 * BODY - 4;
    if far <= BODY && !corner_cut {
        // a ring in the middle
        return if (100..=225).contains(&(dx * dx + dy * dy)) { 3 } else { 2 };
    }
    let on_pin = near <= BODY - PIN / 2 && near % PIN < PIN / 2;
    u8::from(far > BODY && far <= BODY + PIN && on_pin)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn headers_add_up() {
        let bmp = picture();
        let word = |at: usize| u32::from_le_bytes(bmp[at..at + 4].try_into().unwrap());
        assert_eq!(word(2) as usize, bmp.len());
        assert_eq!((word(14), word(18), word(22), word(26)), (40, WIDTH, HEIGHT, 0x0008_0001));
        assert_eq!(word(10) + word(34), word(2));
        assert!(bmp[word(10) as usize..].iter().all(|index| usize::from(*index) < PALETTE.len()));
    }

    #[test]
    fn all_colours_are_used_and_the_picture_is_symmetric() {
        let mut counts = [0; PALETTE.len()];
        for y in 1..HEIGHT {
            for x in 1..WIDTH {
                counts[usize::from(pixel(x, y))] += 1;
                assert_eq!(pixel(x, y), pixel(WIDTH - x, HEIGHT - y));
            }
        }
        assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
    }

    #[test]
    fn others_take_it_for_a_bmp() {
        let Some(file) = testkit::tool("file") else { return };
        let mut picture_file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut picture_file, &picture()).unwrap();
        let words = testkit::run(Command::new(file).arg("--brief").arg(picture_file.path()));
        assert!(words.starts_with("PC bitmap, Windows 3.x format, 160 x 96 x 8"), "{words}");
    }
}
