//! The program that an image starts, found as a container engine finds it.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, io::Read};

use super::{
    Checked,
    machine::{self, Machines},
};
use crate::{
    read::{NodeKind, findings::quote, paths},
    rules,
};

/// What engines take when the image names no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Programs of one image whose machine is looked at.
const LIMIT: usize = 4096;

/// What the first word of a command leads to.
enum Lookup {
    /// An executable file.
    Program(String),
    /// A file that is not executable, and its mode.
    Plain(String, u32),
    /// Something else; why.
    Nothing(String),
    /// Nobody can tell before the container runs.
    Unknown,
}

impl Checked<'_> {
    /// Checks the program that is started, and returns for which machines the programs of the image are, if `all` are
    /// wanted.
    pub(super) fn programs(&mut self, volumes: &[String], all: bool) -> Machines {
        let run = &self.image.run;
        let mut started = None;
        if let Some(word) = run.entrypoint.first().or(run.cmd.first()) {
            let shown = quote(word.as_bytes());
            match self.lookup(word, volumes) {
                Lookup::Program(path) => started = Some(path),
                Lookup::Plain(path, mode) => {
                    let path = quote(path.as_bytes());
                    self.say(
                        rules::NOT_EXECUTABLE,
                        format!("the image starts {shown}, and {path} has mode {mode:04o}"),
                    );
                }
                Lookup::Nothing(why) => self.say(rules::PROGRAM, format!("the image starts {shown}, but {why}")),
                Lookup::Unknown => {}
            }
        }
        // One name for bytes that have several: links are followed by their bytes, not by their names.
        let mut files: BTreeMap<(usize, u64), &str> = BTreeMap::new();
        if all {
            for (path, node) in self.tree.iter() {
                if let NodeKind::File { size, offset, source, .. } = node.kind
                    && node.mode & 0o111 != 0
                    && size >= machine::HEADER as u64
                    && files.len() < LIMIT
                {
                    files.entry((source, offset)).or_insert(path);
                }
            }
        }
        if let Some(path) = &started
            && let Some(NodeKind::File { offset, source, .. }) = self.tree.get(path).map(|node| &node.kind)
        {
            files.insert((*source, *offset), path);
        }
        let wanted: Vec<&str> = files.into_values().collect();
        let mut found: BTreeMap<String, u16> = BTreeMap::new();
        // Damage was reported when the layers were read.
        let _ = self.image.extract(self.tree, &wanted, &mut |path, _, data| {
            let mut header = Vec::with_capacity(machine::HEADER);
            data.take(machine::HEADER as u64).read_to_end(&mut header)?;
            if let Some(machine) = machine::of(&header) {
                found.insert(path.to_owned(), machine);
            }
            Ok(())
        });
        if let (Some(path), Some(platform)) = (&started, &self.image.platform)
            && let Some(machine) = found.get(path).filter(|machine| machine::refuses(platform, **machine))
        {
            let (path, machine) = (quote(path.as_bytes()), machine::name(*machine));
            self.say(rules::MACHINE, format!("the image starts {path}, which is for {machine}"));
            // The rest would say the same.
            return Machines::new();
        }
        let mut machines = Machines::new();
        for (path, machine) in found {
            machines.entry(machine).or_insert(path);
        }
        machines
    }

    fn lookup(&self, word: &str, volumes: &[String]) -> Lookup {
        let run = &self.image.run;
        if word.is_empty() {
            return Lookup::Nothing("that is no name".to_owned());
        }
        if word.contains('/') {
            let from = format!("{}/x", run.working_dir.trim_matches('/'));
            let Some(path) = paths::follow(from.trim_start_matches('/'), word) else {
                return Lookup::Nothing("that leads out of the image".to_owned());
            };
            return self.at(&path, volumes);
        }
        let path = run.env.iter().rev().find_map(|text| text.strip_prefix("PATH=")).unwrap_or(PATH);
        let mut plain = None;
        for folder in path.split(':') {
            // Relative to wherever the container is.
            if !folder.starts_with('/') {
                return Lookup::Unknown;
            }
            match self.at(&format!("{}/{word}", folder.trim_matches('/')), volumes) {
                Lookup::Nothing(_) => {}
                Lookup::Plain(path, mode) => plain = plain.or(Some(Lookup::Plain(path, mode))),
                found => return found,
            }
        }
        plain.unwrap_or_else(|| Lookup::Nothing(format!("no folder of PATH holds it: {}", quote(path.as_bytes()))))
    }

    fn at(&self, path: &str, volumes: &[String]) -> Lookup {
        let path = path.trim_matches('/');
        let below =
            |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        if ["proc", "sys", "dev"].into_iter().any(below) || volumes.iter().any(|folder| below(folder)) {
            return Lookup::Unknown;
        }
        match self.tree.resolve(path) {
            Ok((at, node)) => match node.kind {
                NodeKind::File { .. } if node.mode & 0o111 != 0 => Lookup::Program(at),
                NodeKind::File { .. } => Lookup::Plain(at, node.mode),
                _ => Lookup::Nothing(format!("{} is a folder", quote(at.as_bytes()))),
            },
            Err(error) => Lookup::Nothing(error.to_string()),
        }
    }
}
