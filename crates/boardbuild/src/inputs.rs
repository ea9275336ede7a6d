//! Inputs by role: from `--source`, from the board file's own folder, from the store by digest.

use std::{collections::BTreeMap, path::Path};

use imgcore::{Blob, Digest, Finding, nearest};

use crate::{
    base::BASE_ROLES,
    board::{Board, Scenario},
    build::Context,
    error::{Error, Exit, Result},
    files,
    lock::{Lock, changes::update_command},
    origin::{Ask, Obtained, local_digest, obtain},
    request::Request,
    store::Store,
};

/// An input: its bytes, and where they came from in words that hold on any machine.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// Role.
    pub name: String,
    /// The bytes, their digest known.
    pub blob: Blob,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// Origin without host paths.
    pub origin: String,
    /// Licence, if the lock knows it.
    pub licence: Option<String>,
}

/// Finds inputs and keeps what it found.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    pub(crate) board: &'a Board,
    pub(crate) request: &'a Request,
    pub(crate) context: &'a Context<'a>,
    pub(crate) lock: Lock,
    /// Whether the lock was added to.
    pub(crate) learned: bool,
}

impl<'a> Resolver<'a> {
    /// A resolver for one board.
    ///
    /// # Errors
    /// [`Exit::Usage`] when `--source` names a role that the board does not have.
    pub(crate) fn new(board: &'a Board, request: &'a Request, context: &'a Context<'a>, lock: Lock) -> Result<Self> {
        let known: Vec<_> = board.roles().into_iter().chain(BASE_ROLES.map(|(role, _)| role)).collect();
        for role in request.sources.keys() {
            if !known.contains(&role.as_str()) {
                let help = nearest(role, known.iter().copied()).map_or_else(
                    || format!("{} has: {}", board.name, known.join(", ")),
                    |near| format!("did you mean {near}? {} has: {}", board.name, known.join(", ")),
                );
                return Err(Error::usage(format!("--source names no input of this board: {role}")).or_help(&help));
            }
        }
        Ok(Self { board, request, context, lock, learned: false })
    }

    /// The lock with what was learned, if anything was.
    pub(crate) fn into_lock(self) -> Option<Lock> {
        self.learned.then_some(self.lock)
    }

    /// The inputs of a scenario and of the device tree, by role.
    ///
    /// # Errors
    /// [`Exit::Input`] when any is missing or has another digest; all of them are named.
    pub(crate) fn board_inputs(&mut self, scenario: Option<&Scenario>) -> Result<BTreeMap<String, Input>> {
        let board = self.board;
        let files = scenario.into_iter().flat_map(|scenario| &scenario.files).map(|file| file.source.as_str());
        let mut inputs = BTreeMap::new();
        let mut missing: Option<Error> = None;
        for role in files.chain(board.dtb.iter().flat_map(crate::board::Dtb::roles)) {
            match self.board_input(role) {
                Ok(input) => {
                    inputs.insert(role.to_owned(), input);
                }
                Err(error) if error.exit() == Exit::Input => missing = Some(join(missing, error)),
                Err(error) => return Err(join(missing, error)),
            }
        }
        // Without an image of its own the flash gets one made of the boot files.
        if let Some(spi) = &board.spi
            && (self.request.sources.contains_key(&spi.source) || board.sources.contains_key(&spi.source))
        {
            match self.board_input(&spi.source) {
                Ok(input) => {
                    inputs.insert(spi.source.clone(), input);
                }
                Err(error) if error.exit() == Exit::Input => missing = Some(join(missing, error)),
                Err(error) => return Err(join(missing, error)),
            }
        }
        missing.map_or(Ok(inputs), Err)
    }

    /// Every input of the board file that anybody publishes, by role.
    ///
    /// # Errors
    /// As [`board_inputs`](Self::board_inputs).
    pub(crate) fn published_inputs(&mut self) -> Result<BTreeMap<String, Input>> {
        let board = self.board;
        let (mut inputs, mut missing) = (BTreeMap::new(), None);
        for (role, _) in board.sources.iter().filter(|(_, origin)| origin.is_published()) {
            match self.board_input(role) {
                Ok(input) => drop(inputs.insert(role.clone(), input)),
                Err(error) if error.exit() == Exit::Input => missing = Some(join(missing, error)),
                Err(error) => return Err(join(missing, error)),
            }
        }
        missing.map_or(Ok(inputs), Err)
    }

    fn board_input(&mut self, role: &str) -> Result<Input> {
        if let Some(path) = self.request.sources.get(role) {
            return self.given(role, path);
        }
        let locked = self.lock.find(&self.board.name, role).cloned();
        let Some(origin) = self.board.sources.get(role).filter(|origin| !origin.place().is_empty()) else {
            let note = self.board.sources.get(role).and_then(|origin| origin.note.as_deref());
            let help = note.map_or_else(String::new, |note| format!("{note}\n")) + &self.how_to_give(role, "FILE");
            let finding =
                Finding::error("SRC001", format!("{} needs the input {role}, which has no origin", self.board.name))
                    .help(help);
            return Err(Error::new(Exit::Input, finding));
        };
        if locked.is_none() && self.request.locked {
            let message = format!("{role} is not in boards/sources.lock, and --locked is given");
            let help = "build once without --locked, look at the change of boards/sources.lock, and commit it";
            return Err(Error::new(Exit::Input, Finding::error("SRC004", message).help(help)));
        }
        if let Some(locked) = locked.as_ref().filter(|locked| locked.origin != origin.place()) {
            let outside = self.board.folder != self.context.home.boards;
            let given = outside.then_some(self.request.board.as_str());
            let cure = update_command(&self.board.name, role, given);
            return Err(elsewhere(role, &locked.origin, &origin.place(), &cure));
        }
        let ask =
            Ask { role, origin, folder: &self.board.folder, locked: locked.as_ref(), frozen: self.request.locked };
        let mut obtained = obtain(self.context, &ask)?;
        if locked.is_none() {
            let open = self.lock.find_unresolved(&self.board.name, role);
            obtained.licence = obtained.licence.or_else(|| open.and_then(|open| open.licence.clone()));
            self.lock.set(obtained.locked(&self.board.name, role));
            self.learned = true;
        }
        let Obtained { blob, sha256, place: origin, licence, .. } = obtained;
        Ok(Input { name: role.to_owned(), blob, sha256, origin, licence })
    }

    fn how_to_give(&self, role: &str, file: &str) -> String {
        format!("give it as --source {role}={file}, or add [sources.{role}] to the board file {}.toml", self.board.name)
    }

    pub(crate) fn given(&self, role: &str, path: &Path) -> Result<Input> {
        let sha256 = local_digest(self.context, role, path)?;
        let blob = files::open_blob(role, path, Some(sha256))?;
        Ok(Input { name: role.to_owned(), blob, sha256, origin: "local file".to_owned(), licence: None })
    }
}

/// Adds what was learned of a board's inputs to the lock file in `folder`, as that is at this moment.
///
/// # Errors
/// `SRC030` when the file came to name other bytes while this command ran: what was made of the bytes that were learned must
/// not be published. [`Exit::Io`] with the path, [`Exit::Usage`] for a lock file that is not valid.
pub(crate) fn keep_lock(folder: &Path, board: &str, learned: &Lock, store: &Store) -> Result<()> {
    // Not the folder's own lock: that is held by who writes outputs into it, and they may lie beside the board file.
    let name = std::path::absolute(folder.join("sources.lock")).map_err(|error| Error::io(folder, &error))?;
    let _held = store.lock(&name.to_string_lossy())?;
    let mut lock = Lock::read_if_there(folder)?.unwrap_or_else(|| learned.clone());
    for locked in learned.sources.iter().filter(|locked| locked.board == board) {
        match lock.find(&locked.board, &locked.name) {
            None => lock.set(locked.clone()),
            Some(there) if there.sha256 == locked.sha256 => {}
            Some(there) => {
                let label = format!("{board}/{}", locked.name);
                return Err(overtaken(&label, &locked.origin, there.sha256, locked.sha256));
            }
        }
    }
    for image in &learned.images {
        match lock.find_image(&image.reference, &image.platform) {
            None => lock.set_image(image.clone()),
            Some(there) if there.digest == image.digest => {}
            Some(there) => {
                let origin = format!("{} for {}", image.reference, image.platform);
                return Err(overtaken(&image.reference, &origin, there.digest, image.digest));
            }
        }
    }
    lock.write(folder)
}

/// Somebody else locked other bytes between the moment when this command read the lock file and the one when it adds to it.
fn overtaken(label: &str, origin: &str, there: Digest, learned: Digest) -> Error {
    let message = format!(
        "{label}: another command locked other bytes while this one ran: expected {there}, found {learned}; nothing is \
         published"
    );
    let finding = Finding::error("SRC030", message)
        .of(origin)
        .help("the origin gave two answers: find out why, then run the command again with the lock file as it is");
    Error::new(Exit::Refused, finding)
}

/// The lock entry of an input is for another origin than the board file names: its digest says nothing about this one.
pub(crate) fn elsewhere(role: &str, locked: &str, named: &str, cure: &str) -> Error {
    let finding = Finding::error("SRC032", format!("{role}: boards/sources.lock has it from another origin"))
        .of(named)
        .help(format!("locked from: {locked}\nrun `{cure}` and look at the change"));
    Error::new(Exit::Input, finding)
}

/// Two errors as one.
pub(crate) fn join(earlier: Option<Error>, later: Error) -> Error {
    match earlier {
        Some(earlier) => later.after(earlier.report().clone()),
        None => later,
    }
}

#[cfg(test)]
mod tests {
    use imgcore::Epoch;

    use super::*;
    use crate::lock::{Locked, LockedImage};

    #[test]
    fn what_another_command_locked_meanwhile_is_not_overruled() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("store")).unwrap();
        let learn = |input: &[u8], image: &[u8]| {
            let mut lock = Lock::new(Epoch(0));
            lock.set(Locked {
                board: "b".to_owned(),
                name: "x".to_owned(),
                origin: "https://h/x".to_owned(),
                sha256: Digest::of(input),
                size: 1,
                licence: None,
                from: None,
            });
            lock.set_image(LockedImage {
                reference: "h/i:v1".to_owned(),
                platform: "linux/arm64".to_owned(),
                digest: Digest::of(image),
                size: 1,
                unpacked: None,
            });
            lock
        };
        let first = learn(b"1", b"1");
        keep_lock(home.path(), "b", &first, &store).unwrap();
        keep_lock(home.path(), "b", &first, &store).unwrap();
        for other in [learn(b"2", b"1"), learn(b"1", b"2")] {
            let error = keep_lock(home.path(), "b", &other, &store).unwrap_err();
            let said = error.to_string();
            for part in ["SRC030", &Digest::of(b"1").to_string(), &Digest::of(b"2").to_string()] {
                assert!(said.contains(part), "{part}\n{said}");
            }
            assert_eq!(error.exit_code(), 1);
            assert_eq!(Lock::read(home.path()).unwrap(), first);
        }
    }
}
