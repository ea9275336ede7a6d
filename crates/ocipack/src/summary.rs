//! Everything worth knowing about an archive, as a value: for people, as facts for `--tsv`, as JSON.

use std::{collections::BTreeMap, fmt, sync::Arc};

use imgcore::{ByteSize, Digest, Fact, ReadAt, Report};
use serde::Serialize;

use crate::{
    media::{self, Meaning},
    read::{self, ArchiveView, Compression, Format, ImageView, NodeKind, Options, Role, Tree},
};

/// Entries of one image that are printed for people.
const SHOWN: usize = 200;
/// Differences between images that are printed for people.
const SHOWN_DIFFERENCES: usize = 40;

/// What an archive or a layout holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// `oci`, `docker` or `oci+docker`.
    pub format: &'static str,
    /// Tags.
    pub tags: Vec<String>,
    /// The index over all images, if there is one.
    pub index: Option<Digest>,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// The images in the order of the index.
    pub images: Vec<ImageSummary>,
    #[serde(skip)]
    index_offset: u64,
}

/// What one image holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// `linux/arm64`; for what has no platform `image`; numbered from the second one of a name on.
    pub name: String,
    /// `image`, `attestation` or `artifact`.
    pub role: &'static str,
    /// Digest of the manifest.
    pub manifest: Option<Digest>,
    /// Digest of the configuration.
    pub config: Option<Digest>,
    /// When it was made.
    pub created: Option<String>,
    /// Whether `docker load` takes it.
    pub docker: bool,
    /// Program and arguments.
    pub entrypoint: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Layers, the lowest first.
    pub layers: Vec<LayerSummary>,
    /// Files, folders and links, sorted by path.
    pub entries: Vec<EntrySummary>,
    #[serde(skip)]
    offset: u64,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerSummary {
    /// Digest of the stored bytes.
    pub digest: Digest,
    /// Count of the stored bytes.
    pub size: u64,
    /// Digest of the tar inside, as the configuration says.
    pub diff_id: Option<Digest>,
    /// Media type.
    pub media_type: String,
    /// `tar`, `gzip` or `zstd`.
    pub compression: String,
    #[serde(skip)]
    offset: u64,
}

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntrySummary {
    /// Path inside the image.
    pub path: String,
    /// `file`, `folder` or `symbolic link`.
    pub kind: &'static str,
    /// Permission bits in octal.
    pub mode: String,
    /// Count of bytes, of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256, of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Target, of a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The layer that it comes from, 0 for the lowest.
    pub layer: usize,
}

/// A path that is not the same in all images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Path inside the images.
    pub path: String,
    /// Images that have it; if nothing is missing, in different forms.
    pub there: Vec<String>,
    /// Images that lack it.
    pub missing: Vec<String>,
}

/// Opens an archive, reads and checks everything in it.
pub fn inspect(data: Arc<dyn ReadAt>) -> (Option<Summary>, Report) {
    let (view, mut report) = read::open_with(data, Options::default());
    let Some(view) = view else { return (None, report) };
    let (summary, more) = Summary::of(&view);
    report.extend(more);
    (Some(summary), report)
}

/// The facts of an archive; none if it is no archive.
pub fn facts(data: Arc<dyn ReadAt>) -> Vec<Fact> {
    inspect(data).0.map(|summary| summary.facts()).unwrap_or_default()
}

impl Summary {
    /// Reads every layer of what was opened, and checks it in passing.
    pub fn of(view: &ArchiveView) -> (Self, Report) {
        let mut report = Report::new();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut images = Vec::new();
        view.each_tree(true, &mut |image, tree, more| {
            let name = name_of(image, &mut names);
            images.push(summarise(view, image, &tree, name));
            report.extend(more);
        });
        let index = view.root.as_ref().filter(|root| media::meaning(&root.media_type) == Some(Meaning::Index));
        let index = index.map(|root| root.digest);
        let summary = Self {
            format: match view.format {
                Format::Oci => "oci",
                Format::Docker => "docker",
                Format::OciAndDocker => "oci+docker",
            },
            tags: view.tags.clone(),
            index,
            annotations: view.annotations.clone(),
            images,
            index_offset: index.and_then(|digest| view.place(&digest)).map_or(0, |range| range.start),
        };
        (summary, report)
    }

    /// What the images for different platforms do not have in common, sorted by path; empty for a single image.
    pub fn differences(&self) -> Vec<Difference> {
        let images: Vec<_> = self.images.iter().filter(|image| image.role == "image").collect();
        let mut paths: BTreeMap<&str, Vec<Option<&EntrySummary>>> = BTreeMap::new();
        for (index, image) in images.iter().enumerate() {
            for entry in &image.entries {
                let seen = paths.entry(entry.path.as_str()).or_insert_with(|| vec![None; images.len()]);
                if let Some(seen) = seen.get_mut(index) {
                    *seen = Some(entry);
                }
            }
        }
        // The layer that holds an entry is no matter of what it is.
        let same = |a: &EntrySummary, b: &EntrySummary| a.value() == b.value();
        let differ = |entries: &Vec<Option<&EntrySummary>>| {
            entries.windows(2).any(|pair| match pair {
                [Some(a), Some(b)] => !same(a, b),
                _ => true,
            })
        };
        let named = |entries: &[Option<&EntrySummary>], there: bool| {
            let images = images.iter().zip(entries).filter(|(_, entry)| entry.is_some() == there);
            images.map(|(image, _)| image.name.clone()).collect()
        };
        let paths = paths.into_iter().filter(|(_, entries)| entries.len() > 1 && differ(entries));
        paths
            .map(|(path, entries)| Difference {
                path: path.to_owned(),
                there: named(&entries, true),
                missing: named(&entries, false),
            })
            .collect()
    }

    /// One fact a line of `--tsv`, kind `oci`. Offsets are those of the index, manifest or layer in the archive.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut add = |offset, field: String, value: String| facts.push(Fact::new("oci", offset, field, value));
        add(0, "format".to_owned(), self.format.to_owned());
        for tag in &self.tags {
            add(0, "tag".to_owned(), tag.clone());
        }
        if let Some(index) = self.index {
            add(self.index_offset, "index".to_owned(), index.to_string());
        }
        for (key, value) in &self.annotations {
            add(self.index_offset, format!("annotation.{key}"), value.clone());
        }
        for image in &self.images {
            image.facts(&mut |offset, field, value| add(offset, format!("{}.{field}", image.name), value));
        }
        facts
    }
}

impl ImageSummary {
    fn facts(&self, add: &mut dyn FnMut(u64, String, String)) {
        let offset = self.offset;
        add(offset, "role".to_owned(), self.role.to_owned());
        let digests = [("manifest", self.manifest), ("config", self.config)];
        for (field, digest) in digests {
            if let Some(digest) = digest {
                add(offset, field.to_owned(), digest.to_string());
            }
        }
        if let Some(created) = &self.created {
            add(offset, "created".to_owned(), created.clone());
        }
        add(offset, "docker".to_owned(), self.docker.to_string());
        if !self.entrypoint.is_empty() {
            add(offset, "entrypoint".to_owned(), self.entrypoint.join(" "));
        }
        for (what, texts) in [("label", &self.labels), ("annotation", &self.annotations)] {
            for (key, value) in texts {
                add(offset, format!("{what}.{key}"), value.clone());
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            add(layer.offset, format!("layer.{index}.digest"), layer.digest.to_string());
            add(layer.offset, format!("layer.{index}.size"), layer.size.to_string());
            add(layer.offset, format!("layer.{index}.compression"), layer.compression.clone());
            if let Some(diff_id) = layer.diff_id {
                add(layer.offset, format!("layer.{index}.diff-id"), diff_id.to_string());
            }
        }
        for entry in &self.entries {
            let offset = self.layers.get(entry.layer).map_or(0, |layer| layer.offset);
            add(offset, format!("path.{}", entry.path), entry.value());
        }
    }
}

impl EntrySummary {
    /// `0644 file 12 sha256:…`, `0755 folder`, `0777 symbolic link target`.
    fn value(&self) -> String {
        let mut value = format!("{} {}", self.mode, self.kind);
        let rest = [self.size.map(|size| size.to_string()), self.digest.map(|d| d.to_string()), self.target.clone()];
        for part in rest.into_iter().flatten() {
            value.push(' ');
            value.push_str(&part);
        }
        value
    }
}

/// What an image is called, the second of a name with a number.
pub(crate) fn name_of(image: &ImageView, names: &mut BTreeMap<String, usize>) -> String {
    let base = image.platform.as_ref().map_or_else(|| role(image.role).to_owned(), ToString::to_string);
    let count = names.entry(base.clone()).or_default();
    *count += 1;
    if *count == 1 { base } else { format!("{base}#{count}") }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Image => "image",
        Role::Attestation => "attestation",
        Role::Artifact => "artifact",
    }
}

fn summarise(view: &ArchiveView, image: &ImageView, tree: &Tree, name: String) -> ImageSummary {
    let place = |digest: Option<Digest>| digest.and_then(|digest| view.place(&digest)).map_or(0, |range| range.start);
    let entries = tree.iter().map(|(path, node)| {
        let (size, digest, target) = match &node.kind {
            NodeKind::File { size, digest, .. } => (Some(*size), *digest, None),
            NodeKind::Dir => (None, None, None),
            NodeKind::Symlink { target } => (None, None, Some(target.clone())),
        };
        let (path, kind, mode) = (path.to_owned(), node.kind.name(), format!("{:04o}", node.mode));
        EntrySummary { path, kind, mode, size, digest, target, layer: node.layer }
    });
    let layers = image.layers.iter().map(|layer| LayerSummary {
        digest: layer.digest,
        size: layer.size,
        diff_id: layer.diff_id,
        media_type: layer.media_type.clone(),
        compression: match layer.compression {
            Compression::None if image.role != Role::Image => "none".to_owned(),
            compression => compression.to_string(),
        },
        offset: place(Some(layer.digest)),
    });
    let (manifest, config) = (
        image.manifest.as_ref().map(|document| document.digest),
        image.config.as_ref().map(|document| document.digest),
    );
    ImageSummary {
        name,
        role: role(image.role),
        manifest,
        config,
        created: image.created.clone(),
        docker: image.docker,
        entrypoint: image.run.entrypoint.clone(),
        labels: image.run.labels.clone(),
        annotations: image.annotations.clone(),
        layers: layers.collect(),
        entries: entries.collect(),
        offset: place(manifest.or(config)),
    }
}

/// Foreign text on somebody's terminal: control characters become `?`.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.chars().try_for_each(|c| f.write_char(if c.is_control() { '?' } else { c }))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            "docker" => "Docker archive",
            "oci" => "OCI layout",
            _ => "OCI layout, also for docker load",
        };
        write!(f, "{format}")?;
        for tag in &self.tags {
            write!(f, ", {}", Plain(tag))?;
        }
        writeln!(f)?;
        if let Some(index) = self.index {
            writeln!(f, "  {index}")?;
        }
        for (key, value) in &self.annotations {
            writeln!(f, "  {} = {}", Plain(key), Plain(value))?;
        }
        self.images.iter().try_for_each(|image| image.fmt(f))?;
        let differences = self.differences();
        if !differences.is_empty() {
            writeln!(f, "\nNot the same for all platforms")?;
        }
        for Difference { path, missing, .. } in differences.iter().take(SHOWN_DIFFERENCES) {
            match missing.as_slice() {
                [] => writeln!(f, "  {}: other bytes or mode", Plain(path))?,
                missing => writeln!(f, "  {}: not in {}", Plain(path), Plain(&missing.join(", ")))?,
            }
        }
        match differences.len().saturating_sub(SHOWN_DIFFERENCES) {
            0 => Ok(()),
            more => writeln!(f, "  … and {more} more"),
        }
    }
}

impl fmt::Display for ImageSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", Plain(&self.name))?;
        if self.role != "image" {
            write!(f, ", {}", self.role)?;
        }
        if let Some(created) = &self.created {
            write!(f, ", created {}", Plain(created))?;
        }
        writeln!(f, "{}", if self.docker { ", for docker load" } else { "" })?;
        if let Some(manifest) = self.manifest {
            writeln!(f, "  manifest {manifest}")?;
        }
        if let Some(config) = self.config {
            writeln!(f, "  config   {config}")?;
        }
        if !self.entrypoint.is_empty() {
            writeln!(f, "  runs     {}", Plain(&self.entrypoint.join(" ")))?;
        }
        for (key, value) in self.labels.iter().chain(&self.annotations) {
            writeln!(f, "  {} = {}", Plain(key), Plain(value))?;
        }
        let several = self.layers.len() > 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let number = if several { index.to_string() } else { String::new() };
            writeln!(f, "  layer {number:<2} {} {}, {}", layer.digest, ByteSize(layer.size), layer.compression)?;
        }
        for entry in self.entries.iter().take(SHOWN) {
            let size = entry.size.map_or_else(String::new, |size| ByteSize(size).to_string());
            // Which layer it comes from, where that is a question.
            let layer = if several { format!(" {:>3}", entry.layer) } else { String::new() };
            write!(f, "    {} {size:>11}{layer}  {}", entry.mode, Plain(&entry.path))?;
            match &entry.target {
                Some(target) => writeln!(f, " -> {}", Plain(target))?,
                None if entry.kind == "folder" => writeln!(f, "/")?,
                None => writeln!(f)?,
            }
        }
        match self.entries.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "    … and {more} more"),
        }
    }
}
