//! Links inside an archive, followed inside it.

use std::collections::{BTreeMap, VecDeque};

use super::{fault::Fault, names};

/// Links that are followed from one name.
const FOLLOWED: usize = 8;
/// Bytes of names and targets that are kept of one archive.
const KEPT: usize = 16 << 20;

#[derive(Debug, Clone)]
enum Link {
    Symbolic(Vec<u8>),
    Hard(Vec<u8>),
}

/// Links by name.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<Vec<u8>, Link>,
    kept: usize,
}

impl Links {
    pub(super) fn symbolic(&mut self, name: &[u8], target: &[u8]) -> Result<(), Fault> {
        self.add(name, Link::Symbolic(target.to_vec()), target.len())
    }

    /// `target` is the name of an entry, read by the rules of names.
    pub(super) fn hard(&mut self, name: &[u8], target: &[u8]) -> Result<(), Fault> {
        let target =
            names::clean(target).map_err(|_| Fault::hostile(name, "is a hard link that leaves the archive"))?;
        let length = target.len();
        self.add(name, Link::Hard(target), length)
    }

    fn add(&mut self, name: &[u8], link: Link, length: usize) -> Result<(), Fault> {
        self.kept = self.kept.saturating_add(name.len()).saturating_add(length).saturating_add(64);
        if self.kept > KEPT {
            return Err(Fault::hostile(name, "is one link too many: their names fill 16 MiB"));
        }
        self.links.insert(name.to_vec(), link);
        Ok(())
    }

    /// Refuses an entry that lies behind a symbolic link: unpacked, it would land elsewhere.
    pub(super) fn check_above(&self, name: &[u8]) -> Result<(), Fault> {
        if self.links.is_empty() {
            return Ok(());
        }
        match names::parents(name).find(|parent| matches!(self.links.get(*parent), Some(Link::Symbolic(_)))) {
            Some(_) => Err(Fault::hostile(name, "lies behind a symbolic link of the same archive")),
            None => Ok(()),
        }
    }

    /// Where a name leads; itself if it is no link and lies behind none.
    pub(super) fn resolve(&self, name: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut open: VecDeque<Vec<u8>> = name.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        let mut path: Vec<u8> = Vec::new();
        let mut followed = 0_usize;
        let mut follow = || {
            followed = followed.saturating_add(1);
            if followed > FOLLOWED { Err(Fault::hostile(name, "leads through more than 8 links")) } else { Ok(()) }
        };
        while let Some(part) = open.pop_front() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if path.is_empty() {
                        return Err(Fault::hostile(name, "leads out of the archive"));
                    }
                    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    path.truncate(end);
                    continue;
                }
                _ => {}
            }
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&part);
            match self.links.get(&path) {
                None => {}
                Some(Link::Symbolic(target)) => {
                    follow()?;
                    path.truncate(if target.starts_with(b"/") { 0 } else { length });
                    for part in target.rsplit(|byte| *byte == b'/') {
                        open.push_front(part.to_vec());
                    }
                }
                Some(Link::Hard(target)) => {
                    follow()?;
                    path.clear();
                    for part in target.rsplit(|byte| *byte == b'/') {
                        open.push_front(part.to_vec());
                    }
                }
            }
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn links_are_followed_inside_the_archive() {
        let mut links = Links::default();
        for (name, target) in
            [("boot/latest", "6.1"), ("vmlinuz", "/boot/latest/vmlinuz"), ("a", "b"), ("b", "a"), ("out", "../../x")]
        {
            links.symbolic(name.as_bytes(), target.as_bytes()).unwrap();
        }
        links.hard(b"copy", b"./boot/6.1/vmlinuz").unwrap();
        for (name, expected) in [
            ("boot/6.1/vmlinuz", Some("boot/6.1/vmlinuz")),
            ("boot/latest/vmlinuz", Some("boot/6.1/vmlinuz")),
            ("vmlinuz", Some("boot/6.1/vmlinuz")),
            ("copy", Some("boot/6.1/vmlinuz")),
            ("a", None),
            ("out", None),
        ] {
            assert_eq!(links.resolve(name.as_bytes()).ok(), expected.map(|text| text.as_bytes().to_vec()), "{name}");
        }
        assert!(links.hard(b"bad", b"../x").is_err());
        assert!(links.check_above(b"boot/latest/x").is_err() && links.check_above(b"boot/6.1/x").is_ok());
    }
}
