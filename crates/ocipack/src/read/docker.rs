//! Docker's own archive format: `manifest.json`, alone or beside an OCI layout.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, sync::Arc};

use imgcore::{Blob, Digest, ReadAt as _};

use super::{
    ArchiveView, Compression, ImageView, LayerView, Role, findings::quote, graph::Graph, json, members::Members, paths,
};
use crate::{Config, Document, media, rules};

/// Digests of members by where they start: an image may name one a thousand times.
type Hashed = BTreeMap<u64, Digest>;

/// Reads `manifest.json`. Beside an index its images must be the index's; alone they are all there is.
pub(super) fn read(graph: &mut Graph<'_>, members: &Members, manifest: &Blob, view: &mut ArchiveView) {
    let parsed: Result<Vec<json::DockerImage>, String> = manifest
        .read_all(graph.options.limits.document)
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
    let mut images = match parsed {
        Ok(images) => images,
        Err(error) => return graph.findings.say(rules::JSON, format!("manifest.json is no list of images: {error}")),
    };
    let limit = graph.options.limits.images;
    if images.len() > limit {
        let count = images.len();
        graph.findings.say(rules::NESTING, format!("manifest.json names {count} images, at most {limit} are read"));
        images.truncate(limit);
    }
    let mut hashed = Hashed::new();
    for image in images {
        let tags = image.repo_tags.clone().unwrap_or_default();
        let wanted = graph.tagged(tags.iter().map(String::as_str));
        view.tags.extend(tags);
        if !wanted {
            continue;
        }
        read_image(graph, members, image, &mut hashed);
    }
    view.tags.sort();
    view.tags.dedup();
}

fn read_image(graph: &mut Graph<'_>, members: &Members, mut image: json::DockerImage, hashed: &mut Hashed) {
    let Some((digest, config)) = member(graph, members, &image.config, hashed) else { return };
    if config.size() > graph.options.limits.document {
        let (name, limit) = (quote(image.config.as_bytes()), graph.options.limits.document);
        return graph
            .findings
            .say(rules::DOCUMENT_SIZE, format!("{name} has {} bytes, at most {limit}", config.size()));
    }
    let bytes = match config.read_all(graph.options.limits.document) {
        Ok(bytes) => bytes,
        Err(error) => return graph.findings.say(rules::MEDIUM, format!("{}: {error}", quote(image.config.as_bytes()))),
    };
    graph.cut_layers(&mut image.layers, digest);
    let (mut layers, count) = (Vec::new(), image.layers.len());
    for name in &image.layers {
        if let Some((digest, data)) = member(graph, members, name, hashed) {
            let compression = Compression::sniff(&data).unwrap_or(Compression::None);
            let (size, media_type) = (data.size(), String::new());
            layers.push(LayerView { digest, size, media_type, diff_id: None, compression, data: Some(data) });
        }
    }
    let same = |known: &&mut ImageView| known.config.as_ref().is_some_and(|document| document.digest == digest);
    if let Some(known) = graph.images.iter_mut().find(same) {
        known.docker = true;
        // The same configuration, so the tars inside must be the same; their bytes may be packed in another way.
        if known.layers.len() != count || known.layers.iter().zip(&layers).any(|(a, b)| a.digest != b.digest) {
            let message = format!("manifest.json gives the image {digest} other layers than the index does");
            graph.findings.say(rules::DOCKER, message);
        }
        return;
    }
    let beside_index = !graph.images.is_empty() && graph.options.platforms.is_empty() && graph.options.tag.is_none();
    if beside_index {
        let message =
            format!("manifest.json names an image with configuration {digest}, which the index does not hold");
        graph.findings.say(rules::DOCKER, message);
    }
    let mut view = ImageView {
        role: Role::Image,
        platform: None,
        manifest: None,
        config: Some(Document { media_type: media::DOCKER_CONFIG.to_owned(), digest, bytes }),
        run: Config::default(),
        created: None,
        annotations: BTreeMap::new(),
        layers,
        docker: true,
        options: Arc::clone(&graph.options),
    };
    let whole = view.layers.len() == count;
    graph.configure(&mut view, whole);
    if graph.wanted(view.platform.as_ref()) {
        graph.images.push(view);
    }
}

/// A member that `manifest.json` names, held to the digest in its name if there is one.
fn member(graph: &mut Graph<'_>, members: &Members, name: &str, hashed: &mut Hashed) -> Option<(Digest, Blob)> {
    let shown = quote(name.as_bytes());
    let found = paths::clean(name.as_bytes()).ok().and_then(|name| Some((members.range(&name)?, members.blob(&name)?)));
    let Some((range, blob)) = found else {
        graph.findings.say(rules::DANGLING, format!("manifest.json refers to {shown}, which is not there"));
        return None;
    };
    // What the index refers to as well was checked there.
    let named = name.strip_prefix("blobs/sha256/").and_then(|hex| hex.parse().ok());
    if let Some(digest) = named.filter(|digest| graph.refers_to(digest)) {
        return Some((digest, blob));
    }
    let known = hashed.get(&range.start).copied();
    let digest = match known.map_or_else(|| blob.compute_digest(), Ok) {
        Ok(digest) => digest,
        Err(error) => {
            graph.findings.say(rules::MEDIUM, format!("{shown}: {error}"));
            return None;
        }
    };
    graph.mark_seen(digest, &blob);
    if hashed.insert(range.start, digest).is_some() {
        return Some((digest, blob));
    }
    // `HEX.json`, `sha256:HEX`, `HEX.tar.gz`, `blobs/sha256/HEX`; in `HEX/layer.tar` the name is another digest's, and
    // `HEX.tar` is named by the tar inside or by something else, depending on who wrote it.
    let (_, last) = paths::split(name);
    let stem = last.strip_suffix(".json").or(last.strip_suffix(".tar.gz")).unwrap_or(last);
    if let Some(stated) = stem.parse::<Digest>().ok().filter(|stated| *stated != digest) {
        let message = format!("{shown} has digest {digest}, its name says {stated}: its bytes were changed");
        graph.findings.add(rules::finding(rules::DIGEST, message).at(range));
    }
    Some((digest, blob))
}
