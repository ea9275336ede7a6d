//! The one error of this crate: our own input was wrong, or a medium failed. Foreign archives give findings instead.

use std::io;

/// Why a layer, an image or an archive could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// The failure of a medium behind this error, if that is what it is: exit code 4 instead of a mistake of the caller.
    pub fn io(&self) -> Option<&io::Error> {
        match self.kind() {
            ErrorKind::Read { source, .. } | ErrorKind::Write { source } => Some(source),
            _ => None,
        }
    }
}

#[cfg(feature = "registry")]
impl Error {
    /// Why a transfer failed, if that is what it is: exit code 4, or 3 for what is not there.
    pub fn transfer(&self) -> Option<&transfer::Error> {
        match self.kind() {
            ErrorKind::Transfer { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A path that must not enter a layer.
    #[error("path {path:?}: {problem}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong and what is expected.
        problem: &'static str,
    },
    /// The same path twice.
    #[error("path {path:?} is given twice, expected once")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// An entry lies below something that is no directory.
    #[error("path {path:?} lies below {parent:?}, which is no directory")]
    NotADirectory {
        /// The entry.
        path: String,
        /// What stands where its directory should be.
        parent: String,
    },
    /// Two paths that macOS or Windows take for one.
    #[error("paths {first:?} and {second:?} are one file where case or Unicode form does not count: rename one")]
    Collision {
        /// The one that sorts first.
        first: String,
        /// The other one.
        second: String,
    },
    /// Bits that are no permission bits.
    #[error("path {path:?} has mode {mode:o}, expected at most 7777")]
    Mode {
        /// The entry.
        path: String,
        /// The mode as given.
        mode: u32,
    },
    /// The target of a symbolic link.
    #[error("symbolic link {path:?} to {target:?}: {problem}")]
    LinkTarget {
        /// The link.
        path: String,
        /// Its target.
        target: String,
        /// What is wrong and what is expected.
        problem: &'static str,
    },
    /// A time that a tar header cannot hold.
    #[error("time {seconds} is beyond the year 2242, the last that a tar header holds")]
    Time {
        /// Seconds since 1970.
        seconds: u64,
    },
    /// Data is not what its blob promised.
    #[error("{path:?}: the data of {label} has digest {found}, expected {expected}: it changed while it was read")]
    Changed {
        /// Where it goes.
        path: String,
        /// What the caller calls it.
        label: String,
        /// Digest of the blob.
        expected: imgcore::Digest,
        /// Digest of what was read.
        found: imgcore::Digest,
    },
    /// A source could not be read.
    #[error("{path:?}: reading {label} failed")]
    Read {
        /// Where its data goes, or what is read.
        path: String,
        /// What the caller calls it.
        label: String,
        /// The medium's answer.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("writing failed")]
    Write {
        /// The medium's answer.
        source: io::Error,
    },
    /// A platform is not written as `os/architecture` or `os/architecture/variant`.
    #[error("platform {text:?}: expected os/architecture, for example linux/arm64")]
    Platform {
        /// The text.
        text: String,
    },
    /// Two images for one platform.
    #[error("two images for platform {platform}, an index names one")]
    DuplicatePlatform {
        /// The platform.
        platform: String,
    },
    /// An image that nothing can be built on.
    #[error("the base image {problem}")]
    Base {
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A base for other machines than the image that is built on it.
    #[error("the base image is for {base}, expected one for {wanted}: give the base's image for that platform")]
    BasePlatform {
        /// The base's platform.
        base: String,
        /// The platform of the image that is to be.
        wanted: String,
    },
    /// No image at all.
    #[error("an archive needs at least one image")]
    NoImages,
    /// A text that canonical JSON cannot hold.
    #[error("{field} holds a control character: canonical JSON writes it raw and no reader takes that; remove it")]
    ControlCharacter {
        /// Which label, annotation or setting.
        field: String,
    },
    /// A value that JSON cannot hold.
    #[error("{what} cannot be written as JSON")]
    Json {
        /// Which document.
        what: String,
        /// The serialiser's answer.
        source: serde_json::Error,
    },
    /// A repository name or a tag.
    #[error("{what} {text:?}: {expected}")]
    Name {
        /// `repository` or `tag`.
        what: &'static str,
        /// The text.
        text: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A text that names no image at a registry.
    #[cfg(feature = "registry")]
    #[error("{text:?}: {problem}")]
    Reference {
        /// The text, cut.
        text: String,
        /// What is wrong and what is expected.
        problem: &'static str,
    },
    /// A tag names another image, and nobody said that it may be moved.
    #[cfg(feature = "registry")]
    #[error("{reference} is {there}, the image is {ours}: a tag that others may rely on is not moved")]
    TagTaken {
        /// The tag with its repository.
        reference: String,
        /// The image that was to be pushed.
        ours: imgcore::Digest,
        /// The image that has the tag.
        there: imgcore::Digest,
    },
    /// Another push took a tag while this one went on.
    #[cfg(feature = "registry")]
    #[error("{reference}: another push won: this one wrote {ours}, {}", .there.map_or_else(|| "the tag is gone".to_owned(), |there| format!("there is {there}")))]
    TagMoved {
        /// The tag with its repository.
        reference: String,
        /// The image that was pushed.
        ours: imgcore::Digest,
        /// The image that has the tag.
        there: Option<imgcore::Digest>,
    },
    /// A reference names a digest, and the image has another one.
    #[cfg(feature = "registry")]
    #[error("{reference} asks for {expected}, the image is {found}")]
    OtherImage {
        /// The reference.
        reference: String,
        /// The digest in it.
        expected: imgcore::Digest,
        /// The image's.
        found: imgcore::Digest,
    },
    /// A registry refused, or the way to it failed.
    #[cfg(feature = "registry")]
    #[error("{doing} {target}: {source}")]
    Transfer {
        /// What was being done: `reading the manifest`.
        doing: &'static str,
        /// The reference or repository that the caller named, whatever mirror stood for it.
        target: String,
        /// Why it failed.
        source: transfer::Error,
    },
    /// A file that was asked for is not in the image.
    #[error("{path:?} is not in the image{}", nearest.as_ref().map_or_else(String::new, |near| format!("; the nearest name is {near:?}")))]
    Missing {
        /// The path.
        path: String,
        /// A path that is there and nearly the same.
        nearest: Option<String>,
    },
    /// A path names something that has no bytes.
    #[error("{path:?} is a {found}, expected a file")]
    NotAFile {
        /// The path.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// Symbolic links that lead to themselves, or too many.
    #[error("{path:?} leads through more than {limit} symbolic links")]
    LinkLoop {
        /// The path.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// More bytes than the caller is ready to take.
    #[error("{path:?} has {size} bytes, at most {limit} are read")]
    TooLarge {
        /// The path.
        path: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A blob that a document refers to is not there.
    #[error("{digest} is not there, a document refers to it")]
    Incomplete {
        /// The blob.
        digest: imgcore::Digest,
    },
    /// Bytes that are not those of their digest.
    #[error("the bytes stored as {expected} have digest {found}: they were changed")]
    OtherBytes {
        /// What the bytes are called.
        expected: imgcore::Digest,
        /// What they are.
        found: imgcore::Digest,
    },
    /// An index, manifest or configuration that cannot be followed.
    #[error("{digest} {problem}")]
    Document {
        /// The document.
        digest: imgcore::Digest,
        /// What is wrong with it and what is expected.
        problem: String,
    },
    /// An index holds no image for a platform.
    #[error("no image for {wanted}, there are: {}", there.join(", "))]
    NoPlatform {
        /// The platform that was asked for.
        wanted: String,
        /// Those that the index names.
        there: Vec<String>,
    },
    /// An archive holds several images, and nothing says which one is meant.
    #[error("{} images are in it, and none is named {wanted:?}: {}", names.len(), names.join(", "))]
    SeveralImages {
        /// The tag that was looked for.
        wanted: String,
        /// Tags and platforms of what is there.
        names: Vec<String>,
    },
    /// A layer is damaged; [`verify`](crate::read::ArchiveView::verify) says how.
    #[error("{path:?}: its layer {layer} is damaged: {problem}")]
    Damaged {
        /// The path.
        path: String,
        /// Digest or name of the layer.
        layer: String,
        /// What the decoder met.
        problem: String,
    },
}
