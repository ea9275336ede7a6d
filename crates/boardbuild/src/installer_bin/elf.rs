//! Whether a file is an executable that runs on a bare kernel of an architecture: no interpreter, no shared library.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::Arch;

/// `e_machine` (System V ABI; Arm: ELF for the Arm 64-bit Architecture, 5.1).
const MACHINES: [(u64, &str); 5] =
    [(183, "arm64"), (62, "amd64"), (40, "32-bit Arm"), (3, "32-bit x86"), (243, "RISC-V")];

/// `Err` says in words what the file is instead.
pub(super) fn check(bytes: &[u8], arch: Arch) -> Result<(), String> {
    let expected = format!("expected a static {arch} Linux executable");
    let refuse = |found: &str| Err(format!("{found}, {expected}"));
    if bytes.get(..4) != Some(b"\x7fELF") {
        return refuse("is no ELF file");
    }
    // Class 2 is 64-bit, data 1 is little-endian.
    if bytes.get(4..6) != Some(&[2, 1]) {
        return refuse("is no 64-bit little-endian ELF file");
    }
    let (Some(kind), Some(machine)) = (field(bytes, 16, 2), field(bytes, 18, 2)) else {
        return refuse("is cut off in its header");
    };
    let name = MACHINES.iter().find(|(number, _)| *number == machine).map_or("another machine", |(_, name)| *name);
    if name != arch.oci() {
        return refuse(&format!("is for {name}"));
    }
    // ET_EXEC, or ET_DYN as a position-independent executable.
    if !matches!(kind, 2 | 3) {
        return refuse("is no executable but an object file");
    }
    let table = (field(bytes, 32, 8), field(bytes, 54, 2), field(bytes, 56, 2));
    let (Some(table), Some(size), Some(count)) = table else { return refuse("is cut off in its header") };
    for index in 0..count {
        let entry = size.checked_mul(index).and_then(|offset| offset.checked_add(table));
        let Some(header) = entry.and_then(|entry| part(bytes, entry, 56)) else {
            return refuse("is cut off in its program headers");
        };
        match field(header, 0, 4) {
            Some(PT_INTERP) => return refuse("is dynamically linked (it names an interpreter)"),
            Some(PT_DYNAMIC) => {
                let place = (field(header, 8, 8), field(header, 32, 8));
                let (Some(offset), Some(length)) = place else { return refuse("is cut off in its program headers") };
                let Some(dynamic) = part(bytes, offset, length) else {
                    return refuse("is cut off in its dynamic section");
                };
                if dynamic.chunks_exact(16).any(|entry| field(entry, 0, 8) == Some(DT_NEEDED)) {
                    return refuse("is dynamically linked (it needs a shared library)");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;

fn part(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// A little-endian number of `width` bytes.
fn field(bytes: &[u8], offset: u64, width: u64) -> Option<u64> {
    let digits = part(bytes, offset, width)?;
    Some(digits.iter().rev().fold(0, |value: u64, byte| value.wrapping_shl(8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, one program header of `kind`, and a dynamic section with one entry of `tag`.
    fn elf(machine: u16, kind: u16, header: u32, tag: u64) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&machine.to_le_bytes());
        bytes.resize(32, 0);
        bytes.extend_from_slice(&64_u64.to_le_bytes());
        bytes.resize(54, 0);
        bytes.extend_from_slice(&56_u16.to_le_bytes());
        bytes.extend_from_slice(&1_u16.to_le_bytes());
        bytes.resize(64, 0);
        bytes.extend_from_slice(&header.to_le_bytes());
        bytes.resize(72, 0);
        bytes.extend_from_slice(&120_u64.to_le_bytes());
        bytes.resize(96, 0);
        bytes.extend_from_slice(&16_u64.to_le_bytes());
        bytes.resize(120, 0);
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.resize(136, 0);
        bytes
    }

    #[test]
    fn only_static_executables_of_the_architecture_pass() {
        let table: &[(Vec<u8>, Result<(), &str>)] = &[
            (elf(183, 2, 1, 0), Ok(())),
            (elf(183, 3, 2, 0x1e), Ok(())),
            (elf(62, 2, 1, 0), Err("is for amd64, expected a static arm64 Linux executable")),
            (elf(9999, 2, 1, 0), Err("is for another machine")),
            (elf(183, 1, 1, 0), Err("object file")),
            (elf(183, 3, 3, 0), Err("names an interpreter")),
            (elf(183, 3, 2, 1), Err("needs a shared library")),
            (elf(183, 3, 2, 1)[..125].to_vec(), Err("cut off in its dynamic section")),
            (elf(183, 2, 1, 0)[..100].to_vec(), Err("cut off in its program headers")),
            (elf(183, 2, 1, 0)[..40].to_vec(), Err("cut off in its header")),
            (b"#!/bin/sh\n".to_vec(), Err("is no ELF file")),
            (b"\x7fELF\x01\x01".to_vec(), Err("no 64-bit")),
            (Vec::new(), Err("is no ELF file")),
        ];
        for (bytes, expected) in table {
            match (check(bytes, Arch::Aarch64), expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(part)) => assert!(found.contains(part), "{part}: {found}"),
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
        }
        assert_eq!(check(&elf(62, 2, 1, 0), Arch::X86_64), Ok(()));
    }

    #[test]
    fn no_damage_stops_the_check() {
        testkit::mutants(11, 10_000, &elf(183, 3, 2, 0), |bytes| drop(check(bytes, Arch::Aarch64)));
    }
}
