//! Files from the network into the store: whole, proved, and begun only once.

use imgcore::Digest;
use transfer::{Anonymous, Get, Have, Url};

use crate::{build::Context, error::Result, net::failed, partial::Partial};

/// The most that is taken of a file whose size nobody locked.
pub const UNLOCKED_LIMIT: u64 = 4 << 30;

/// What is known of a file before it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// SHA-256 of its bytes.
    pub sha256: Option<Digest>,
    /// Size in bytes.
    pub size: Option<u64>,
}

/// Fetches a file into the store, unless it is there, and says its digest and size. The addresses are asked in order; what
/// an earlier run got of the file is gone on with. Nothing has its final name before its digest was seen.
///
/// # Errors
/// `NET007` offline, `SRC002` for other bytes than expected from every address, `SRC009` for too many, `NET001` to
/// `NET006` from the network, `IOE001` from the store. `label` is whose file it is.
pub(crate) fn file(context: &Context<'_>, label: &str, urls: &[String], expected: &Expected) -> Result<(Digest, u64)> {
    let shown = urls.first().map_or(label, String::as_str);
    if let Some(digest) = expected.sha256
        && let Some(blob) = context.store.blob(label, digest)?
    {
        return Ok((digest, imgcore::ReadAt::size(&blob)));
    }
    context.network.allowed(shown)?;
    let net = context.network.net()?;
    let url = urls.iter().map(|url| context.network.apply_mirrors(url)).collect::<Result<Vec<_>>>()?;
    let mut partial = match expected.sha256 {
        Some(digest) => loop {
            if let Some(partial) = context.store.receive(digest, context.progress)? {
                break partial;
            }
            // Another process has fetched it meanwhile; if it is gone again, it is received here.
            if let Some(blob) = context.store.blob(label, digest)? {
                return Ok((digest, imgcore::ReadAt::size(&blob)));
            }
        },
        None => context.store.receive_unknown(shown, context.progress)?,
    };
    let limit = expected.size.unwrap_or(UNLOCKED_LIMIT);
    let get = Get { url, size: expected.size, digest: expected.sha256, limit };
    let have = have(&partial, get.url.first().map_or("", Url::as_str));
    let got = net
        .get(&get, &Anonymous, have, &mut partial, context.progress, &format!("fetching {label}"))
        .map_err(|error| failed(&error, label))?;
    Ok((partial.commit()?, got.size))
}

/// What an earlier run left, when `address` is asked first: without a digest only what it gave itself is gone on with.
fn have(partial: &Partial, address: &str) -> Have {
    Have { offset: partial.size(), hasher: partial.hasher().clone(), validator: partial.tag(address) }
}
