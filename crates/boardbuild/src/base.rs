//! Where the Talos files come from: `--base`, or the board's own base.

use std::{collections::BTreeMap, path::PathBuf};

use imgcore::Finding;

use crate::{
    error::{Error, Exit, Result},
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

impl Resolver<'_> {
    /// The Talos files by role: from `--source`, else from `--base` or the board's own base. Roles that the base does
    /// not have are absent.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a base of unknown form, [`Exit::Input`] for one that is not there.
    pub(crate) fn base_inputs(&self, arch: &str, talos: &str) -> Result<BTreeMap<&'static str, Input>> {
        let mut inputs = BTreeMap::new();
        for (role, _) in BASE_ROLES {
            if let Some(path) = self.request.sources.get(role) {
                inputs.insert(role, self.given(role, path)?);
            }
        }
        let needed = BASE_ROLES.iter().any(|(role, _)| *role != "splash" && !inputs.contains_key(role));
        if let Some(folder) = self.base_folder(talos, needed)? {
            for (role, file) in BASE_ROLES {
                let path = folder.join("usr/install").join(arch).join(file);
                if !inputs.contains_key(role) && path.is_file() {
                    let mut input = self.given(role, &path)?;
                    input.origin = format!("base: usr/install/{arch}/{file}");
                    inputs.insert(role, input);
                }
            }
            for (role, file) in BASE_ROLES {
                if role != "splash" && !inputs.contains_key(role) {
                    let path = folder.join("usr/install").join(arch).join(file);
                    let finding = Finding::error("SRC001", format!("the base lacks {role}: {}", path.display()))
                        .help(format!("the folder must hold usr/install/{arch}/{file}; or give --source {role}=FILE"));
                    return Err(Error::new(Exit::Input, finding));
                }
            }
        }
        Ok(inputs)
    }

    fn base_folder(&self, talos: &str, needed: bool) -> Result<Option<PathBuf>> {
        let (base, relative_to) = match (&self.request.base, &self.board.base) {
            (Some(base), _) => (base.as_str(), None),
            (None, Some(base)) => (base.as_str(), Some(&self.board.folder)),
            (None, None) if !needed => return Ok(None),
            (None, None) => {
                let reference = format!("ghcr.io/siderolabs/imager:{talos}");
                let finding = Finding::error("SRC003", format!("{reference}: not fetched yet: use --base dir:DIR"))
                    .help(base_help());
                return Err(Error::new(Exit::Input, finding));
            }
        };
        if let Some(folder) = base.strip_prefix("dir:") {
            let folder = relative_to.map_or_else(|| PathBuf::from(folder), |start| start.join(folder));
            if !folder.is_dir() {
                let finding = Finding::error("SRC001", format!("--base: no folder at this path: {}", folder.display()))
                    .help(base_help());
                return Err(Error::new(Exit::Input, finding));
            }
            return Ok(Some(folder));
        }
        let forms = ["oci:", "oci-archive:", "docker-archive:"];
        if base.is_empty() || (!forms.iter().any(|form| base.starts_with(form)) && !base.contains(['/', ':'])) {
            return Err(Error::usage(format!("--base: neither a reference nor a known form: {base}"))
                .or_help("write --base dir:DIR"));
        }
        let finding = Finding::error("SRC003", format!("{base}: this version reads no images yet: use --base dir:DIR"))
            .help(base_help());
        Err(Error::new(Exit::Input, finding))
    }
}

fn base_help() -> &'static str {
    "unpack the imager image of the release somewhere and name that folder; it holds \
     usr/install/arm64/{vmlinuz,initramfs.xz,systemd-boot.efi,systemd-stub.efi}"
}
