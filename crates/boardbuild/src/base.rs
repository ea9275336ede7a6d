//! Where the Talos files come from: `--base`, or the board's own base.
//!
//! | Form | What it is |
//! |---|---|
//! | `REFERENCE` | an image in a registry, by tag (the lock holds its digest) or by digest |
//! | `oci:DIR[:TAG]` | a folder with an OCI layout |
//! | `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:TAG]` | an archive, compressed or not |
//! | `dir:DIR` | an unpacked root file system, or a folder that `vendor` made |

use std::{collections::BTreeMap, path::Path};

use imgcore::{Finding, Severity};
use ocipack::{Platform, read::Limits};

use crate::{
    error::{Error, Exit, Result},
    image::{self, Opened, Place, Resolved, Taken},
    inputs::{Input, Resolver},
};

/// Roles of the Talos files, which `--base` provides and `--source` can replace.
pub(crate) const BASE_ROLES: [(&str, &str); 5] = [
    ("kernel", "vmlinuz"),
    ("initramfs", "initramfs.xz"),
    ("systemd-boot", "systemd-boot.efi"),
    ("systemd-stub", "systemd-stub.efi"),
    ("splash", "splash.bmp"),
];

/// The one role that a base may lack.
const OPTIONAL: &str = "splash";

impl Resolver<'_> {
    /// The Talos files by role: from `--source`, else from `--base`, the board's own base, or the release's imager image.
    /// Roles that the base does not have are absent.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a base of unknown form, [`Exit::Input`] for one that is not there or lacks a file,
    /// [`Exit::Refused`] for an image that is damaged or hostile.
    pub(crate) fn base_inputs(&mut self, arch: &str, talos: &str) -> Result<BTreeMap<&'static str, Input>> {
        let mut inputs = BTreeMap::new();
        for (role, _) in BASE_ROLES {
            if let Some(path) = self.request.sources.get(role) {
                inputs.insert(role, self.given(role, path)?);
            }
        }
        let needed = BASE_ROLES.iter().any(|(role, _)| *role != OPTIONAL && !inputs.contains_key(role));
        let wanted: Vec<_> = BASE_ROLES.into_iter().filter(|(role, _)| !inputs.contains_key(role)).collect();
        match self.base(talos, needed)? {
            None => {}
            Some(Place::Folder(folder)) => self.take_from_folder(&folder, arch, &wanted, &mut inputs)?,
            Some(place) => self.take_from_image(&place, arch, &wanted, &mut inputs)?,
        }
        Ok(inputs)
    }

    /// What is named as the base, `None` if nothing is named and nothing needed.
    fn base(&self, talos: &str, needed: bool) -> Result<Option<Place>> {
        match (&self.request.base, &self.board.base) {
            (Some(base), _) => Place::parse("--base", base, None).map(Some),
            (None, Some(base)) => Place::parse("base", base, Some(&self.board.folder)).map(Some),
            (None, None) if needed => Ok(Some(Place::Reference(format!("ghcr.io/siderolabs/imager:{talos}")))),
            (None, None) => Ok(None),
        }
    }

    fn take_from_folder(
        &self,
        folder: &Path,
        arch: &str,
        wanted: &[(&'static str, &str)],
        inputs: &mut BTreeMap<&'static str, Input>,
    ) -> Result<()> {
        for (role, file) in wanted {
            let path = folder.join("usr/install").join(arch).join(file);
            if path.is_file() {
                let origin = format!("base: usr/install/{arch}/{file}");
                inputs.insert(role, Input { origin, ..self.given(role, &path)? });
            } else if *role != OPTIONAL {
                let finding = Finding::error("SRC001", format!("the base lacks {role}: {}", path.display()))
                    .help(format!("the folder must hold usr/install/{arch}/{file}; or give --source {role}=FILE"));
                return Err(Error::new(Exit::Input, finding));
            }
        }
        Ok(())
    }

    fn take_from_image(
        &mut self,
        place: &Place,
        arch: &str,
        wanted: &[(&'static str, &str)],
        inputs: &mut BTreeMap<&'static str, Input>,
    ) -> Result<()> {
        let platform = Platform::new("linux", arch);
        let paths: Vec<String> = wanted.iter().map(|(_, file)| format!("usr/install/{arch}/{file}")).collect();
        let names: Vec<&str> = paths.iter().map(String::as_str).collect();
        let (name, taken) = self.image_files(place, &platform, &names)?;
        for ((role, _), (path, taken)) in wanted.iter().zip(paths.iter().zip(taken)) {
            match taken {
                Taken::File(blob) => {
                    let sha256 = blob.compute_digest()?;
                    let blob = blob.with_label(*role);
                    let origin = format!("{name}: {path}");
                    inputs.insert(role, Input { name: (*role).to_owned(), blob, sha256, origin, licence: None });
                }
                _ if *role == OPTIONAL => {}
                other => return Err(lacks(role, place, path, &other)),
            }
        }
        Ok(())
    }

    /// Files of an image, and what to call the image in a record.
    fn image_files(&mut self, place: &Place, platform: &Platform, paths: &[&str]) -> Result<(String, Vec<Taken>)> {
        let context = self.context;
        let (path, tag) = match place {
            Place::Layout { folder, tag } => (folder, tag.as_deref()),
            Place::Archive { file, tag } => (file, tag.as_deref()),
            Place::Folder(folder) => (folder, None),
            Place::Reference(reference) => {
                return self.reference_files(reference, platform, paths).map_err(|error| instead(error, platform));
            }
        };
        let identity = image::identity(path, tag, context)?;
        let open = || image::open_local(path, tag, platform, &image::limits(None), context);
        Ok(("base".to_owned(), image::files(context, &identity, platform, paths, open)?))
    }

    /// Files of an image in a registry; what its tag means is kept for the lock.
    fn reference_files(
        &mut self,
        reference: &str,
        platform: &Platform,
        paths: &[&str],
    ) -> Result<(String, Vec<Taken>)> {
        let context = self.context;
        let (resolved, limits) = self.resolve_image(reference, platform)?;
        let open = || image::open_reference(context, reference, &resolved, platform, &limits);
        let identity = image::reference_identity(&resolved);
        let taken = image::files(context, &identity, platform, paths, open)?;
        Ok((self.learn_image(reference, resolved), taken))
    }

    /// An image in a registry, opened, and what to call it in a record; what its tag means is kept for the lock.
    pub(crate) fn open_image(&mut self, reference: &str, platform: &Platform) -> Result<(String, Opened)> {
        let (resolved, limits) = self.resolve_image(reference, platform)?;
        let opened = image::open_reference(self.context, reference, &resolved, platform, &limits)?;
        Ok((self.learn_image(reference, resolved), opened))
    }

    fn resolve_image(&self, reference: &str, platform: &Platform) -> Result<(Resolved, Limits)> {
        let resolved = image::resolve(self.context, reference, platform, &self.lock, self.request.locked)?;
        let known = self.lock.find_image(reference, &platform.to_string());
        Ok((resolved, image::limits(known.and_then(|known| known.unpacked))))
    }

    fn learn_image(&mut self, reference: &str, resolved: Resolved) -> String {
        let pinned = reference.contains('@');
        let name = if pinned { reference.to_owned() } else { format!("{reference}@{}", resolved.digest) };
        if let Some(learned) = resolved.learned {
            self.lock.set_image(learned);
            self.learned = true;
        }
        name
    }
}

/// Says what replaces a base that did not come.
fn instead(error: Error, platform: &Platform) -> Error {
    let absent = |finding: &Finding| finding.code.starts_with("NET");
    if error.report().iter().any(absent) { error.more_help(&replace(platform)) } else { error }
}

/// What replaces a base that cannot be had.
pub(crate) fn replace(platform: &Platform) -> String {
    let arch = &platform.architecture;
    let sources: Vec<String> = BASE_ROLES
        .iter()
        .filter(|(role, _)| *role != OPTIONAL)
        .map(|(role, file)| format!("--source {role}={file}"))
        .collect();
    format!(
        "without it: --base dir:DIR, where DIR holds usr/install/{arch}/{{vmlinuz,initramfs.xz,systemd-boot.efi,\
         systemd-stub.efi}}, or {}",
        sources.join(" ")
    )
}

fn lacks(role: &str, place: &Place, path: &str, taken: &Taken) -> Error {
    let what = match taken {
        Taken::Other(what) => format!("{path} is a {what}, expected a file"),
        Taken::Missing(Some(near)) => format!("{path} is not there; the nearest name is {near}"),
        _ => format!("{path} is not there"),
    };
    let finding = Finding::new(Severity::Error, "SRC021", format!("the base lacks {role}: {what}"))
        .of(place.to_string())
        .help(format!("name an imager image of the release, or give --source {role}=FILE"));
    Error::new(Exit::Input, finding)
}
