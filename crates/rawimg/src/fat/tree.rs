//! What goes into a file system.

use std::collections::BTreeMap;

use super::name;
use crate::{Content, Error, ErrorKind};

/// Largest file that a 32-bit size can tell.
const FILE_LIMIT: u64 = u32::MAX as u64;

/// Files and directories by path, `/` between components. Names keep their case; two that differ only by case are
/// refused, because FAT cannot tell them apart.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub(super) root: Directory,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    /// By name, in byte order: the order on the disk.
    pub(super) children: BTreeMap<String, Node>,
    /// Folded name → name.
    folded: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Content),
    Directory(Directory),
}

impl Tree {
    /// An empty root directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, and the directories above it.
    ///
    /// # Errors
    /// [`ErrorKind::FatPath`] for a name that FAT cannot hold, a path that is taken, or a file of 4 GiB and more.
    pub fn add_file(&mut self, path: &str, content: Content) -> Result<(), Error> {
        if content.len() > FILE_LIMIT {
            let problem = format!("{} bytes, but a file on FAT32 has at most {FILE_LIMIT}", content.len());
            return Err(bad(path, problem));
        }
        let parts = name::components(path)?;
        let (file, parents) = parts.split_last().ok_or_else(|| bad(path, "empty".to_owned()))?;
        let directory = self.directory(path, parents)?;
        directory.claim(path, file)?;
        if directory.children.contains_key(*file) {
            return Err(bad(path, "it is there already".to_owned()));
        }
        directory.children.insert((*file).to_owned(), Node::File(content));
        Ok(())
    }

    /// Adds a directory, and those above it. One that is there already is fine.
    ///
    /// # Errors
    /// [`ErrorKind::FatPath`] for a name that FAT cannot hold, or a file of that path.
    pub fn add_dir(&mut self, path: &str) -> Result<(), Error> {
        let parts = name::components(path)?;
        self.directory(path, &parts).map(|_| ())
    }

    /// All files in the order in which they are written: path and content.
    pub fn files(&self) -> Vec<(String, &Content)> {
        let mut files = Vec::new();
        let mut stack = vec![(String::new(), &self.root)];
        while let Some((path, directory)) = stack.pop() {
            for (name, node) in &directory.children {
                match node {
                    Node::File(content) => files.push((format!("{path}{name}"), content)),
                    Node::Directory(inner) => stack.push((format!("{path}{name}/"), inner)),
                }
            }
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        files
    }

    fn directory(&mut self, path: &str, parts: &[&str]) -> Result<&mut Directory, Error> {
        let mut directory = &mut self.root;
        for part in parts {
            directory.claim(path, part)?;
            let node =
                directory.children.entry((*part).to_owned()).or_insert_with(|| Node::Directory(Directory::default()));
            match node {
                Node::Directory(inner) => directory = inner,
                Node::File(_) => return Err(bad(path, format!("{part:?} is a file already"))),
            }
        }
        Ok(directory)
    }
}

impl Directory {
    /// Notes the spelling of a name; another spelling of the same name is refused.
    fn claim(&mut self, path: &str, name: &str) -> Result<(), Error> {
        let known = self.folded.entry(name::fold(name)).or_insert_with(|| name.to_owned());
        if known == name {
            Ok(())
        } else {
            Err(bad(path, format!("{name:?} and {known:?} differ only by case: FAT cannot hold both")))
        }
    }
}

fn bad(path: &str, problem: String) -> Error {
    ErrorKind::FatPath { path: path.to_owned(), problem }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_kept_and_unique() {
        let mut tree = Tree::new();
        tree.add_file("EFI/boot/BOOTAA64.efi", vec![1].into()).unwrap();
        tree.add_dir("/EFI/Linux").unwrap();
        tree.add_dir("EFI").unwrap();
        for (path, problem) in [
            ("efi/x", "\"efi\" and \"EFI\" differ only by case: FAT cannot hold both"),
            (
                "EFI/boot/bootaa64.efi",
                "\"bootaa64.efi\" and \"BOOTAA64.efi\" differ only by case: FAT cannot hold both",
            ),
            ("EFI/boot/BOOTAA64.efi", "it is there already"),
            ("EFI/Linux", "it is there already"),
            ("EFI/boot/BOOTAA64.efi/x", "\"BOOTAA64.efi\" is a file already"),
        ] {
            let error = tree.add_file(path, vec![].into()).unwrap_err();
            assert_eq!(error.to_string(), format!("FAT32: {path:?}: {problem}"));
        }
        assert!(tree.add_file("big", Content::Zero(u64::from(u32::MAX))).is_ok());
        assert!(tree.add_file("bigger", Content::Zero(1 << 32)).is_err());
        assert_eq!(
            tree.files().into_iter().map(|(path, _)| path).collect::<Vec<_>>(),
            ["EFI/boot/BOOTAA64.efi", "big"]
        );
    }
}
