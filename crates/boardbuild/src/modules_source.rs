//! `--modules`: a folder or a tar with the modules of a kernel, as `make modules_install` leaves them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use fs_err as fs;
use imgcore::{Blob, Digest, Finding, ReadAt, Report};
use initramfs::{Kind, Node, Tree, kmod::Modules};

use crate::{
    build::Context,
    error::{Error, Exit, Result},
    extension_source::{self, Files},
    files::FileSource,
    rootfs::FOLDER,
    store::canonical_json,
};

/// Files of a folder: a kernel with everything has eight thousand.
const ENTRIES: usize = 100_000;
/// Levels of folders.
const DEPTH: usize = 32;

/// Modules that are here; what is in them is looked at when it is needed.
#[derive(Debug)]
pub(crate) struct ModulesSource {
    /// SHA-256 of the tar, or over the paths and bytes of the folder, its release among the paths.
    pub digest: Digest,
    /// Bytes of the tar, or of all files.
    pub size: u64,
    path: PathBuf,
}

/// The modules of one release.
pub(crate) struct Found {
    /// Name of their folder: `uname -r` of their kernel.
    pub release: String,
    /// The folder at `usr/lib/modules`.
    pub tree: Tree,
    /// What was found on the way.
    pub report: Report,
    _files: Option<Files>,
}

impl ModulesSource {
    /// Looks at a folder or a tar.
    ///
    /// # Errors
    /// [`Exit::Input`] when there is neither, [`Exit::Io`] for one that cannot be read.
    pub(crate) fn open(path: &Path, context: &Context<'_>) -> Result<Self> {
        if path.is_file() {
            let size = fs::metadata(path)?.len();
            return Ok(Self { digest: context.store.file_digest(path)?, size, path: path.to_owned() });
        }
        if !path.is_dir() {
            let message = format!("--modules: no folder and no file at this path: {}", path.display());
            return Err(Error::new(Exit::Input, Finding::error("SRC001", message).help(HELP)));
        }
        let mut listed = Vec::new();
        let mut size = 0_u64;
        let prefix = prefix(path)?;
        for (name, file) in walk(path)? {
            let Entry::File(file) = file else { continue };
            size = size.saturating_add(fs::metadata(&file)?.len());
            listed.push((format!("{prefix}{name}"), context.store.file_digest(&file)?));
        }
        Ok(Self { digest: Digest::of(&canonical_json(&listed)), size, path: path.to_owned() })
    }

    /// The modules, all of one release.
    ///
    /// # Errors
    /// [`Exit::Input`] when there are none or those of several releases; a tar that is damaged or hostile.
    pub(crate) fn files(&self, context: &Context<'_>) -> Result<Found> {
        let (mut tree, files, report) = if self.path.is_dir() {
            let prefix = prefix(&self.path)?;
            let mut tree = Tree::new();
            for (name, file) in walk(&self.path)? {
                let node = match file {
                    Entry::Dir => Node::dir(0o755),
                    // The modes of a folder are this machine's.
                    Entry::File(path) => Node::file(0o644, Blob::new(name.as_str(), Arc::new(Lazy::new(path)?), None)),
                };
                tree.insert(format!("{prefix}{name}"), node).map_err(|error| refused(&error.to_string()))?;
            }
            (tree, None, Report::new())
        } else {
            let mut files = extension_source::files_of_tar(&self.path, "modules", context)?;
            let report = std::mem::take(&mut files.report);
            (std::mem::take(&mut files.tree), Some(files), report)
        };
        let from = folder(&tree, &self.path)?;
        let release = from.rsplit('/').next().unwrap_or(&from).to_owned();
        let taken = if from.is_empty() { tree } else { tree.take(&from) };
        let mut placed = Tree::new();
        for (path, node) in taken.iter() {
            let inside = path.strip_prefix(from.as_str()).unwrap_or(path).trim_start_matches('/');
            let link = matches!(node.kind, Kind::Symlink(_)) && ["build", "source"].contains(&inside);
            if inside.is_empty() || link {
                continue;
            }
            placed
                .insert(format!("{FOLDER}/{release}/{inside}"), node.clone())
                .map_err(|error| refused(&error.to_string()))?;
        }
        Ok(Found { release, tree: placed, report, _files: files })
    }
}

/// What stands before the names of a folder: the folder of a release itself tells its release by its own name.
fn prefix(path: &Path) -> Result<String> {
    let itself = ["modules.order", "modules.builtin"].iter().any(|name| path.join(name).is_file())
        || ["kernel", "updates", "extra", "extras"].iter().any(|name| path.join(name).is_dir());
    let own = fs::canonicalize(path)?.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(own.filter(|_| itself).map_or_else(String::new, |release| format!("{FOLDER}/{release}/")))
}

const HELP: &str = "give what `make modules_install INSTALL_MOD_PATH=DIR` filled: a folder or a tar with lib/modules/RELEASE, or that \
     folder RELEASE itself";

fn refused(what: &str) -> Error {
    Error::new(Exit::Input, Finding::error("SRC012", format!("--modules: {what}")).help(HELP))
}

/// The folder of the one release that is there: below `lib/modules`, `usr/lib/modules`, or the whole.
fn folder(tree: &Tree, path: &Path) -> Result<String> {
    let mut folders = Modules::folders(tree);
    folders.retain(|folder| tree.below(folder).any(|(_, node)| node.data().is_some()));
    match folders.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(refused(&format!("{} holds no kernel modules", path.display()))),
        several => {
            Err(refused(&format!("{} holds modules of several kernels: {}", path.display(), several.join(", "))))
        }
    }
}

/// An entry of a folder.
enum Entry {
    Dir,
    File(PathBuf),
}

/// Everything below a folder with its path from there, sorted; links to files are followed, `build` and `source`, which
/// lead to the kernel's sources, are left out.
fn walk(root: &Path) -> Result<Vec<(String, Entry)>> {
    let (mut found, mut open) = (Vec::new(), vec![(root.to_owned(), String::new(), 0)]);
    while let Some((folder, prefix, depth)) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(refused(&format!("a name that is not UTF-8: {}", path.display())));
            };
            let name = format!("{prefix}{name}");
            let is_link = fs::symlink_metadata(&path)?.is_symlink();
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() && !is_link && depth < DEPTH {
                found.push((name.clone(), Entry::Dir));
                open.push((path, format!("{name}/"), depth + 1));
            } else if metadata.is_file() {
                found.push((name, Entry::File(path)));
            }
            if found.len() > ENTRIES {
                let message =
                    format!("{} holds more than {ENTRIES} files; that is no folder of modules", root.display());
                return Err(refused(&message));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// A file that is opened when it is read: there are thousands of modules.
struct Lazy {
    path: PathBuf,
    size: u64,
}

impl Lazy {
    fn new(path: PathBuf) -> Result<Self> {
        let size = fs::metadata(&path)?.len();
        Ok(Self { path, size })
    }
}

impl ReadAt for Lazy {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileSource::open(&self.path)?.read_at(offset, buffer)
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make folders of their own")]

    use imgcore::NoProgress;

    use super::*;
    use crate::{Home, Network, NetworkOptions, Store};

    fn with_context(test: impl FnOnce(&Path, &Context<'_>)) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("store")).unwrap();
        let place = Home { root: home.path().to_path_buf(), boards: home.path().join("boards") };
        let network = Network::new(NetworkOptions { offline: true, ..NetworkOptions::default() });
        test(home.path(), &Context { home: &place, store: &store, network: &network, progress: &NoProgress });
    }

    #[test]
    fn the_name_of_a_folder_of_a_release_is_in_its_digest() {
        with_context(|home, context| {
            fs::create_dir_all(home.join("6.1/kernel")).unwrap();
            fs::write(home.join("6.1/kernel/a.ko"), "a").unwrap();
            let first = ModulesSource::open(&home.join("6.1"), context).unwrap();
            assert_eq!(first.files(context).unwrap().release, "6.1");
            fs::rename(home.join("6.1"), home.join("6.2")).unwrap();
            let second = ModulesSource::open(&home.join("6.2"), context).unwrap();
            assert_eq!(second.files(context).unwrap().release, "6.2");
            assert_ne!(first.digest, second.digest);
        });
    }

    #[test]
    fn lib_may_be_a_link() {
        with_context(|home, context| {
            let root = home.join("root");
            fs::create_dir_all(root.join("usr/lib/modules/6.1/kernel")).unwrap();
            fs::write(root.join("usr/lib/modules/6.1/kernel/a.ko"), "a").unwrap();
            std::os::unix::fs::symlink("usr/lib", root.join("lib")).unwrap();
            let Some(tar) = testkit::tool("tar") else { return };
            let packed = home.join("modules.tar");
            testkit::run(std::process::Command::new(tar).arg("-C").arg(&root).arg("-cf").arg(&packed).arg("."));
            for place in [root, packed] {
                let found = ModulesSource::open(&place, context).unwrap().files(context).unwrap();
                assert_eq!(found.release, "6.1");
                assert!(found.tree.get("usr/lib/modules/6.1/kernel/a.ko").is_some());
            }
        });
    }
}
