//! `lock`: asks every origin what its bytes are, compares with the lock file, and writes that when nothing moved unasked.
//!
//! What the origins answer is gathered first, without holding anything; then the lock file is read, compared and written
//! under its lock, so that a build that learns something meanwhile loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use imgcore::{Epoch, Finding, ReadAt as _, Report, nearest};

use crate::{
    board::{self, Board, FILES, Origin},
    build::{ARCH, Context},
    error::{Error, Exit, Result},
    image,
    lock::{
        Container, Defaults, Lock,
        changes::{Answer, Asked, AskedImage, Change, Changes, Fact, Kind},
    },
    origin::{Obtained, resolve},
};

/// The epoch of a lock file that has none and is given none. Any instant is as good; a fixed one makes the file of two
/// people the same. 2025-11-22.
const FIRST_EPOCH: u64 = 1_763_769_600;

/// What is asked of `lock`.
#[derive(Debug, Clone, Default)]
pub struct LockRequest {
    /// Boards by name or path, `files` for the files of no board; all if empty.
    pub boards: Vec<String>,
    /// Inputs whose digest may move: `role`, `board/role`, or the reference of an image. Only these are asked.
    pub update: Vec<String>,
    /// What happens to the file.
    pub write: Write,
    /// `SOURCE_DATE_EPOCH`, for a lock file without epoch.
    pub epoch: Option<Epoch>,
}

/// What happens to a lock file that would change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Write {
    /// It is written.
    #[default]
    Yes,
    /// The difference is shown.
    Show,
    /// The difference is an error.
    Refuse,
}

/// What `lock` found and did.
#[derive(Debug)]
pub struct Relocked {
    /// What was found: refused entries as errors, origins that did not answer as warnings.
    pub report: Report,
    /// The difference, an entry for everything that was asked.
    pub changes: Vec<Change>,
    /// The difference for people.
    pub text: String,
    /// Lock files that were written.
    pub written: Vec<PathBuf>,
    /// Why the command fails though nothing was refused: an input that was asked for by name did not answer.
    pub exit: Option<Exit>,
}

/// Asks the origins and brings the lock files up to date.
///
/// # Errors
/// [`Exit::Usage`] for a board, an input or a lock file that is none; [`Exit::Input`] with `SRC004` when the file would
/// change and must not; [`Exit::Io`], [`Exit::Cancelled`].
pub fn lock(request: &LockRequest, context: &Context<'_>) -> Result<Relocked> {
    let boards = boards(request, &context.home.boards)?;
    // Images belong to no board: they are asked where everything is, and where one is named.
    let images = if request.boards.is_empty() { images(context)? } else { BTreeSet::new() };
    check_updates(request, &boards, &images)?;
    let named = !request.boards.is_empty() || !request.update.is_empty();
    let mut asking = Asking {
        context,
        locks: BTreeMap::new(),
        seen: BTreeMap::new(),
        dead: BTreeMap::new(),
        report: Report::new(),
        exit: None,
        broken: false,
    };
    for folder in boards.iter().map(|(board, _)| &board.folder).chain([&context.home.boards]) {
        asking.locks.insert(folder.clone(), Lock::read_if_there(folder)?.unwrap_or_default());
    }
    let mut by_folder: BTreeMap<PathBuf, Vec<Asked>> = BTreeMap::new();
    for (board, given) in &boards {
        let asked = by_folder.entry(board.folder.clone()).or_default();
        for (role, origin) in board.sources.iter().filter(|(_, origin)| origin.is_published()) {
            let update = request.update.iter().any(|name| means(name, &board.name, role, origin));
            if request.update.is_empty() || update {
                let answer = asking.ask(board, role, origin, update, named)?;
                asked.push(Asked { given: given.clone(), ..answer });
            }
        }
    }
    let mut asked_images = Vec::new();
    for (reference, platform) in images {
        let update = request.update.contains(&reference);
        if request.update.is_empty() || update {
            asked_images.push(asking.image(reference, platform, update, named)?);
        }
    }
    let Asking { report, exit, broken, locks, .. } = asking;
    let boards: Vec<_> = boards.into_iter().map(|(board, _)| board).collect();
    // One refused entry keeps the files of all folders as they are.
    let refused = by_folder.iter().any(|(folder, asked)| {
        let images = if *folder == context.home.boards { asked_images.clone() } else { Vec::new() };
        let lock = locks.get(folder).cloned().unwrap_or_default();
        lock.compare(asked.clone(), images, &|_| false).report.has_errors()
    });
    let mut request = request.clone();
    if (broken || refused) && request.write == Write::Yes {
        request.write = Write::Show;
    }
    let mut result = Relocked { report, changes: Vec::new(), text: String::new(), written: Vec::new(), exit };
    for (folder, asked) in by_folder {
        let images = if folder == context.home.boards { std::mem::take(&mut asked_images) } else { Vec::new() };
        result.bring(&request, context, &folder, (asked, images), &boards)?;
    }
    Ok(result)
}

/// The boards that are meant; without names all of them, and the files of no board. One that lies elsewhere comes with what
/// it was asked for by.
fn boards(request: &LockRequest, folder: &Path) -> Result<Vec<(Board, Option<String>)>> {
    let mut boards = Vec::new();
    if request.boards.is_empty() {
        for name in board::names(folder)? {
            boards.push((board::find(folder, &name)?, None));
        }
        boards.extend(board::files(folder)?.map(|board| (board, None)));
        return Ok(boards);
    }
    for name in &request.boards {
        let board = if name == FILES { board::files(folder)? } else { Some(board::find(folder, name)?) };
        let board = board.ok_or_else(|| Error::usage(format!("no {FILES}.toml in {}", folder.display())))?;
        let is_known = |(known, _): &(Board, _)| known.name == board.name && known.folder == board.folder;
        if !boards.iter().any(is_known) {
            let given = (board.folder != folder).then(|| name.clone());
            boards.push((board, given));
        }
    }
    Ok(boards)
}

/// The images that builds take by a tag, and for which platform: those of the lock, and the two of a build that names none.
fn images(context: &Context<'_>) -> Result<BTreeSet<(String, String)>> {
    let folder = &context.home.boards;
    let lock = Lock::read_if_there(folder)?.unwrap_or_default();
    let known = lock.images.into_iter().map(|image| (image.reference, image.platform));
    let talos = Defaults::read(folder)?.talos;
    let usual = ["imager", "installer-base"]
        .map(|name| (format!("ghcr.io/siderolabs/{name}:{talos}"), format!("linux/{ARCH}")));
    Ok(known.chain(usual).collect())
}

/// Whether a name of `--update` means an input.
fn means(name: &str, board: &str, role: &str, origin: &Origin) -> bool {
    name == role || name.split_once('/') == Some((board, role)) || origin.image.as_deref() == Some(name)
}

fn check_updates(
    request: &LockRequest,
    boards: &[(Board, Option<String>)],
    images: &BTreeSet<(String, String)>,
) -> Result<()> {
    let boards = || boards.iter().map(|(board, _)| board);
    for name in request.update.iter().filter(|name| !images.iter().any(|(reference, _)| reference == *name)) {
        let mut inputs = boards().flat_map(|board| board.sources.iter().map(move |(role, from)| (board, role, from)));
        if inputs.clone().any(|(board, role, origin)| origin.is_published() && means(name, &board.name, role, origin)) {
            continue;
        }
        if inputs.any(|(board, role, origin)| means(name, &board.name, role, origin)) {
            return Err(Error::usage(format!("--update {name}: nobody publishes it, so there is nothing to lock"))
                .or_help("give it to the build as --source"));
        }
        let known: BTreeSet<String> = boards()
            .flat_map(|board| {
                board.sources.keys().map(|role| format!("{}/{role}", board.name)).chain(board.sources.keys().cloned())
            })
            .collect();
        let help = nearest(name, known.iter().map(String::as_str)).map_or_else(
            || "give a role, BOARD/ROLE, or the reference of an image".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        return Err(Error::usage(format!("--update names no input: {name}")).or_help(&help));
    }
    Ok(())
}

/// Asks origins one after another and remembers what need not be asked twice.
struct Asking<'a, 'c> {
    context: &'a Context<'c>,
    /// The lock files before anybody was asked, by folder.
    locks: BTreeMap<PathBuf, Lock>,
    /// Archives, packages and images that were seen in this run, by their place.
    seen: BTreeMap<String, Container>,
    /// Hosts that could not be reached in this run, and what was said then.
    dead: BTreeMap<String, String>,
    report: Report,
    exit: Option<Exit>,
    /// Whether the origin of a locked entry answered with something else: then nothing is written.
    broken: bool,
}

impl Asking<'_, '_> {
    fn ask(&mut self, board: &Board, role: &str, origin: &Origin, update: bool, named: bool) -> Result<Asked> {
        let label = format!("{}/{role}", board.name);
        let host = host(origin);
        let answer = match self.dead.get(&host) {
            Some(why) => Answer::Silent(why.clone()),
            None => match self.fact(board, &label, origin) {
                Ok(fact) => Answer::Found(fact),
                Err(error) => {
                    let lock = self.locks.get(&board.folder);
                    let locked = lock.is_some_and(|lock| lock.find(&board.name, role).is_some());
                    let which = Which { label: &label, host: &host, named, locked };
                    self.silent(&which, error)?
                }
            },
        };
        let (board, place) = (board.name.clone(), origin.place());
        Ok(Asked { board, name: role.to_owned(), place, licence: origin.licence.clone(), given: None, update, answer })
    }

    fn fact(&mut self, board: &Board, label: &str, origin: &Origin) -> Result<Fact> {
        let container = origin.container();
        let obtained = resolve(self.context, label, &board.folder, origin, self.seen.get(&container))?;
        let Obtained { blob, sha256, from, .. } = obtained;
        if let Some(from) = &from {
            self.seen.insert(container, from.clone());
        }
        Ok(Fact { sha256, size: blob.size(), from })
    }

    fn image(&mut self, reference: String, platform: String, update: bool, named: bool) -> Result<AskedImage> {
        let host = registry(&reference);
        let answer = match self.dead.get(&host) {
            Some(why) => Err(why.clone()),
            None => match image::ask_reference(self.context, &reference, &platform_of(&platform)?) {
                Ok(image) => Ok(image),
                Err(error) => {
                    let lock = self.locks.get(&self.context.home.boards);
                    let locked = lock.is_some_and(|lock| lock.find_image(&reference, &platform).is_some());
                    let which = Which { label: &reference, host: &host, named, locked };
                    match self.silent(&which, error)? {
                        Answer::Silent(why) => Err(why),
                        Answer::Found(_) => Err(String::new()),
                    }
                }
            },
        };
        Ok(AskedImage { reference, platform, update, answer })
    }

    /// What becomes of an origin that gave no bytes. A network that is not there is no fault of the lock file; everything
    /// else is: an origin that answers with something else than what is locked is an error, whoever was asked for.
    fn silent(&mut self, which: &Which<'_>, error: Error) -> Result<Answer> {
        let Which { label, host, named, locked } = *which;
        let first = error.report().iter().find(|finding| finding.severity == imgcore::Severity::Error);
        let (code, message) = first.map_or(("", ""), |finding| (finding.code, finding.message.as_str()));
        if error.exit() == Exit::Cancelled || code.starts_with("IOE") || code.starts_with("USE") {
            return Err(error);
        }
        let offline = matches!(code, "NET007" | "SRC003") && self.context.network.options().offline;
        let why = match code {
            _ if offline => "--offline was given".to_owned(),
            "NET001" => format!("{host} could not be reached"),
            _ => message.lines().next().unwrap_or_default().to_owned(),
        };
        if matches!(code, "NET001" | "NET004") {
            self.dead.insert(host.to_owned(), why.clone());
        }
        if offline {
            return Ok(Answer::Silent(why));
        }
        let absent = match code {
            "NET001" | "NET002" | "NET004" | "NET005" | "NET006" => true,
            "NET003" => !locked,
            _ => false,
        };
        // Credentials that cannot be read are no answer of the origin.
        if locked && !absent && code != "NET008" {
            self.broken = true;
            self.exit = Some(Exit::Refused);
        } else if named || !absent {
            self.exit = self.exit.or(Some(error.exit()));
        }
        for finding in error.report() {
            let mut finding = finding.clone();
            if !finding.message.starts_with(label) {
                finding.message = format!("{label}: {}", finding.message);
            }
            if !named && absent && finding.severity == imgcore::Severity::Error {
                finding.severity = imgcore::Severity::Warning;
            }
            self.report.push(finding);
        }
        Ok(Answer::Silent(why))
    }
}

/// What is said of an entry whose origin gave no bytes.
#[derive(Debug, Clone, Copy)]
struct Which<'a> {
    label: &'a str,
    /// Who was asked.
    host: &'a str,
    /// Whether it was asked for by name.
    named: bool,
    /// Whether the lock has it.
    locked: bool,
}

/// Whom an origin asks; empty for a local file.
fn host(origin: &Origin) -> String {
    let address = origin.url.as_ref().or_else(|| origin.apt.as_ref().map(|apt| &apt.url));
    if let Some(url) = address.and_then(|url| transfer::Url::parse(url).ok()) {
        return url.host_str().unwrap_or_default().to_owned();
    }
    origin.image.as_ref().map(|image| registry(image)).unwrap_or_default()
}

/// The registry of a reference, Docker's if it names none.
fn registry(reference: &str) -> String {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first.to_owned(),
        _ => "docker.io".to_owned(),
    }
}

fn platform_of(text: &str) -> Result<ocipack::Platform> {
    text.parse().map_err(|_| Error::usage(format!("{}: no platform: {text}", Lock::FILE)))
}

impl Relocked {
    /// Compares with the lock file of a folder and writes it.
    fn bring(
        &mut self,
        request: &LockRequest,
        context: &Context<'_>,
        folder: &Path,
        (asked, images): (Vec<Asked>, Vec<AskedImage>),
        boards: &[Board],
    ) -> Result<()> {
        let home = folder == context.home.boards;
        let name = std::path::absolute(folder.join("sources.lock")).map_err(|error| Error::io(folder, &error))?;
        let _held = context.store.lock(&name.to_string_lossy())?;
        let there = Lock::read_if_there(folder)?;
        let before = there.clone().unwrap_or_default();
        let everything = request.boards.is_empty() && home;
        let all = |board: &str| {
            let here = || boards.iter().any(|known| known.name == board && known.folder == folder);
            request.update.is_empty() && (everything || here())
        };
        let Changes { entries, mut lock, report } = before.compare(asked, images, &all);
        if lock.epoch.is_none() {
            let shared =
                if home { None } else { Lock::read_if_there(&context.home.boards)?.and_then(|lock| lock.epoch) };
            lock.epoch = request.epoch.map(|epoch| epoch.0).or(shared).or(Some(FIRST_EPOCH));
        }
        let refused = report.has_errors();
        let shown = Changes { entries, lock, report };
        self.text.push_str(&shown.text());
        let missing = shown.count(Kind::Unresolved);
        if missing > 0 {
            let named = !request.boards.is_empty() || !request.update.is_empty();
            self.report.push(unresolved(missing, named));
            self.exit = self.exit.or(named.then_some(Exit::Input));
        }
        self.changes.extend(shown.entries);
        self.report.extend(shown.report);
        let path = folder.join(Lock::FILE);
        if there.as_ref() == Some(&shown.lock) {
            return Ok(());
        }
        if request.write == Write::Refuse {
            let finding =
                Finding::error("SRC004", format!("{}: it would change, and --locked is given", path.display()))
                    .help("run `cargo xtask lock`, look at the change, and commit it");
            return Err(Error::new(Exit::Input, finding).after(self.report.clone()));
        }
        if refused || request.write == Write::Show {
            return Ok(());
        }
        shown.lock.write(folder)?;
        self.written.push(path);
        Ok(())
    }
}

fn unresolved(count: usize, named: bool) -> Finding {
    let message = format!("{count} inputs have no digest yet: no origin answered");
    let mut finding = Finding::error("SRC031", message)
        .help("run the command again where there is a network; the first build that needs one resolves it as well");
    if !named {
        finding.severity = imgcore::Severity::Warning;
    }
    finding
}
