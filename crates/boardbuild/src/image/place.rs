//! Where an image or a folder is, as the command line and board files write it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use imgcore::Finding;

use crate::error::{Error, Exit, Result};

/// What `--base` and its like name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An image in a registry.
    Reference(String),
    /// A folder with an OCI layout, and perhaps a tag in it.
    Layout { folder: PathBuf, tag: Option<String> },
    /// An archive: an OCI layout in a tar or what `docker save` writes, compressed or not; perhaps a tag in it.
    Archive { file: PathBuf, tag: Option<String> },
    /// An unpacked root file system.
    Folder(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, path, tag) = match self {
            Self::Reference(reference) => return f.write_str(reference),
            Self::Layout { folder, tag } => ("oci", folder, tag.as_deref()),
            Self::Archive { file, tag } => ("oci-archive", file, tag.as_deref()),
            Self::Folder(folder) => ("dir", folder, None),
        };
        write!(f, "{form}:{}", path.display())?;
        tag.map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

/// The forms in words, for messages.
pub(crate) const FORMS: &str = "write dir:DIR, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG] or a reference like \
     ghcr.io/siderolabs/imager:v1.13.9";

impl Place {
    /// Reads a place. Paths are relative to `folder`, if given. `option` is named in messages.
    ///
    /// # Errors
    /// [`Exit::Usage`] for what has no known form, [`Exit::Input`] for a path that is not there.
    pub(crate) fn parse(option: &str, text: &str, folder: Option<&Path>) -> Result<Self> {
        let missing = |what: &str, path: &Path| {
            let finding = Finding::error("SRC001", format!("{option}: no {what} at this path: {}", path.display()));
            Error::new(Exit::Input, finding.help(FORMS))
        };
        let at = |path: &str| folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path));
        if let Some(path) = text.strip_prefix("dir:") {
            let path = at(path);
            return if path.is_dir() { Ok(Self::Folder(path)) } else { Err(missing("folder", &path)) };
        }
        if let Some(path) = text.strip_prefix("oci:") {
            let (folder, tag) = split(path, &|path| at(path).is_dir());
            let folder = at(folder);
            if !folder.is_dir() {
                return Err(missing("folder", &folder));
            }
            return Ok(Self::Layout { folder, tag });
        }
        for form in ["oci-archive:", "docker-archive:"] {
            if let Some(path) = text.strip_prefix(form) {
                let (file, tag) = split(path, &|path| at(path).is_file());
                let file = at(file);
                if !file.is_file() {
                    return Err(missing("file", &file));
                }
                return Ok(Self::Archive { file, tag });
            }
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let help = format!("a reference has no scheme: {rest}{}", plain(scheme, rest));
            return Err(Error::usage(format!("{option}: {text}: {scheme}:// is no part of a reference")).or_help(&help));
        }
        if text.is_empty() || !text.contains(['/', ':']) {
            return Err(Error::usage(format!("{option}: neither a reference nor a known form: {text}")).or_help(FORMS));
        }
        Ok(Self::Reference(text.to_owned()))
    }
}

fn plain(scheme: &str, rest: &str) -> String {
    let host = rest.split('/').next().unwrap_or(rest);
    if scheme == "http" { format!(" with --plain-http {host}") } else { String::new() }
}

/// A path and the tag behind it. Both may hold colons: the longest part that is there is the path.
fn split<'a>(text: &'a str, there: &dyn Fn(&str) -> bool) -> (&'a str, Option<String>) {
    if there(text) {
        return (text, None);
    }
    let mut ends: Vec<usize> = text.match_indices(':').map(|(at, _)| at).collect();
    ends.reverse();
    for end in ends {
        let (path, tag) = text.split_at(end);
        if there(path) {
            return (path, Some(tag.trim_start_matches(':').to_owned()).filter(|tag| !tag.is_empty()));
        }
    }
    // Nothing is there: what stands in front of a last colon that is no drive letter is the likely path.
    match text.rsplit_once(':') {
        Some((path, tag)) if path.len() > 1 && !tag.contains(['/', '\\']) => (path, Some(tag.to_owned())),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_colons_belong_to_the_path_that_is_there() {
        let home = tempfile::tempdir().unwrap();
        let folder = Some(home.path());
        for name in ["layout", "with:colon"] {
            fs_err::create_dir(home.path().join(name)).unwrap();
        }
        fs_err::write(home.path().join("image.tar"), "").unwrap();
        let path = |name: &str| home.path().join(name);
        let tag = |tag: &str| Some(tag.to_owned());
        for (text, expected) in [
            ("dir:layout", Place::Folder(path("layout"))),
            ("oci:layout", Place::Layout { folder: path("layout"), tag: None }),
            ("oci:layout:v1", Place::Layout { folder: path("layout"), tag: tag("v1") }),
            ("oci:with:colon", Place::Layout { folder: path("with:colon"), tag: None }),
            ("oci:with:colon:v1", Place::Layout { folder: path("with:colon"), tag: tag("v1") }),
            ("oci-archive:image.tar", Place::Archive { file: path("image.tar"), tag: None }),
            ("docker-archive:image.tar:a/b:v1", Place::Archive { file: path("image.tar"), tag: tag("a/b:v1") }),
            ("ghcr.io/a/b:c", Place::Reference("ghcr.io/a/b:c".to_owned())),
            ("localhost:5000/a", Place::Reference("localhost:5000/a".to_owned())),
        ] {
            assert_eq!(Place::parse("--base", text, folder).unwrap(), expected, "{text}");
        }
        for (text, exit, part) in [
            ("", Exit::Usage, "neither a reference"),
            ("nonsense", Exit::Usage, "neither a reference"),
            ("docker://a/b", Exit::Usage, "docker:// is no part"),
            ("dir:none", Exit::Input, "no folder at this path"),
            ("oci:none:v1", Exit::Input, "none"),
            ("oci-archive:layout", Exit::Input, "no file at this path"),
        ] {
            let error = Place::parse("--base", text, folder).unwrap_err();
            assert_eq!(error.exit(), exit, "{text}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
