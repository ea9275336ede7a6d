//! What a reader looks at and where it stops.

use imgcore::Severity;

use crate::Platform;

/// What to look at, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Only images for these platforms; all if empty. What is missing or damaged elsewhere is not looked for: archives of
    /// `docker save` often lack the blobs of other platforms.
    pub platforms: Vec<Platform>,
    /// Only images of this tag, or reference, at the top; all if missing.
    pub tag: Option<String>,
    /// How bad it is when paths collide or cannot exist on other systems than Linux. An error by default; who only takes
    /// single files out of somebody's image can lower it.
    pub portability: Severity,
    /// Whether layers are left alone: they are named, with digest and size, but neither looked for nor checked, and
    /// [`LayerView::with_data`](super::LayerView::with_data) gives them their bytes later. Docker's own archives name no
    /// digests of layers; theirs are read at once.
    pub defer_layers: bool,
    /// Where to stop.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            platforms: Vec::new(),
            tag: None,
            portability: Severity::Error,
            defer_layers: false,
            limits: Limits::default(),
        }
    }
}

impl Options {
    /// Whether everything in an archive is looked at, so that what nothing refers to is known.
    pub(super) fn whole(&self) -> bool {
        self.platforms.is_empty() && self.tag.is_none() && !self.defer_layers
    }
}

/// Where reading stops. The defaults are far above any real image and far below what hurts a laptop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Members of the archive.
    pub members: u64,
    /// Bytes of one JSON document; 4 MiB is what registries take.
    pub document: u64,
    /// Images in all indexes together.
    pub images: usize,
    /// Layers of one image.
    pub layers: usize,
    /// Entries of all layers of an image.
    pub entries: u64,
    /// Bytes of all paths of an image, with the extended attributes.
    pub path_bytes: u64,
    /// Unpacked bytes of all layers of an image; of all images together in
    /// [`verify`](super::ArchiveView::verify).
    pub unpacked: u64,
    /// Unpacked bytes that are fine whatever they were packed in.
    pub ratio_floor: u64,
    /// Beyond the floor, unpacked bytes for one packed byte of all layers so far. gzip reaches 1030 on zeros, real layers stay below 20.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 65_536,
            document: 4 << 20,
            images: 256,
            layers: 256,
            entries: 262_144,
            path_bytes: 32 << 20,
            unpacked: 16 << 30,
            ratio_floor: 128 << 20,
            ratio: 100,
        }
    }
}
