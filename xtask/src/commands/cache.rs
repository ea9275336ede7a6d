//! `cache`.

use std::fmt::Write as _;

use boardbuild::{ByteSize, Error};
use serde_json::json;

use crate::{
    args::{CacheCommand, Global},
    commands::store,
    render::Outcome,
};

/// Looks after the store.
pub(crate) fn run(command: CacheCommand, global: &Global) -> Result<Outcome, Error> {
    let store = store(global)?;
    let root = store.root().display().to_string();
    let (text, result) = match command {
        CacheCommand::Stats => {
            let stats = store.stats()?;
            let text = format!(
                "{root}\n{} blobs, {}\n{} action records, {}\n{} blobs that arrived in part, {}\n{} temporary files, {}\n{} uploads begun\n",
                stats.blobs,
                ByteSize(stats.blob_bytes),
                stats.actions,
                ByteSize(stats.action_bytes),
                stats.partial,
                ByteSize(stats.partial_bytes),
                stats.temporary,
                ByteSize(stats.temporary_bytes),
                stats.uploads
            );
            (text, json!({ "root": root, "stats": stats }))
        }
        CacheCommand::Gc => {
            let (files, bytes) = store.collect()?;
            (
                format!("{root}\nremoved {files} files, {}\n", ByteSize(bytes)),
                json!({ "root": root, "files": files, "bytes": bytes }),
            )
        }
        CacheCommand::Verify => {
            let (read, removed) = store.verify()?;
            let removed: Vec<_> = removed.iter().map(|path| path.display().to_string()).collect();
            let mut text = format!("{root}\n{read} blobs read, {} damaged\n", removed.len());
            for path in &removed {
                let _ = writeln!(text, "removed {path}");
            }
            (text, json!({ "root": root, "read": read, "removed": removed }))
        }
    };
    Ok(Outcome { result, text, ..Outcome::default() })
}
