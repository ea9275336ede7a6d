//! The bytes of files, taken out of the layers as they stream by.
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
};

use imgcore::Blob;

use super::{
    Compression, ImageView, Node, NodeKind, Tree,
    walk::{Budget, Failure, Marked, Next, walk},
};
use crate::{Error, ErrorKind};

/// Files that are wanted, by where their bytes are: layer, then offset.
type Wanted<'a> = BTreeMap<usize, BTreeMap<u64, Vec<&'a str>>>;

impl ImageView {
    /// Hands the bytes of some files to `sink`, each with its path as given and its size. Links are followed. Each layer
    /// that holds one of them is read once, up to the last of them; files come in the order of the layers.
    ///
    /// # Errors
    /// A path that is not there or no file, a damaged layer, or whatever `sink` answers.
    pub fn extract(
        &self,
        tree: &Tree,
        paths: &[&str],
        sink: &mut dyn FnMut(&str, u64, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut wanted: Wanted<'_> = BTreeMap::new();
        for path in paths {
            let (layer, offset) = place(tree, path)?;
            wanted.entry(layer).or_default().entry(offset).or_default().push(path);
        }
        for (layer, mut files) in wanted {
            // Hard links share bytes, and bytes stream by once: another pass for each further name.
            while !files.is_empty() {
                let now =
                    files.iter_mut().filter_map(|(offset, names)| names.pop().map(|name| (*offset, name))).collect();
                self.pass(layer, now, sink)?;
                files.retain(|_, names| !names.is_empty());
            }
        }
        Ok(())
    }

    /// The bytes of one file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`extract`](Self::extract), and when the file is larger.
    pub fn read_file(&self, tree: &Tree, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        if let (_, Node { kind: NodeKind::File { size, .. }, .. }) = tree.resolve(path)?
            && *size > limit
        {
            return Err(ErrorKind::TooLarge { path: path.to_owned(), size: *size, limit }.into());
        }
        let mut bytes = Vec::new();
        self.extract(tree, &[path], &mut |_, _, data| data.read_to_end(&mut bytes).map(drop))?;
        Ok(bytes)
    }

    /// The bytes of one file without reading anything, which works in layers that are not compressed.
    pub fn file_blob(&self, tree: &Tree, path: &str) -> Option<Blob> {
        let (path, node) = tree.resolve(path).ok()?;
        let NodeKind::File { size, offset, source, .. } = node.kind else { return None };
        let layer = self.layers.get(source).filter(|layer| layer.compression == Compression::None)?;
        Some(layer.data.as_ref()?.slice(offset..offset.saturating_add(size)).with_label(path))
    }

    fn pass(
        &self,
        layer: usize,
        mut wanted: BTreeMap<u64, &str>,
        sink: &mut dyn FnMut(&str, u64, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), Error> {
        let Some(view) = self.layers.get(layer) else { return Ok(()) };
        let mut at = String::new();
        let walked = walk(view, &self.options.limits, &mut Budget::default(), &mut |header, data| {
            if let Some(path) = wanted.remove(&header.data) {
                path.clone_into(&mut at);
                sink(path, header.size, &mut Marked(data))?;
            }
            Ok(if wanted.is_empty() { Next::Stop } else { Next::Go })
        });
        let damaged = |problem: String| {
            let path = wanted.values().next().map_or_else(|| at.clone(), ToString::to_string);
            Err(ErrorKind::Damaged { path, layer: view.digest.to_string(), problem }.into())
        };
        match walked {
            Err(Failure::Stopped) => Ok(()),
            Ok(_) => damaged("an entry that was there is gone: the file changed while it was read".to_owned()),
            Err(Failure::Bomb(bomb)) => damaged(bomb.to_string()),
            Err(Failure::Tar { offset, problem }) => damaged(format!("{problem} (byte {offset} of its tar)")),
            Err(Failure::Compressed(error)) => damaged(error.to_string()),
            Err(Failure::Visitor(source)) => Err(ErrorKind::Write { source }.into()),
        }
    }
}

fn place(tree: &Tree, path: &str) -> Result<(usize, u64), Error> {
    let (_, node) = tree.resolve(path)?;
    match &node.kind {
        NodeKind::File { source, offset, .. } => Ok((*source, *offset)),
        kind => Err(ErrorKind::NotAFile { path: path.to_owned(), found: kind.name() }.into()),
    }
}
