//! Archives of images that were made elsewhere: documents and blobs as they were received, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use imgcore::{Blob, Epoch};

use super::{Archive, PlannedImage, blob_path, docker_image, index_json, text};
use crate::{
    BlobSource, Contents, Entry, Error, ErrorKind, Platform,
    contents::{document_of, platform_of},
    document, name,
    tarball::Tarball,
};

/// How an archive names what was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Repository, perhaps with a host: what `docker load` calls the image.
    pub repository: Option<String>,
    /// Tag, also `org.opencontainers.image.ref.name` of the layout; an image that was asked for by digest has none.
    pub tag: Option<String>,
    /// The platform that Docker's `manifest.json` names. Without an image for it, the only image there is gets named, else
    /// there is no `manifest.json`.
    pub docker_platform: Platform,
}

impl Default for Names {
    fn default() -> Self {
        Self { repository: None, tag: None, docker_platform: Platform::new("linux", "arm64") }
    }
}

/// Places received documents and blobs. No byte of them is changed; `index.json` names the [`tops`](Contents::tops). Times
/// are `epoch`, so that the same image gives the same archive.
///
/// # Errors
/// The source lacks something or fails, a name that no registry takes.
pub fn from_documents(
    contents: &Contents,
    source: &dyn BlobSource,
    names: &Names,
    epoch: Epoch,
) -> Result<Archive, Error> {
    let reference = names.check()?;
    let mut blobs = BTreeMap::new();
    let whole = contents.tops.iter().any(|top| top.digest == contents.root.digest);
    for document in contents.documents.iter().chain(whole.then_some(&contents.root)) {
        blobs.insert(document.digest, document.blob());
    }
    for descriptor in &contents.blobs {
        let failed = |source| {
            let label = descriptor.digest.to_string();
            Error::from(ErrorKind::Read { path: label.clone(), label, source })
        };
        let found = source.blob(&descriptor.digest).map_err(failed)?;
        let blob = found.ok_or(ErrorKind::Incomplete { digest: descriptor.digest })?;
        // The digest is checked when the archive is written.
        let label = descriptor.digest.to_string();
        blobs.insert(descriptor.digest, Blob::new(label, std::sync::Arc::new(blob), Some(descriptor.digest)));
    }
    // A nested index of chosen platforms names what is not there.
    if !whole {
        let named: BTreeSet<_> = contents.images.iter().map(|image| image.manifest.digest).collect();
        let documents: Vec<_> = contents.documents.iter().map(|document| document.digest).collect();
        for digest in documents.into_iter().filter(|digest| !named.contains(digest)) {
            blobs.remove(&digest);
        }
    }

    let mut planned = Vec::new();
    for image in contents.images.iter().filter(|image| image.is_image()) {
        if let Some(platform) =
            image.platform.clone().map_or_else(|| platform_of(&image.config, source), |p| Ok(Some(p)))?
        {
            planned.push(PlannedImage {
                platform,
                manifest: image.manifest.clone(),
                config: image.config.clone(),
                layers: image.layers.clone(),
            });
        }
    }
    let only = (planned.len() == 1).then(|| planned.first()).flatten();
    let docker = planned.iter().find(|image| image.platform.serves(&names.docker_platform)).or(only);

    let mut tops = contents.tops.clone();
    for top in &mut tops {
        super::annotate(top, names.repository.as_deref(), names.tag.as_deref());
    }
    let mut entries =
        vec![text("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()), text("index.json", index_json(&tops)?)];
    if let Some(image) = docker {
        let images = [docker_image(image, reference.as_ref())];
        entries.push(text("manifest.json", document::canonical("manifest.json", &images)?));
    }
    entries.extend(blobs.iter().map(|(digest, blob)| Entry::file(blob_path(*digest), 0o644, blob.clone())));
    Ok(Archive {
        root: contents.root.descriptor(),
        docker: docker.map(|image| image.platform.clone()),
        name: reference.or(names.repository.clone()).unwrap_or_else(|| contents.root.digest.to_string()),
        images: planned,
        blobs,
        tarball: Tarball::plan(&entries, epoch)?,
    })
}

impl Names {
    fn check(&self) -> Result<Option<String>, Error> {
        if let Some(tag) = &self.tag {
            name::check_tag(tag)?;
        }
        if let Some(repository) = &self.repository {
            name::check_repository(repository)?;
        }
        Ok(self.repository.as_ref().zip(self.tag.as_ref()).map(|(repository, tag)| format!("{repository}:{tag}")))
    }
}

impl Archive {
    /// What lies beside the blobs, by name: for whoever writes a folder instead of an archive.
    pub fn top_files(&self) -> Vec<(String, Vec<u8>)> {
        let files = self.tarball.entries().iter().filter(|entry| !entry.path.contains('/'));
        let bytes = |entry: &Entry| match &entry.kind {
            crate::Kind::File(data) => Some((entry.path.clone(), data.read_all(u64::from(u32::MAX)).ok()?)),
            _ => None,
        };
        files.filter_map(bytes).collect()
    }

    /// The document that [`root`](Self::root) describes.
    pub fn root_document(&self) -> Option<crate::Document> {
        document_of(&self.root, self).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Image, archive, layer, read};

    use super::*;

    fn source() -> Archive {
        let layer = |path: &str| {
            layer::build(&[Entry::file(path, 0o644, Blob::from_bytes(path, path))], Epoch(1)).expect("valid")
        };
        let shared = layer("shared");
        let images = ["arm64", "amd64"].map(|arch| {
            Image::new(Platform::new("linux", arch), vec![shared.clone(), layer(arch)], Epoch(1_700_000_000))
        });
        archive::plan(&images, &archive::Options::default()).expect("valid")
    }

    fn written(archive: &Archive) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = archive.write_to(&mut bytes).expect("memory");
        assert_eq!(written.size, archive.size());
        bytes
    }

    fn names() -> Names {
        Names { repository: Some("ghcr.io/o/n".to_owned()), tag: Some("v1".to_owned()), ..Names::default() }
    }

    #[test]
    fn received_bytes_are_kept_and_read_back_without_a_finding() {
        let source = source();
        let contents = Contents::read(source.root_document().expect("a root"), &source).expect("complete");
        let archive = from_documents(&contents, &source, &names(), Epoch(0)).expect("complete");
        assert_eq!(archive.blobs().keys().collect::<Vec<_>>(), source.blobs().keys().collect::<Vec<_>>());
        let bytes = written(&archive);
        let (view, report) = read::verify(Arc::new(bytes));
        assert!(report.is_empty(), "{report:?}");
        let view = view.expect("an archive");
        assert_eq!(view.root.as_ref().map(|root| root.digest), Some(source.root().digest));
        assert_eq!(view.tags, ["ghcr.io/o/n:v1", "v1"]);
        assert!(view.image(&Platform::new("linux", "arm64")).is_some_and(|image| image.docker));
    }

    #[test]
    fn chosen_platforms_stand_in_the_archive_alone() {
        let source = source();
        let root = source.root_document().expect("a root");
        let choose = |platforms: &[Platform]| {
            Contents::follow(root.clone(), platforms, &mut |descriptor| document_of(descriptor, &source))
        };
        let contents = choose(&[Platform::new("linux", "arm64")]).expect("there");
        let archive = from_documents(&contents, &source, &names(), Epoch(0)).expect("complete");
        let (view, report) = read::verify(Arc::new(written(&archive)));
        assert!(report.is_empty(), "{report:?}");
        assert_eq!(view.expect("an archive").images().count(), 1);
        let refused = choose(&[Platform::new("linux", "riscv64")]).expect_err("absent").to_string();
        assert_eq!(refused, "no image for linux/riscv64, there are: linux/amd64, linux/arm64");
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        struct Without<'a>(&'a Archive, imgcore::Digest, Option<Blob>);
        impl BlobSource for Without<'_> {
            fn blob(&self, digest: &imgcore::Digest) -> std::io::Result<Option<Blob>> {
                if *digest == self.1 { Ok(self.2.clone()) } else { self.0.blob(digest) }
            }
        }
        let source = source();
        let root = source.root_document().expect("a root");
        for digest in source.blobs().keys().filter(|digest| **digest != root.digest) {
            let refused = Contents::read(root.clone(), &Without(&source, *digest, None)).expect_err("missing");
            assert!(matches!(refused.kind(), ErrorKind::Incomplete { .. }), "{refused}");
            let size = source.blobs().get(digest).map_or(0, imgcore::ReadAt::size);
            let other = Blob::from_bytes("x", vec![b' '; usize::try_from(size).unwrap_or(0)]);
            let lying = Without(&source, *digest, Some(other));
            // The bytes of blobs are read when the archive is written.
            let refused = Contents::read(root.clone(), &lying)
                .and_then(|contents| from_documents(&contents, &lying, &names(), Epoch(0))?.write_to(&mut Vec::new()));
            assert!(refused.is_err());
        }
    }
}
