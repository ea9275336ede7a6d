//! The members of an archive, by name, without reading their data.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::BTreeMap,
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use imgcore::{Blob, Digest, ReadAt};

use super::{
    Limits,
    findings::{Findings, quote},
    paths,
    tar::{EntryKind, Forward, Header, TarError, TarReader},
};
use crate::{BlobSource, rules};

/// Links between members; Docker's old archives have them between layers.
const LINK_LIMIT: usize = 8;

#[derive(Debug, Clone)]
enum Member {
    File(Range<u64>),
    Dir,
    Link(String),
}

/// The members of an archive.
pub(super) struct Members {
    data: Arc<dyn ReadAt>,
    members: BTreeMap<String, Member>,
}

/// Reads forward and passes over data without reading it.
struct Skipping {
    data: Arc<dyn ReadAt>,
    position: u64,
}

impl Read for Skipping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read_at(self.position, buffer)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Forward for Skipping {
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let left = self.data.size().saturating_sub(self.position);
        let skipped = count.min(left);
        self.position = self.position.saturating_add(skipped);
        Ok(skipped)
    }
}

impl Members {
    /// Lists the archive. `None` if not even its first header can be read.
    pub(super) fn list(data: Arc<dyn ReadAt>, limits: &Limits, findings: &mut Findings) -> Option<Self> {
        let mut members = Self { data: Arc::clone(&data), members: BTreeMap::new() };
        let mut reader = TarReader::new(Skipping { data, position: 0 });
        let mut count = 0_u64;
        loop {
            let header = match reader.next_entry() {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => {
                    stopped(error, members.data.size(), findings);
                    return (count > 0).then_some(members);
                }
            };
            count = count.saturating_add(1);
            if count > limits.members {
                let message = format!("{} is behind the {} members that are read", quote(&header.name), limits.members);
                findings.add(rules::finding(rules::MEMBER_COUNT, message).at(range(&header)));
                return Some(members);
            }
            members.add(&header, findings);
        }
        if count > 0 && !reader.end_marked() {
            findings.say(rules::UNENDED, "the archive has no end mark: it may be cut off");
        }
        Some(members)
    }

    fn add(&mut self, header: &Header, findings: &mut Findings) {
        let shown = quote(&header.name);
        let mut say = |code, message| findings.add(rules::finding(code, message).at(range(header)));
        let name = match paths::clean(&header.name) {
            Ok(name) if name.is_empty() => return,
            Ok(name) => name,
            Err((_, problem)) => return say(rules::MEMBER_NAME, format!("member {shown}: its name {problem}")),
        };
        let member = match header.kind {
            EntryKind::Dir => Member::Dir,
            EntryKind::File => {
                let end = header.data.saturating_add(header.size);
                if end > self.data.size() {
                    let (size, left) = (header.size, self.data.size().saturating_sub(header.data));
                    return say(rules::CUT, format!("member {shown} has {size} bytes, only {left} are there"));
                }
                Member::File(header.data..end)
            }
            EntryKind::Symlink | EntryKind::HardLink => {
                let target = std::str::from_utf8(&header.target).ok().and_then(|target| match header.kind {
                    EntryKind::HardLink => paths::clean(&header.target).ok(),
                    _ if target.starts_with('/') => None,
                    _ => paths::follow(&name, target),
                });
                let Some(target) = target else {
                    let target = quote(&header.target);
                    return say(rules::MEMBER_KIND, format!("member {shown} links to {target}, outside the archive"));
                };
                Member::Link(target)
            }
            EntryKind::Other(kind) => {
                return say(rules::MEMBER_KIND, format!("member {shown} has type {:?}", char::from(kind)));
            }
        };
        if matches!(member, Member::Dir) && matches!(self.members.get(&name), Some(Member::Dir)) {
            return;
        }
        if self.members.contains_key(&name) {
            return say(rules::MEMBER_TWICE, format!("member {shown} is there twice; the first one is read"));
        }
        self.members.insert(name, member);
    }

    /// Where a member's bytes are, links followed.
    pub(super) fn range(&self, name: &str) -> Option<Range<u64>> {
        let mut name = name;
        for _ in 0..=LINK_LIMIT {
            match self.members.get(name)? {
                Member::File(range) => return Some(range.clone()),
                Member::Dir => return None,
                Member::Link(target) => name = target,
            }
        }
        None
    }

    /// A member's bytes.
    pub(super) fn blob(&self, name: &str) -> Option<Blob> {
        let range = self.range(name)?;
        Some(Blob::new(name, Arc::clone(&self.data), None).slice(range))
    }

    /// Members below `blobs/sha256`, by the digest that is their name.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (Digest, Range<u64>)> {
        self.members.iter().filter_map(|(name, member)| {
            let hex = name.strip_prefix("blobs/sha256/")?;
            let digest: Digest = hex.parse().ok().filter(|digest: &Digest| digest.hex() == hex)?;
            match member {
                Member::File(range) => Some((digest, range.clone())),
                _ => None,
            }
        })
    }
}

impl BlobSource for Members {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        Ok(self.blob(&format!("blobs/sha256/{}", digest.hex())))
    }
}

fn range(header: &Header) -> Range<u64> {
    header.offset..header.data.saturating_add(header.size)
}

fn stopped(error: TarError, size: u64, findings: &mut Findings) {
    match error {
        TarError::Cut { offset } => {
            let message = format!("the archive ends at byte {size}, inside an entry");
            findings.add(rules::finding(rules::CUT, message).at(offset..size.max(offset)).help("copy it again"));
        }
        TarError::Damaged { offset, problem } => {
            let range = offset..offset.saturating_add(512);
            findings.add(rules::finding(rules::TAR, format!("{problem}; nothing behind it is read")).at(range));
        }
        TarError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            findings.say(rules::CUT, format!("the archive ends at byte {size}, inside an entry"));
        }
        TarError::Io(error) => findings.say(rules::MEDIUM, error.to_string()),
    }
}
