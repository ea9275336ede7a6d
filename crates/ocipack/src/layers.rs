//! What each layer does: which files it adds, replaces and hides, and what they cost.
//!
//! ```
//! use std::sync::Arc;
//! use imgcore::{Blob, Epoch};
//! use ocipack::{Entry, Image, Platform, archive, layer, layers};
//!
//! let layer = layer::build(&[Entry::file("hello", 0o644, Blob::from_bytes("hello", *b"hello"))], Epoch(0))?;
//! let mut image = Image::new(Platform::new("linux", "arm64"), vec![layer], Epoch(0));
//! image.history = vec!["a greeting".to_owned()];
//! let mut file = Vec::new();
//! archive::plan(&[image], &archive::Options::default())?.write_to(&mut file)?;
//!
//! let (view, _) = ocipack::read::open(Arc::new(file));
//! let (layers, report) = layers::of(&view.ok_or("no image")?);
//! assert!(report.is_empty());
//! assert_eq!(layers.images[0].layers[0].created_by.as_deref(), Some("a greeting"));
//! assert_eq!(layers.images[0].layers[0].added.files, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{collections::BTreeMap, fmt};

use imgcore::{ByteSize, Digest, Fact, Report};
use serde::{Deserialize, Serialize};

use crate::{
    read::{ArchiveView, Change, ImageView, Node, NodeKind, Role},
    summary::{Plain, name_of},
};

/// Changes of one layer that are printed for people.
const SHOWN: usize = 200;

/// The layers of all images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layers {
    /// The images in the order of the index.
    pub images: Vec<ImageLayers>,
}

/// The layers of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageLayers {
    /// `linux/arm64`; for what has no platform `image`; numbered from the second one of a name on.
    pub name: String,
    /// The lowest first.
    pub layers: Vec<LayerChanges>,
}

/// What one layer does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerChanges {
    /// Digest of the stored bytes.
    pub digest: Digest,
    /// Count of the stored bytes.
    pub size: u64,
    /// `tar`, `gzip` or `zstd`.
    pub compression: String,
    /// What made it, as the history has it.
    pub created_by: Option<String>,
    /// Files that were not there.
    pub added: Count,
    /// Files that lie over those of lower layers.
    pub replaced: Count,
    /// Files of lower layers that nobody sees any more: deleted or replaced. They are carried all the same.
    pub hidden: Count,
    /// Every change, sorted by path.
    pub changes: Vec<ChangeSummary>,
    #[serde(skip)]
    offset: u64,
}

/// Files and their bytes; folders and links do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Count {
    /// How many.
    pub files: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeSummary {
    /// `add`, `replace` or `delete`.
    pub change: &'static str,
    /// Path inside the image.
    pub path: String,
    /// `file`, `folder` or `symbolic link`; of a deletion, what it was.
    pub kind: &'static str,
    /// Permission bits in octal.
    pub mode: String,
    /// Count of bytes, of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Target, of a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The layer whose entry is replaced or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<usize>,
}

/// Reads every layer of what was opened, and checks it in passing.
pub fn of(view: &ArchiveView) -> (Layers, Report) {
    let (mut report, mut names, mut images) = (Report::new(), BTreeMap::new(), Vec::new());
    view.each_change(&mut |image, changes, more| {
        let name = name_of(image, &mut names);
        report.extend(more);
        if image.role == Role::Image {
            images.push(ImageLayers { name, layers: layers(view, image, changes) });
        }
    });
    (Layers { images }, report)
}

fn layers(view: &ArchiveView, image: &ImageView, changes: Vec<Change>) -> Vec<LayerChanges> {
    let lines = history(image);
    let mut layers: Vec<LayerChanges> = image
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| LayerChanges {
            digest: layer.digest,
            size: layer.size,
            compression: layer.compression.to_string(),
            created_by: lines.get(index).cloned().flatten(),
            added: Count::default(),
            replaced: Count::default(),
            hidden: Count::default(),
            changes: Vec::new(),
            offset: view.place(&layer.digest).map_or(0, |range| range.start),
        })
        .collect();
    for change in changes {
        if let Some(layer) = layers.get_mut(change.layer) {
            layer.take(change);
        }
    }
    for layer in &mut layers {
        layer.changes.sort_by(|a, b| a.path.cmp(&b.path));
    }
    layers
}

/// What made each layer; nothing if the history does not tell of each.
fn history(image: &ImageView) -> Vec<Option<String>> {
    #[derive(Deserialize)]
    struct Config {
        history: Option<Vec<Line>>,
    }
    #[derive(Deserialize)]
    struct Line {
        created_by: Option<String>,
        empty_layer: Option<bool>,
    }
    let bytes = image.config.as_ref().map_or(&[][..], |document| &document.bytes);
    let lines = serde_json::from_slice::<Config>(bytes).ok().and_then(|config| config.history).unwrap_or_default();
    let lines = lines.into_iter().filter(|line| !line.empty_layer.unwrap_or_default());
    let lines: Vec<_> = lines.map(|line| line.created_by.filter(|text| !text.is_empty())).collect();
    if lines.len() == image.layers.len() { lines } else { Vec::new() }
}

impl Count {
    fn add(&mut self, node: &Node) {
        if let NodeKind::File { size, .. } = node.kind {
            self.files = self.files.saturating_add(1);
            self.bytes = self.bytes.saturating_add(size);
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.files == 1 { "file" } else { "files" };
        write!(f, "{} {files} ({})", self.files, ByteSize(self.bytes))
    }
}

impl LayerChanges {
    fn take(&mut self, change: Change) {
        if let Some(before) = &change.before {
            self.hidden.add(before);
        }
        let (word, node) = match (&change.now, &change.before) {
            (Some(now), None) => {
                self.added.add(now);
                ("add", now)
            }
            (Some(now), Some(_)) => {
                self.replaced.add(now);
                ("replace", now)
            }
            (None, Some(before)) => ("delete", before),
            (None, None) => return,
        };
        let (size, target) = match &node.kind {
            NodeKind::File { size, .. } => (Some(*size), None),
            NodeKind::Dir => (None, None),
            NodeKind::Symlink { target } => (None, Some(target.clone())),
        };
        let (kind, mode) = (node.kind.name(), format!("{:04o}", node.mode));
        let below = change.before.as_ref().map(|before| before.layer);
        self.changes.push(ChangeSummary { change: word, kind, mode, size, target, below, path: change.path });
    }
}

impl Layers {
    /// One fact a line of `--tsv`, kind `layer`. Offsets are those of the layers in the archive.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for image in &self.images {
            for (index, layer) in image.layers.iter().enumerate() {
                let mut add = |field: &str, value: String| {
                    facts.push(Fact::new("layer", layer.offset, format!("{}.{index}.{field}", image.name), value));
                };
                add("digest", layer.digest.to_string());
                add("size", layer.size.to_string());
                add("compression", layer.compression.clone());
                if let Some(text) = &layer.created_by {
                    add("created-by", text.clone());
                }
                for (name, count) in [("added", layer.added), ("replaced", layer.replaced), ("hidden", layer.hidden)] {
                    add(name, format!("{} files {} bytes", count.files, count.bytes));
                }
                for change in &layer.changes {
                    add(&format!("{}.{}", change.change, change.path), change.value());
                }
            }
        }
        facts
    }
}

impl ChangeSummary {
    fn value(&self) -> String {
        let size = self.size.map(|size| size.to_string());
        let below = self.below.map(|below| format!("layer {below}"));
        let mut value = format!("{} {}", self.mode, self.kind);
        for part in [size, self.target.clone(), below].into_iter().flatten() {
            value.push(' ');
            value.push_str(&part);
        }
        value
    }
}

/// `+` added, `~` replaced, `-` hidden by a whiteout.
impl fmt::Display for ChangeSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            "add" => '+',
            "replace" => '~',
            _ => '-',
        };
        let size = self.size.map_or_else(String::new, |size| ByteSize(size).to_string());
        write!(f, "{sign} {} {size:>11}  {}", self.mode, Plain(&self.path))?;
        match &self.target {
            Some(target) => write!(f, " -> {}", Plain(target))?,
            None if self.kind == "folder" => write!(f, "/")?,
            None => {}
        }
        match self.below {
            Some(below) if self.change == "replace" => write!(f, "  over layer {below}"),
            Some(below) => write!(f, "  of layer {below}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, image) in self.images.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{}", Plain(&image.name))?;
            for (index, layer) in image.layers.iter().enumerate() {
                writeln!(f, "  layer {index}  {} {}, {}", layer.digest, ByteSize(layer.size), layer.compression)?;
                if let Some(text) = &layer.created_by {
                    writeln!(f, "    by {}", Plain(text))?;
                }
                write!(f, "    adds {}", layer.added)?;
                if layer.replaced.files > 0 {
                    write!(f, ", replaces {}", layer.replaced)?;
                }
                if layer.hidden.files > 0 {
                    write!(f, ", hides {} of lower layers", layer.hidden)?;
                }
                writeln!(f)?;
                for change in layer.changes.iter().take(SHOWN) {
                    writeln!(f, "    {change}")?;
                }
                if let Some(more) = layer.changes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                    writeln!(f, "    … and {more} more: --tsv lists all")?;
                }
            }
        }
        Ok(())
    }
}
