//! A package of a Debian archive: which file it is, with digest and size.
//!
//! `InRelease` (else `Release`) of the suite names the digest of the package index, the index the digest of the package.
//! Signatures are not checked: the lock pins the package, and who writes the lock looks at what it pins.

mod stanzas;
mod version;

#[cfg(test)]
mod tests;

use imgcore::{Digest, Finding, nearest};
use transfer::{Anonymous, Get, Have};

use self::stanzas::{Index, Package, Release};
use crate::{
    board::Apt,
    build::Context,
    error::{Error, Exit, Result},
    fetch::{self, Expected},
    member::{self, Want},
    net::failed,
};

/// Bytes of a `Release` file; Debian's largest has half a megabyte.
const RELEASE_LIMIT: u64 = 16 << 20;
/// Bytes of an index, packed or not; Debian's has 55 MB.
const INDEX_LIMIT: u64 = 1 << 30;
/// In the order in which they are preferred.
const FORMS: [&str; 5] = ["Packages.xz", "Packages.zst", "Packages.gz", "Packages.bz2", "Packages"];

/// A package that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Address of the package.
    pub(crate) url: String,
    /// SHA-256 of the package.
    pub(crate) sha256: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its version.
    pub(crate) version: String,
}

/// The newest version of a package.
///
/// # Errors
/// `SRC024` for a package that is not there, with the nearest name; `SRC025` for an archive whose files do not fit
/// together; those of the network.
pub(crate) fn find(context: &Context<'_>, role: &str, apt: &Apt) -> Result<Found> {
    let base = apt.url.trim_end_matches('/');
    let suite = format!("{base}/dists/{}", apt.suite);
    let folder = format!("{}/binary-{}/", apt.component, apt.arch);
    let text = release_text(context, role, &suite)?;
    let release = stanzas::release(&text, &folder);
    let mut index = Index::new(&apt.package, &apt.arch);
    read_index(context, role, &suite, &folder, &release, &mut index)?;
    let Some(package) = index.best else {
        let near = nearest(&apt.package, index.names.iter().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!("; the nearest name is {near}"));
        let message = format!("{role}: {suite} {folder} holds no package {}{near}", apt.package);
        let help = "correct suite, component, architecture or name of the package in the board file";
        return Err(Error::new(Exit::Input, Finding::error("SRC024", message).help(help)));
    };
    found(base, &package).ok_or_else(|| {
        let message = format!(
            "the package {} {} has no usable file name, size and SHA256: {:?}, {:?}, {:?}",
            apt.package, package.version, package.filename, package.size, package.sha256
        );
        broken(role, &suite, &message)
    })
}

fn found(base: &str, package: &Package) -> Option<Found> {
    let path = package.filename.trim_start_matches("./");
    let inside = !path.is_empty()
        && !path.starts_with('/')
        && path.split('/').all(|name| name != "..")
        && path.chars().all(|c| c.is_ascii_graphic() && !"?#%\\".contains(c));
    Some(Found {
        url: format!("{base}/{path}"),
        sha256: package.sha256.parse().ok()?,
        size: package.size.parse().ok()?,
        version: package.version.clone(),
    })
    .filter(|_| inside)
}

fn broken(role: &str, suite: &str, problem: &str) -> Error {
    let help = "run the command again later, as archives change while they are read; or name another mirror";
    Error::new(Exit::Input, Finding::error("SRC025", format!("{role}: {suite}: {problem}")).help(help))
}

fn is_absent(error: &Error) -> bool {
    error.report().iter().any(|finding| finding.code == "NET003")
}

/// `InRelease`, else `Release`.
fn release_text(context: &Context<'_>, role: &str, suite: &str) -> Result<String> {
    match small(context, role, &format!("{suite}/InRelease")) {
        Err(error) if is_absent(&error) => small(context, role, &format!("{suite}/Release")),
        outcome => outcome,
    }
}

/// A small file whose digest nobody knows: it is asked for each time.
fn small(context: &Context<'_>, role: &str, url: &str) -> Result<String> {
    context.network.allowed(url)?;
    let get = Get { url: vec![context.network.apply_mirrors(url)?], size: None, digest: None, limit: RELEASE_LIMIT };
    let mut bytes = Vec::new();
    let task = format!("asking for {role}");
    let net = context.network.net()?;
    net.get(&get, &Anonymous, Have::default(), &mut bytes, context.progress, &task)
        .map_err(|error| failed(&error, role))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the index in the best form that is there.
fn read_index(
    context: &Context<'_>,
    role: &str,
    suite: &str,
    folder: &str,
    release: &Release,
    index: &mut Index<'_>,
) -> Result<()> {
    let plain = release.indexes.get(&format!("{folder}Packages")).map(|(_, size)| *size);
    let mut absent = None;
    for form in FORMS {
        let path = format!("{folder}{form}");
        let Some((sha256, size)) = release.indexes.get(&path).copied() else { continue };
        if size > INDEX_LIMIT || plain.is_some_and(|plain| plain > INDEX_LIMIT) {
            return Err(broken(role, suite, &format!("{path} has more than {INDEX_LIMIT} bytes")));
        }
        // The same bytes under their digest are there even while the archive is being replaced.
        let mut urls = vec![format!("{suite}/{path}")];
        if release.by_hash {
            urls.insert(0, format!("{suite}/{folder}by-hash/SHA256/{}", sha256.hex()));
        }
        let expected = Expected { sha256: Some(sha256), size: Some(size) };
        match fetch::file(context, role, &urls, &expected) {
            Err(error) if is_absent(&error) => absent = Some(error),
            Err(error) => return Err(error),
            Ok((sha256, _)) => {
                let again = || fetch::file(context, role, &urls, &expected).map(drop);
                let blob = context.store.blob_or(&path, sha256, again)?;
                let want = Want { member: None, range: None, unpacked: Some(plain.unwrap_or(INDEX_LIMIT)) };
                member::take(&blob, &want, index, context.progress).map_err(|fault| fault.into_error(role, &path))?;
                index.end();
                return Ok(());
            }
        }
    }
    Err(absent.unwrap_or_else(|| {
        broken(
            role,
            suite,
            &format!("its release names no index of packages in {folder}, expected {folder}Packages.xz"),
        )
    }))
}
