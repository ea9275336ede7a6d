//! Everything that a board needs, brought here before it is needed: into the store, or into a folder.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, path::Path};

use imgcore::{Digest, HashingWriter, ReadAt as _, ReadAtCursor};
use serde::Serialize;

use crate::{
    base::BASE_ROLES,
    board::{self, Board},
    body::Target,
    build::{ARCH, Context, SHA256SUMS},
    error::{Error, Result},
    files::{self, Outputs},
    inputs::{Input, Resolver, join, keep_lock},
    installer_base::Found,
    lock::{Defaults, Lock},
    request::Request,
};

/// What is brought here.
#[derive(Debug, Clone)]
pub struct SupplyRequest {
    /// Names or paths of boards; `files` for the files of no board.
    pub boards: Vec<String>,
    /// Whether all boot scenarios are meant, not only the one that the request names.
    pub all: bool,
    /// What decides about the inputs of each board, as in a build; its board is not read.
    pub build: Request,
}

/// One input that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Supplied {
    /// Board that needs it.
    pub board: String,
    /// Role in the board.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Where it came from.
    pub origin: String,
    /// Licence, if anybody said it.
    pub licence: Option<String>,
    /// Its file inside the folder; `None` when it was only fetched.
    pub file: Option<String>,
}

/// What [`vendor`] left.
#[derive(Debug)]
pub struct Vendored {
    /// Inputs, in the order of boards and roles.
    pub inputs: Vec<Supplied>,
    /// Files that were written; empty when all were there.
    pub written: Vec<String>,
    /// For each board the options that build it from the folder.
    pub options: Vec<(String, Vec<String>)>,
}

struct Gathered {
    board: String,
    inputs: Vec<Input>,
    images: Vec<Supplied>,
    skipped: Option<String>,
    base: Vec<(&'static str, Input)>,
    extensions: BTreeMap<String, String>,
}

/// What [`fetch`] brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Inputs, in the order of boards and roles.
    pub inputs: Vec<Supplied>,
    /// For boards without a base for their installer image why there is none, in a line each.
    pub skipped: Vec<String>,
}

/// Fetches into the store what boards need, so that a build needs no network.
///
/// # Errors
/// As a build; what all boards lack is named at once.
pub fn fetch(request: &SupplyRequest, context: &Context<'_>) -> Result<Fetched> {
    let gathered = gather_all(request, context)?;
    let mut supplied = Vec::new();
    for board in &gathered {
        let base = board.base.iter().map(|(_, input)| input);
        supplied.extend(board.inputs.iter().chain(base).map(|input| row(&board.board, input, None)));
        supplied.extend(board.images.iter().cloned());
    }
    let skipped = gathered.iter().filter_map(|board| Some(format!("{}: {}", board.board, board.skipped.as_ref()?)));
    Ok(Fetched { inputs: supplied, skipped: skipped.collect() })
}

/// Puts what boards need into one folder: `BOARD/ROLE.ext`, the base's files under `usr/install/`, `sources.toml` with the
/// options that use them, `LICENCES.txt`, `SHA256SUMS`. A file that is there and right is left alone; the same inputs always
/// give the same bytes.
///
/// # Errors
/// As [`fetch`], and [`Exit::Io`](crate::Exit::Io) for the folder. Boards with different bases need folders of their own.
pub fn vendor(request: &SupplyRequest, folder: &Path, context: &Context<'_>) -> Result<Vendored> {
    let gathered = gather_all(request, context)?;
    let place = std::path::absolute(folder).map_err(|error| Error::io(folder, &error))?;
    let _held = context.store.lock_patiently(&place.to_string_lossy(), context.progress)?;
    let mut files: BTreeMap<String, (Digest, Option<&Input>, Vec<u8>)> = BTreeMap::new();
    let (mut inputs, mut options) = (Vec::new(), Vec::new());
    for board in &gathered {
        let mut given = Vec::new();
        for input in &board.inputs {
            let extension = board.extensions.get(&input.name).map_or("", String::as_str);
            let file = format!("{}/{}{extension}", board.board, input.name);
            given.push(format!("--source {}={}", input.name, folder.join(&file).display()));
            files.insert(file.clone(), (input.sha256, Some(input), Vec::new()));
            inputs.push(row(&board.board, input, Some(file)));
        }
        for (file, input) in &board.base {
            let file = format!("usr/install/{ARCH}/{file}");
            if files.get(&file).is_some_and(|(sha256, ..)| *sha256 != input.sha256) {
                let message = format!("{} has another base than the boards before it: {file} differs", board.board);
                return Err(Error::usage(message).or_help("vendor boards with different bases into different folders"));
            }
            files.insert(file.clone(), (input.sha256, Some(input), Vec::new()));
            inputs.push(row(&board.board, input, Some(file)));
        }
        if !board.base.is_empty() {
            given.insert(0, format!("--base dir:{}", folder.display()));
        }
        options.push((board.board.clone(), given));
    }
    for (name, text) in [("sources.toml", sources_text(&inputs)), ("LICENCES.txt", licences_text(&inputs))] {
        files.insert(name.to_owned(), (Digest::of(text.as_bytes()), None, text.into_bytes()));
    }
    let mut sums = String::new();
    for (file, (sha256, ..)) in &files {
        let _ = writeln!(sums, "{}  {file}", sha256.hex());
    }
    let mut written = Vec::new();
    for (file, (sha256, input, bytes)) in &files {
        if put(folder, file, *sha256, *input, bytes, context)? {
            written.push(file.clone());
        }
    }
    // Last, so that it never lists what is not there.
    if put(folder, SHA256SUMS, Digest::of(sums.as_bytes()), None, sums.as_bytes(), context)? {
        written.push(SHA256SUMS.to_owned());
    }
    Ok(Vendored { inputs, written, options })
}

/// Writes a file unless it is there with these bytes.
fn put(
    folder: &Path,
    file: &str,
    sha256: Digest,
    input: Option<&Input>,
    bytes: &[u8],
    context: &Context<'_>,
) -> Result<bool> {
    if context.progress.cancelled() {
        return Err(Error::cancelled());
    }
    let path = folder.join(file);
    if path.is_file() && files::open_blob(file, &path, None)?.compute_digest()? == sha256 {
        return Ok(false);
    }
    let (parent, name) = (path.parent().unwrap_or(folder), path.file_name().unwrap_or_default().to_string_lossy());
    let mut outputs = Outputs::open(parent)?;
    let mut writer = HashingWriter::new(outputs.temporary()?);
    match input {
        Some(input) => std::io::copy(&mut ReadAtCursor::new(&input.blob), &mut writer).map(drop),
        None => writer.write_all(bytes),
    }
    .map_err(|error| files::named(&path, &error))?;
    let (temporary, found, _) = writer.finish();
    if found != sha256 {
        return Err(Error::io(
            &path,
            &std::io::Error::other("the input changed while it was copied: run the command again"),
        ));
    }
    outputs.finish(temporary, &name)?;
    outputs.publish()?;
    Ok(true)
}

fn row(board: &str, input: &Input, file: Option<String>) -> Supplied {
    Supplied {
        board: board.to_owned(),
        name: input.name.clone(),
        sha256: input.sha256,
        size: input.blob.size(),
        origin: input.origin.clone(),
        licence: input.licence.clone(),
        file,
    }
}

fn gather_all(request: &SupplyRequest, context: &Context<'_>) -> Result<Vec<Gathered>> {
    let (mut gathered, mut missing) = (Vec::new(), None);
    for name in &request.boards {
        match gather(request, name, context) {
            Ok(board) => gathered.push(board),
            Err(error) if error.exit() == crate::Exit::Input => missing = Some(join(missing, error)),
            Err(error) => return Err(join(missing, error)),
        }
    }
    missing.map_or(Ok(gathered), Err)
}

/// Resolves one board's inputs and its base.
fn gather(request: &SupplyRequest, name: &str, context: &Context<'_>) -> Result<Gathered> {
    let build = Request { board: name.to_owned(), ..request.build.clone() };
    if name == board::FILES {
        return gather_files(&build, context);
    }
    let board = board::find(&context.home.boards, name)?;
    let defaults = Defaults::read(&context.home.boards)?;
    let lock = Lock::read_if_there(&board.folder)?.unwrap_or_default();
    let target = Target::decide(&build, &board, &defaults.talos)?.0;
    let mut resolver = Resolver::new(&board, &build, context, lock)?;
    let (mut inputs, mut missing) = (BTreeMap::new(), None);
    for scenario in scenarios(&board, &build, request.all)? {
        match resolver.board_inputs(scenario) {
            Ok(found) => inputs.extend(found),
            // What is missing for two scenarios is missing once.
            Err(error) if error.exit() == crate::Exit::Input => missing = Some(join(missing, error)),
            Err(error) => return Err(error),
        }
    }
    let base = match resolver.base_inputs(ARCH, target.version.as_str()) {
        Ok(base) => base,
        Err(error) if error.exit() == crate::Exit::Input => {
            missing = Some(join(missing, error));
            BTreeMap::new()
        }
        Err(error) => return Err(join(missing, error)),
    };
    let (images, skipped) = match images(&mut resolver, &board, target.version.as_str(), context) {
        Ok(images) => images,
        Err(error) if error.exit() == crate::Exit::Input => {
            missing = Some(join(missing, error));
            (Vec::new(), None)
        }
        Err(error) => return Err(join(missing, error)),
    };
    // What was found is locked even if something else is missing.
    if let Some(learned) = resolver.into_lock() {
        keep_lock(&board.folder, &board.name, &learned, context.store)?;
    }
    if let Some(error) = missing {
        return Err(error);
    }
    let base = BASE_ROLES.into_iter().filter_map(|(role, file)| Some((file, base.get(role)?.clone()))).collect();
    let extensions = inputs.keys().map(|role| (role.clone(), extension(&board, role))).collect();
    Ok(Gathered {
        board: board.name.clone(),
        inputs: inputs.into_values().collect(),
        images,
        skipped,
        base,
        extensions,
    })
}

/// What an installer image stands on, and the extensions: whole images, which a folder of inputs does not hold.
fn images(
    resolver: &mut Resolver<'_>,
    board: &Board,
    talos: &str,
    context: &Context<'_>,
) -> Result<(Vec<Supplied>, Option<String>)> {
    let image = |name: String, sha256: Digest, size: u64, origin: &str| Supplied {
        board: board.name.clone(),
        name,
        sha256,
        size,
        origin: origin.to_owned(),
        licence: None,
        file: None,
    };
    let (mut images, mut skipped) = (Vec::new(), None);
    match resolver.installer_base(ARCH, talos)? {
        Found::Base(base) => {
            base.image(context)?;
            images.push(image("installer-base".to_owned(), base.digest, base.size, &base.origin));
        }
        Found::None(why) => skipped = Some(why),
    }
    for (number, source) in resolver.extensions(ARCH)?.iter().enumerate() {
        source.fetch(context)?;
        images.push(image(format!("extension-{number}"), source.digest, source.size, &source.origin));
    }
    Ok((images, skipped))
}

/// The files of `boards/files.toml`, which belong to no board.
fn gather_files(build: &Request, context: &Context<'_>) -> Result<Gathered> {
    let board = board::files(&context.home.boards)?;
    let board = board.ok_or_else(|| Error::usage(format!("no {}.toml beside the boards", board::FILES)))?;
    let lock = Lock::read_if_there(&board.folder)?.unwrap_or_default();
    let mut resolver = Resolver::new(&board, build, context, lock)?;
    let inputs = resolver.published_inputs();
    if let Some(learned) = resolver.into_lock() {
        keep_lock(&board.folder, &board.name, &learned, context.store)?;
    }
    let inputs = inputs?;
    let extensions = inputs.keys().map(|role| (role.clone(), extension(&board, role))).collect();
    Ok(Gathered {
        board: board.name.clone(),
        inputs: inputs.into_values().collect(),
        images: Vec::new(),
        skipped: None,
        base: Vec::new(),
        extensions,
    })
}

fn scenarios<'a>(board: &'a Board, build: &Request, all: bool) -> Result<Vec<Option<&'a board::Scenario>>> {
    if all && !board.boot.is_empty() {
        return Ok(board.boot.values().map(Some).collect());
    }
    Ok(vec![board.scenario(build.boot.as_deref())?.map(|(_, scenario)| scenario)])
}

/// The ending of the origin's own name, so that people know the file.
fn extension(board: &Board, role: &str) -> String {
    let name = board.sources.get(role).map_or("", |origin| origin.file_name());
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    let plain = |ending: &&str| ending.len() <= 8 && ending.chars().all(|c| c.is_ascii_alphanumeric());
    ending.filter(plain).map_or_else(String::new, |ending| format!(".{ending}"))
}

/// The inputs and, for each, the option that uses it; paths start at the folder.
fn sources_text(inputs: &[Supplied]) -> String {
    let mut text = String::from(
        "# What lies in this folder, and the option of `cargo xtask image BOARD` that uses it; `DIR` is this folder.\n",
    );
    for input in inputs {
        let file = input.file.as_deref().unwrap_or_default();
        let option = if file.starts_with("usr/") {
            "--base dir:DIR".to_owned()
        } else {
            format!("--source {}=DIR/{file}", input.name)
        };
        let string = |text: &str| toml::Value::from(text).to_string();
        let _ = write!(
            text,
            "\n[[source]]\nboard = {}\nname = {}\nfile = {}\noption = {}\norigin = {}\nsha256 = {}\nsize = {}\n",
            string(&input.board),
            string(&input.name),
            string(file),
            string(&option),
            string(&input.origin),
            string(&input.sha256.to_string()),
            input.size,
        );
        if let Some(licence) = &input.licence {
            let _ = writeln!(text, "licence = {}", string(licence));
        }
    }
    text
}

fn licences_text(inputs: &[Supplied]) -> String {
    let mut lines: Vec<_> = inputs
        .iter()
        .map(|input| {
            let licence = input.licence.as_deref().unwrap_or("not stated: ask its origin");
            format!("{}: {licence}\n    from {}\n", input.file.as_deref().unwrap_or_default(), input.origin)
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}
