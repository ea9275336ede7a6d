//! From an origin to bytes: fetched, taken out of an archive, held to the lock, kept in the store.
//!
//! What was taken out of a container is remembered by the container's digest, so that a second build fetches and unpacks
//! nothing.

use std::path::Path;

use imgcore::{Blob, Digest, Finding, ReadAt as _};
use serde::{Deserialize, Serialize};

use crate::{
    apt,
    board::Origin,
    build::Context,
    error::{Error, Exit, Result},
    fetch::{self, Expected},
    files, image_source,
    lock::{Container, Locked},
    member::{self, Want},
    store::canonical_json,
};

/// Name and version of the action that takes something out of a container.
const TAKE: &str = "take-1";

/// One input that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Role.
    pub(crate) role: &'a str,
    /// Where it comes from.
    pub(crate) origin: &'a Origin,
    /// Where relative paths start.
    pub(crate) folder: &'a Path,
    /// What its bytes must be.
    pub(crate) locked: Option<&'a Locked>,
    /// Whether nothing may be learned that the lock does not know.
    pub(crate) frozen: bool,
}

/// An input that is there.
#[derive(Debug, Clone)]
pub(crate) struct Obtained {
    /// The bytes, their digest known.
    pub(crate) blob: Blob,
    /// SHA-256 of the bytes.
    pub(crate) sha256: Digest,
    /// What it was taken out of.
    pub(crate) from: Option<Container>,
    /// Origin in the words of the lock.
    pub(crate) place: String,
    /// Licence, if anybody said it.
    pub(crate) licence: Option<String>,
}

impl Obtained {
    /// The lock entry that this makes.
    pub(crate) fn locked(&self, board: &str, name: &str) -> Locked {
        Locked {
            board: board.to_owned(),
            name: name.to_owned(),
            origin: self.place.clone(),
            sha256: self.sha256,
            size: self.blob.size(),
            licence: self.licence.clone(),
            from: self.from.clone(),
        }
    }
}

/// What holds an input, or is it.
struct Held {
    blob: Blob,
    sha256: Digest,
    /// Where it was found, if the origin only says how to find it.
    url: Option<String>,
    /// Whether it is an image's manifest, of which the file was already taken out.
    inner: Option<Container>,
}

#[derive(Serialize, Deserialize)]
struct TakeRecord {
    sha256: Digest,
    unpacked: u64,
}

/// The bytes of an input, from the store if they are there.
///
/// # Errors
/// `SRC001` for a local file that is not there, `SRC002` for other bytes than the locked ones, `SRC003` offline, `SRC005` for
/// an input of 0 bytes, `SRC006` to `SRC011` from archives, and as [`fetch::file`].
pub(crate) fn obtain(context: &Context<'_>, ask: &Ask<'_>) -> Result<Obtained> {
    let Ask { role, origin, locked, .. } = *ask;
    let licence = locked.and_then(|locked| locked.licence.clone()).or_else(|| origin.licence.clone());
    let whole = origin.member.is_none() && origin.range.is_none();
    // A local file may have changed; what came from elsewhere is what the lock says or nothing.
    if let Some(locked) = locked
        && !(whole && origin.path.is_some())
        && let Some(blob) = context.store.blob(role, locked.sha256)?
    {
        let from = locked.from.clone();
        return Ok(Obtained { blob, sha256: locked.sha256, from, place: locked.origin.clone(), licence });
    }
    let held = hold(context, ask)?;
    found(context, ask, held)
}

/// The bytes that an origin gives at this moment, whatever the lock says. `seen` is its archive or package as an earlier
/// answer of the same run had it, so that one archive is fetched once for all that is taken out of it.
///
/// # Errors
/// As [`obtain`].
pub(crate) fn resolve(
    context: &Context<'_>,
    role: &str,
    folder: &Path,
    origin: &Origin,
    seen: Option<&Container>,
) -> Result<Obtained> {
    // Without a lock entry, what moved may be looked at: that is how its new bytes become known.
    let ask = Ask { role, origin, folder, locked: None, frozen: false };
    let here = match seen.filter(|_| origin.image.is_none()) {
        Some(seen) => context.store.blob(role, seen.sha256)?.map(|blob| (blob, seen)),
        None => None,
    };
    let held = match here {
        Some((blob, seen)) => Held { blob, sha256: seen.sha256, url: seen.url.clone(), inner: None },
        None => hold(context, &ask)?,
    };
    found(context, &ask, held)
}

/// What the origin means of its container, held to the lock.
fn found(context: &Context<'_>, ask: &Ask<'_>, held: Held) -> Result<Obtained> {
    let Ask { role, origin, locked, .. } = *ask;
    let place = origin.place();
    let licence = locked.and_then(|locked| locked.licence.clone()).or_else(|| origin.licence.clone());
    let whole = origin.member.is_none() && origin.range.is_none();
    let (blob, from) = if whole {
        (held.blob, held.inner)
    } else {
        let known = locked.and_then(|locked| locked.from.as_ref());
        // Another container than the locked one reaches no decoder and no parser.
        if let (Some(locked), Some(from)) = (locked, known.filter(|from| from.sha256 != held.sha256)) {
            let expected = (from.sha256, from.size);
            return Err(differs(ask, locked, "the archive is not that", expected, (held.sha256, held.blob.size())));
        }
        let (blob, unpacked) = taken(context, ask, &held, known.and_then(|from| from.unpacked))?;
        let from = Container { url: held.url, sha256: held.sha256, size: held.blob.size(), unpacked };
        (blob, Some(from))
    };
    let sha256 = blob.compute_digest()?;
    if let Some(locked) = locked.filter(|locked| locked.sha256 != sha256) {
        let expected = (locked.sha256, locked.size);
        return Err(differs(ask, locked, "the bytes are not those", expected, (sha256, blob.size())));
    }
    // Nothing starts from 0 bytes, and the lock holds none.
    if blob.size() == 0 {
        let finding =
            Finding::error("SRC005", format!("{role}: the origin gives 0 bytes, expected a file with content"))
                .of(place)
                .help(format!(
                    "correct the origin in the board file, fetch the file again, or give --source {role}=FILE"
                ));
        return Err(Error::new(Exit::Input, finding));
    }
    let place = locked.map_or(place, |locked| locked.origin.clone());
    Ok(Obtained { blob: blob.with_label(role), sha256, from, place, licence })
}

/// Names what the lock expects and what is there, each with its size.
fn differs(ask: &Ask<'_>, locked: &Locked, what: &str, expected: (Digest, u64), found: (Digest, u64)) -> Error {
    let role = ask.role;
    let mut finding = Finding::error("SRC002", format!("{role}: {what} of boards/sources.lock"));
    finding = match &ask.origin.path {
        Some(path) => finding.of(ask.folder.join(path).display().to_string()),
        None => finding.of(ask.origin.place()),
    };
    Error::new(
        Exit::Input,
        finding.help(format!(
            "expected {} ({} bytes), found {} ({} bytes)\norigin: {}\nrestore the file, or use --source {role}=FILE if \
             the other bytes are meant",
            expected.0, expected.1, found.0, found.1, locked.origin
        )),
    )
}

/// The file, archive, package or image that the origin names first.
fn hold(context: &Context<'_>, ask: &Ask<'_>) -> Result<Held> {
    let Ask { role, origin, locked, .. } = *ask;
    let whole = origin.member.is_none() && origin.range.is_none();
    if let Some(path) = &origin.path {
        let path = ask.folder.join(path);
        let sha256 = local_digest(context, role, &path)?;
        let blob = files::open_blob(role, &path, Some(sha256))?;
        return Ok(Held { blob, sha256, url: None, inner: None });
    }
    let expected = match locked {
        Some(locked) if whole => Expected { sha256: Some(locked.sha256), size: Some(locked.size) },
        Some(Locked { from: Some(from), .. }) => Expected { sha256: Some(from.sha256), size: Some(from.size) },
        _ => Expected::default(),
    };
    // The archive may be here although what was taken out of it is not.
    let here = match expected.sha256 {
        Some(sha256) => context.store.blob(role, sha256)?.is_some(),
        None => false,
    };
    let offline = context.network.options().offline;
    // The layers of an image may be here although its file is not.
    if !here && offline && origin.image.is_none() {
        return Err(absent(ask));
    }
    if let Some(url) = &origin.url {
        let urls: Vec<_> = std::iter::once(url).chain(&origin.mirrors).cloned().collect();
        return fetched(context, role, &urls, &expected, None);
    }
    if let (Some(reference), Some(file)) = (&origin.image, &origin.file) {
        // With a member behind the file, the lock's container is the file, not the image.
        if let Some(sha256) = expected.sha256.filter(|_| !whole)
            && let Some(blob) = context.store.blob(role, sha256)?
        {
            return Ok(Held { blob, sha256, url: None, inner: None });
        }
        let from = locked.and_then(|locked| locked.from.as_ref()).filter(|_| whole);
        let image =
            image_source::Ask { role, reference, file, platform: origin.platform.as_deref(), frozen: ask.frozen };
        let taken = image_source::take(context, &image, from);
        let image_source::FromImage { blob, from } = taken.map_err(|error| {
            let missing = offline && error.report().iter().any(|finding| finding.code == "NET007");
            if missing { absent(ask) } else { error }
        })?;
        let sha256 = blob.compute_digest()?;
        return Ok(Held { blob, sha256, url: None, inner: from });
    }
    if let Some(apt) = &origin.apt {
        // A locked package is fetched from where it was found, not looked for again.
        if let (Some(url), Some(_)) = (locked.and_then(|locked| locked.from.as_ref()?.url.clone()), expected.sha256) {
            return fetched(context, role, std::slice::from_ref(&url), &expected, Some(url.clone()));
        }
        let found = apt::find(context, role, apt)?;
        let expected = Expected { sha256: Some(found.sha256), size: Some(found.size) };
        return fetched(context, role, std::slice::from_ref(&found.url), &expected, Some(found.url.clone()));
    }
    Err(absent(ask))
}

fn fetched(
    context: &Context<'_>,
    role: &str,
    urls: &[String],
    expected: &Expected,
    url: Option<String>,
) -> Result<Held> {
    let (sha256, _) = fetch::file(context, role, urls, expected)?;
    let label = urls.first().and_then(|url| url.rsplit('/').next()).unwrap_or(role);
    let again = Expected { sha256: Some(sha256), ..*expected };
    let blob = context.store.blob_or(label, sha256, || fetch::file(context, role, urls, &again).map(drop))?;
    Ok(Held { blob, sha256, url, inner: None })
}

/// The digest of a local file.
pub(crate) fn local_digest(context: &Context<'_>, role: &str, path: &Path) -> Result<Digest> {
    if path.is_file() {
        return context.store.file_digest(path);
    }
    let what = if path.exists() { "is no file" } else { "does not exist" };
    let finding = Finding::error("SRC001", format!("{role}: {} {what}", path.display()))
        .help(format!("give the path of the file that holds {role}"));
    Err(Error::new(Exit::Input, finding))
}

/// What is not in the store and may not be fetched.
fn absent(ask: &Ask<'_>) -> Error {
    let Ask { role, origin, locked, .. } = *ask;
    let file = origin.file_name();
    let expected = locked.map_or_else(
        || "nobody has resolved it: no digest is known\n".to_owned(),
        |locked| format!("expected {} bytes with {}\n", locked.size, locked.sha256),
    );
    let note = origin.note.as_ref().map_or_else(String::new, |note| format!("{note}\n"));
    let message = format!("{role}: not fetched, and --offline forbids to: use --source {role}={file}");
    let finding = Finding::error("SRC003", message).of(origin.place()).help(format!(
        "{expected}{note}give --source {role}={file}, or run `cargo xtask fetch` where there is a network"
    ));
    Error::new(Exit::Input, finding)
}

/// What the origin's `member` and `range` mean of a container, and how much came out of its decoders.
fn taken(context: &Context<'_>, ask: &Ask<'_>, held: &Held, limit: Option<u64>) -> Result<(Blob, Option<u64>)> {
    let Ask { role, origin, .. } = *ask;
    let range = origin.range.map(|range| (range.offset, range.length));
    let key = Digest::of(&canonical_json(&(held.sha256, &origin.member, range)));
    let packed = |unpacked: u64| (unpacked > 0).then_some(unpacked);
    let _lock = context.store.lock_patiently(&format!("{TAKE} {key}"), context.progress)?;
    if let Some(record) = context.store.action::<TakeRecord>(TAKE, key)
        && let Some(blob) = context.store.blob(role, record.sha256)?
    {
        return Ok((blob, packed(record.unpacked)));
    }
    let mut incoming = context.store.incoming()?;
    let want = Want { member: origin.member.as_deref(), range, unpacked: limit };
    let got = member::take(&held.blob, &want, &mut incoming, context.progress)
        .map_err(|fault| fault.into_error(role, &origin.place()))?;
    let (sha256, _) = incoming.commit()?;
    context.store.record(TAKE, key, &TakeRecord { sha256, unpacked: got.unpacked })?;
    let blob = files::open_blob(role, &context.store.blob_path(sha256), Some(sha256))?;
    Ok((blob, packed(got.unpacked)))
}
