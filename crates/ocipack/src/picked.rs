//! The one image of an archive or a layout that is meant: what a push publishes under a tag.

use std::{collections::BTreeMap, io, sync::Arc};

use imgcore::{Blob, Digest, ReadAt};

use crate::{
    BlobSource, Descriptor, Document, Error, ErrorKind, archive,
    contents::document_of,
    document, media,
    read::{ArchiveView, Compression, Format, ImageView, Role},
};

/// A document that can be pushed, and where its blobs are.
pub struct Picked {
    /// What gets the tag: an index as a rule.
    pub root: Document,
    /// Gives everything below it.
    pub source: Arc<dyn BlobSource>,
}

impl std::fmt::Debug for Picked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picked").field("root", &self.root.digest).finish_non_exhaustive()
    }
}

impl Picked {
    /// Picks from an archive: `data` is what `view` was opened from.
    ///
    /// One entry of `index.json` is what is meant; of several, the one that is named `tag`; else, if they are the same image
    /// for different platforms, an index over them is made. An archive in Docker's format alone gets the manifest that it
    /// lacks (schema 2, its layers as they are stored), the same one each time.
    ///
    /// # Errors
    /// Several images of which none is named `tag`; a document that is missing.
    pub fn from_archive(view: &ArchiveView, data: Arc<dyn ReadAt>, tag: &str) -> Result<Self, Error> {
        if view.format == Format::Docker {
            return docker(view, tag);
        }
        Self::from_layout(view, Arc::new(view.blobs(data)), tag)
    }

    /// Picks from an OCI layout whose blobs are in `source`.
    ///
    /// # Errors
    /// As [`from_archive`](Self::from_archive).
    pub fn from_layout(view: &ArchiveView, source: Arc<dyn BlobSource>, tag: &str) -> Result<Self, Error> {
        let names = &view.names;
        let mut tagged = names.iter().filter(|name| name.tag.as_deref().is_some_and(|name| is_tag(name, tag)));
        let one = match (names.as_slice(), tagged.next(), tagged.next()) {
            ([one], ..) | (_, Some(one), None) => Some(one),
            _ => None,
        };
        if let Some(one) = one {
            let root = document_of(&one.descriptor, &source)?;
            return Ok(Self { root, source });
        }
        let platforms: Vec<Descriptor> = names.iter().map(|name| with_platform(view, &name.descriptor)).collect();
        let same_name = names.windows(2).all(|pair| matches!(pair, [a, b] if a.tag == b.tag));
        let mut seen: Vec<_> = platforms.iter().filter_map(|descriptor| descriptor.platform.clone()).collect();
        seen.sort();
        seen.dedup();
        if names.is_empty() || !same_name || seen.len() != names.len() {
            let names = platforms.iter().zip(names).map(|(descriptor, name)| {
                let tag = name.tag.clone().unwrap_or_else(|| descriptor.digest.to_string());
                descriptor.platform.as_ref().map_or(tag.clone(), |platform| format!("{tag} ({platform})"))
            });
            return Err(ErrorKind::SeveralImages { wanted: tag.to_owned(), names: names.collect() }.into());
        }
        let index = document::Index::of(&platforms, BTreeMap::new());
        let root = Document::canonical(media::INDEX, &index)?;
        Ok(Self {
            source: Arc::new(With { documents: vec![root.clone()], blobs: BTreeMap::new(), rest: Some(source) }),
            root,
        })
    }
}

/// Whether a name in an archive has this tag: alone, or behind a repository.
fn is_tag(name: &str, tag: &str) -> bool {
    name == tag || name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'))
}

/// A descriptor without the archive's names, with the platform of the image's configuration if it names none.
fn with_platform(view: &ArchiveView, descriptor: &Descriptor) -> Descriptor {
    let mut bare = archive::without_names(descriptor);
    if bare.platform.is_none() {
        let same = |image: &&ImageView| image.manifest.as_ref().is_some_and(|found| found.digest == bare.digest);
        bare.platform = view.images().find(same).and_then(|image| image.platform.clone());
    }
    bare
}

/// Makes the manifest that Docker's own format lacks.
fn docker(view: &ArchiveView, tag: &str) -> Result<Picked, Error> {
    let [image] = view.images.as_slice() else {
        return Err(ErrorKind::SeveralImages { wanted: tag.to_owned(), names: view.tags.clone() }.into());
    };
    let (Some(config), Role::Image) = (&image.config, image.role) else {
        return Err(ErrorKind::NoImages.into());
    };
    let mut blobs = BTreeMap::new();
    let mut layers = Vec::new();
    for layer in &image.layers {
        let media_type = match layer.compression {
            Compression::None => media::DOCKER_LAYER,
            Compression::Gzip => media::DOCKER_LAYER_GZIP,
            Compression::Zstd => media::DOCKER_LAYER_ZSTD,
        };
        layers.push(Descriptor::new(media_type, layer.digest, layer.size));
        let data = layer.data.clone().ok_or(ErrorKind::Incomplete { digest: layer.digest })?;
        blobs.insert(layer.digest, data);
    }
    let annotations = BTreeMap::new();
    let manifest = document::Manifest {
        schema_version: 2,
        media_type: media::DOCKER_MANIFEST,
        config: Descriptor::new(media::DOCKER_CONFIG, config.digest, config.bytes.len() as u64),
        layers,
        annotations: &annotations,
    };
    let root = Document::canonical(media::DOCKER_MANIFEST, &manifest)?;
    let documents = vec![root.clone(), config.clone()];
    Ok(Picked { root, source: Arc::new(With { documents, blobs, rest: None }) })
}

/// A source and a few documents that are not in it.
struct With {
    documents: Vec<Document>,
    blobs: BTreeMap<Digest, Blob>,
    rest: Option<Arc<dyn BlobSource>>,
}

impl BlobSource for With {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        if let Some(document) = self.documents.iter().find(|document| document.digest == *digest) {
            return Ok(Some(document.blob()));
        }
        if let Some(blob) = self.blobs.get(digest) {
            return Ok(Some(blob.clone()));
        }
        self.rest.as_ref().map_or(Ok(None), |rest| rest.blob(digest))
    }
}

#[cfg(test)]
mod tests {
    use imgcore::Epoch;

    use crate::{Contents, Entry, Image, Platform, layer, read};

    use super::*;

    fn images() -> Vec<Image> {
        ["arm64", "amd64"]
            .map(|arch| {
                let entry = Entry::file(arch, 0o644, Blob::from_bytes(arch, arch));
                let layer = layer::build(&[entry], Epoch(1)).expect("valid");
                Image::new(Platform::new("linux", arch), vec![layer], Epoch(1))
            })
            .to_vec()
    }

    fn tar(members: &[(&str, &[u8])]) -> Arc<dyn ReadAt> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *bytes).expect("memory");
        }
        Arc::new(tar.into_inner().expect("memory"))
    }

    fn written(options: &archive::Options) -> Arc<dyn ReadAt> {
        let mut bytes = Vec::new();
        archive::plan(&images(), options).expect("valid").write_to(&mut bytes).expect("memory");
        Arc::new(bytes)
    }

    fn pick(data: &Arc<dyn ReadAt>, tag: &str) -> Result<Picked, Error> {
        let (view, report) = read::open(Arc::clone(data));
        assert!(!report.has_errors(), "{report:?}");
        Picked::from_archive(&view.expect("an archive"), Arc::clone(data), tag)
    }

    #[test]
    fn one_entry_is_meant_whatever_it_is_called() {
        let picked = pick(&written(&archive::Options::default()), "v9").expect("one");
        let contents = Contents::read(picked.root, &picked.source).expect("complete");
        assert_eq!((contents.images.len(), contents.root.media_type.as_str()), (2, media::INDEX));
    }

    #[test]
    fn platforms_without_an_index_get_one() {
        let options = archive::Options { shape: archive::Shape::Manifests, ..archive::Options::default() };
        let data = written(&options);
        let picked = pick(&data, "v9").expect("one image");
        let contents = Contents::read(picked.root.clone(), &picked.source).expect("complete");
        let whole = archive::plan(&images(), &archive::Options::default()).expect("valid");
        // The same index as if it had been made at once.
        assert_eq!(contents.root.digest, whole.root().digest);
    }

    #[test]
    fn an_archive_of_dockers_own_gets_its_manifest() {
        let config = br#"{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let mut layer = tar::Builder::new(Vec::new());
        layer.append_data(&mut tar::Header::new_ustar(), "empty", &[][..]).expect("memory");
        let layer = layer.into_inner().expect("memory");
        let config = String::from_utf8_lossy(config).replace("[]", &format!("[\"{}\"]", Digest::of(&layer)));
        let name = format!("{}.json", Digest::of(config.as_bytes()).hex());
        let manifest = format!(r#"[{{"Config":"{name}","RepoTags":["a:b"],"Layers":["abc/layer.tar"]}}]"#);
        let data =
            tar(&[(&name, config.as_bytes()), ("abc/layer.tar", &layer), ("manifest.json", manifest.as_bytes())]);
        let first = pick(&data, "v9").expect("one image");
        assert_eq!(first.root.digest, pick(&data, "v8").expect("the same").root.digest);
        let contents = Contents::read(first.root, &first.source).expect("complete");
        assert_eq!(contents.root.media_type, media::DOCKER_MANIFEST);
        let types: Vec<_> = contents.blobs.iter().map(|blob| blob.media_type.as_str()).collect();
        assert_eq!(types, [media::DOCKER_CONFIG, media::DOCKER_LAYER]);
    }
}
