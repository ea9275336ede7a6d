//! For which machines programs are, by their ELF headers.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

use crate::{
    Platform,
    read::findings::{Findings, quote},
    rules,
};

/// Bytes of a file that tell.
pub(super) const HEADER: usize = 20;

/// Machines of the executables of an image, each with one of them.
pub(super) type Machines = BTreeMap<u16, String>;

/// `e_machine` of an ELF file that can be started.
pub(super) fn of(header: &[u8]) -> Option<u16> {
    let header: &[u8; HEADER] = header.first_chunk()?;
    let [0x7f, b'E', b'L', b'F', _, order, .., k0, k1, m0, m1] = *header else { return None };
    let number = |bytes| if order == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    // ET_EXEC and ET_DYN.
    matches!(number([k0, k1]), 2 | 3).then(|| number([m0, m1]))
}

/// What machines of an architecture start; `None` if nobody here knows it.
fn starts(architecture: &str) -> Option<&'static [u16]> {
    Some(match architecture {
        // 32-bit programs of their own family run on most.
        "amd64" => &[62, 3],
        "arm64" => &[183, 40],
        "386" => &[3],
        "arm" => &[40],
        "riscv64" => &[243],
        "ppc64le" | "ppc64" => &[21, 20],
        "s390x" => &[22],
        "loong64" => &[258],
        "mips" | "mipsle" | "mips64" | "mips64le" => &[8],
        _ => return None,
    })
}

/// Whether a machine of this platform certainly cannot start the program.
pub(super) fn refuses(platform: &Platform, machine: u16) -> bool {
    starts(&platform.architecture).is_some_and(|machines| !machines.contains(&machine))
}

pub(super) fn name(machine: u16) -> String {
    let known = match machine {
        3 => "386",
        8 => "mips",
        20 | 21 => "ppc64",
        22 => "s390x",
        40 => "arm",
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        258 => "loong64",
        _ => return format!("ELF machine {machine}"),
    };
    known.to_owned()
}

/// Finds images that hold nothing but the programs of another one.
pub(super) fn compare(images: &[(Option<Platform>, Machines)], findings: &mut Findings) {
    for (platform, machines) in images {
        let Some(own) = platform else { continue };
        if machines.is_empty() || !machines.keys().all(|machine| refuses(own, *machine)) {
            continue;
        }
        let theirs = images.iter().filter_map(|(platform, _)| platform.as_ref()).find(|other| {
            *other != own
                && starts(&other.architecture).is_some()
                && machines.keys().all(|machine| !refuses(other, *machine))
        });
        if let (Some(theirs), Some((machine, path))) = (theirs, machines.first_key_value()) {
            let (path, machine) = (quote(path.as_bytes()), name(*machine));
            let message = format!("every program is for the machines of {theirs}: {path} is for {machine}");
            findings.add(rules::finding(rules::OTHER_MACHINE, message).of(own.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_machine() {
        let header = |order: u8, rest: [u8; 4]| {
            [&[0x7f, b'E', b'L', b'F', 2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &rest].concat()
        };
        for (bytes, expected) in [
            (header(1, [2, 0, 183, 0]), Some(183)),
            (header(1, [3, 0, 62, 0]), Some(62)),
            (header(2, [0, 2, 0, 22]), Some(22)),
            // An object file, as kernel modules are, is started nowhere.
            (header(1, [1, 0, 183, 0]), None),
            (b"#!/bin/sh\necho hello world".to_vec(), None),
            (vec![0x7f, b'E', b'L', b'F'], None),
        ] {
            assert_eq!(of(&bytes), expected);
        }
        let platform = |architecture| Platform::new("linux", architecture);
        assert!(refuses(&platform("arm64"), 62) && !refuses(&platform("amd64"), 3));
        assert!(!refuses(&platform("unheard"), 62));
    }
}
