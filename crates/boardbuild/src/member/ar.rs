//! The `ar` archive that a Debian package is (deb(5)): `debian-binary`, `control.tar.*`, `data.tar.*`.

use imgcore::{Blob, ReadAt as _};

use super::{fault::Fault, names};

/// First bytes of an `ar` archive.
pub(super) const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// A package has three members; some have a signature or two.
const MEMBERS: usize = 64;

/// The tar, compressed or not, with the files of a package.
pub(super) fn data(package: &Blob) -> Result<Blob, Fault> {
    let mut at = MAGIC.len() as u64;
    let (mut first, mut data) = (true, None);
    for _ in 0..MEMBERS {
        if at >= package.size() {
            return data.ok_or_else(|| Fault::damaged("a Debian package without data.tar"));
        }
        let mut header = [0; HEADER];
        let cut = || Fault::damaged(format!("truncated: the package ends inside the member at byte {at}"));
        if package.size().saturating_sub(at) < HEADER as u64 {
            return Err(cut());
        }
        package.read_exact_at(at, &mut header).map_err(Fault::from_io)?;
        let field = |start: usize, end: usize| header.get(start..end).unwrap_or_default().trim_ascii_end();
        if field(58, 60) != b"`" {
            return Err(Fault::damaged(format!("no `ar` member at byte {at}")));
        }
        let size =
            std::str::from_utf8(field(48, 58)).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let size: u64 = size
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Fault::damaged(format!("the size of the `ar` member at byte {at} is no number")))?;
        let start = at.saturating_add(HEADER as u64);
        let end = start.checked_add(size).filter(|end| *end <= package.size()).ok_or_else(cut)?;
        let name = field(0, 16);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        if first {
            check_version(name, &package.slice(start..end))?;
        } else if name == b"data.tar" || name.starts_with(b"data.tar.") {
            if data.is_some() {
                return Err(Fault::hostile(name, "is there twice: a package has one data.tar"));
            }
            data = Some(package.slice(start..end).with_label(names::shown(name)));
        }
        first = false;
        at = end.saturating_add(size & 1);
    }
    Err(Fault::damaged(format!("a Debian package with more than {MEMBERS} members")))
}

/// The first member says the format's version: `2.0` and a line feed, or a later minor version.
fn check_version(name: &[u8], member: &Blob) -> Result<(), Fault> {
    if name != b"debian-binary" {
        return Err(Fault::damaged(format!(
            "an `ar` archive that is no Debian package: it begins with {}, not with debian-binary",
            names::shown(name)
        )));
    }
    let text = member.read_all(64).map_err(|_| Fault::damaged("debian-binary is longer than a version"))?;
    if !text.starts_with(b"2.") {
        return Err(Fault::damaged(format!("a Debian package of version {}, expected 2", names::shown(&text))));
    }
    Ok(())
}
