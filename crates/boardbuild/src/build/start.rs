//! What a build starts from: the board, its inputs, what the user decided.

use std::{collections::BTreeMap, path::PathBuf};

use imgcore::{Blob, Digest, Epoch, Finding, Report};
use rawimg::sink::Format;
use talosimg::schematic::{self, Schematic};

use super::{ARCH, Context, finished::program};
use crate::{
    allow::Allowed,
    board::{self, Board, Scenario},
    body::Target,
    error::{Error, Exit, Result},
    extension_source::ExtensionSource,
    front::Front,
    initrd::{Additions, CONFIG_LIMIT},
    inputs::{Input, Resolver, join, keep_lock},
    installer_base::{Found, InstallerBase},
    installers,
    lock::{Defaults, Lock},
    modules_source::ModulesSource,
    overlay_image::Installer,
    record,
    request::Request,
    store::Store,
};

/// What a command needs beside the files of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing.
    Overlay,
    /// The Talos files, and the base of an installer image if it is at hand.
    Image,
    /// The Talos files, and the base of an installer image.
    Installer,
}

/// Why there is no installer image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Skipped {
    /// There is nothing to build it on.
    Base(String),
    /// There is no executable of the overlay for the node.
    Executable,
}

impl Skipped {
    /// Why, in one line.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Base(why) => why.clone(),
            Self::Executable => format!("there is no overlay installer for {ARCH} to put into it"),
        }
    }

    /// What to do about it.
    pub(super) fn cure(&self) -> String {
        match self {
            Self::Base(_) => {
                "name the image that it stands on: --installer-base REFERENCE, oci:DIR or oci-archive:FILE".to_owned()
            }
            Self::Executable => format!(
                "add the compile target, `rustup target add aarch64-unknown-linux-musl`, or give --installer-bin {ARCH}=FILE"
            ),
        }
    }
}

/// Everything a build starts from.
pub(super) struct Start {
    pub(super) board: Board,
    pub(super) allowed: Allowed,
    pub(super) epoch: Epoch,
    pub(super) defaults: Defaults,
    pub(super) lock: Option<(PathBuf, Lock)>,
    pub(super) board_inputs: BTreeMap<String, Input>,
    pub(super) base: BTreeMap<&'static str, Input>,
    pub(super) installers: Vec<Installer>,
    pub(super) installer_base: Option<InstallerBase>,
    /// System extensions, in the order of the command line.
    pub(super) extensions: Vec<ExtensionSource>,
    /// Modules of the user's kernel.
    pub(super) modules: Option<ModulesSource>,
    /// Machine configuration that the image carries.
    pub(super) config: Option<Blob>,
    /// Why there is no base of an installer image.
    pub(super) skipped: Option<Skipped>,
    pub(super) report: Report,
}

impl Start {
    fn scenario(&self, request: &Request) -> Result<Option<(&str, &Scenario)>> {
        self.board.scenario(request.boot.as_deref())
    }

    /// Reads and checks the board's files.
    pub(super) fn front(&self, request: &Request) -> Result<Front> {
        let option = self.board.spi.as_ref().and_then(|spi| request.options.get(&spi.option));
        let spi_boot = option.is_some_and(|value| value == "true");
        Front::read(&self.board, self.scenario(request)?, &self.board_inputs, spi_boot)
    }

    pub(super) fn gather(request: &Request, context: &Context<'_>, needs: Needs) -> Result<Self> {
        let board = board::find(&context.home.boards, &request.board)?;
        let defaults = Defaults::read(&context.home.boards)?;
        let allowed = Allowed::new(&request.allow)?;
        let epoch = match request.epoch {
            Some(epoch) => epoch,
            None => Lock::read(&context.home.boards)?.epoch(&context.home.boards)?,
        };
        let lock =
            if board.folder.join("sources.lock").is_file() { Lock::read(&board.folder)? } else { Lock::new(epoch) };
        check_options(request, &board)?;
        let target = Target::decide(request, &board, &defaults.talos)?.0;
        let scenario = board.scenario(request.boot.as_deref())?;
        let mut resolver = Resolver::new(&board, request, context, lock)?;
        let board_inputs = resolver.board_inputs(scenario.map(|(_, scenario)| scenario));
        let base = match needs {
            Needs::Overlay => Ok(BTreeMap::new()),
            Needs::Image | Needs::Installer => resolver.base_inputs(ARCH, target.version.as_str()),
        };
        let (board_inputs, base) = match (board_inputs, base) {
            (Ok(board_inputs), Ok(base)) => (board_inputs, base),
            // Everything that is missing is named at once.
            (Err(first), Err(second)) if first.exit() == second.exit() => return Err(join(Some(first), second)),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let (installer_base, skipped) = match needs {
            Needs::Overlay => (None, None),
            Needs::Image | Needs::Installer => match resolver.installer_base(ARCH, target.version.as_str())? {
                Found::Base(base) => (Some(*base), None),
                Found::None(why) => (None, Some(Skipped::Base(why))),
            },
        };
        let extensions = if needs == Needs::Overlay { Vec::new() } else { resolver.extensions(ARCH)? };
        let modules = request.modules.as_deref().filter(|_| needs != Needs::Overlay);
        let modules = modules.map(|path| ModulesSource::open(path, context)).transpose()?;
        let config =
            request.embed_config.as_deref().filter(|_| needs != Needs::Overlay).map(open_config).transpose()?;
        let lock = resolver.into_lock().map(|lock| (board.folder.clone(), lock));
        let (installers, report) =
            if board.overlay.is_some() { installers::find(request, context)? } else { (Vec::new(), Report::new()) };
        let lacking = installer_base.is_some()
            && board.overlay.is_some()
            && !installers.iter().any(|installer| installer.arch == ARCH);
        let (installer_base, skipped) =
            if lacking { (None, Some(Skipped::Executable)) } else { (installer_base, skipped) };
        Ok(Self {
            board,
            allowed,
            epoch,
            defaults,
            lock,
            board_inputs,
            base,
            installers,
            installer_base,
            extensions,
            modules,
            config,
            skipped,
            report,
        })
    }

    /// Adds what was learned of this board's inputs to its lock file, as that is at this moment.
    pub(super) fn keep_lock(&self, store: &Store) -> Result<()> {
        let Some((folder, learned)) = &self.lock else { return Ok(()) };
        keep_lock(folder, &self.board.name, learned, store)
    }

    /// The parameters and input digests that decide every output.
    pub(super) fn key(&self, request: &Request, action: &str) -> Result<serde_json::Value> {
        let digests = |inputs: &mut dyn Iterator<Item = &Input>| {
            inputs.map(|input| (input.name.clone(), input.sha256)).collect::<BTreeMap<_, _>>()
        };
        let origins: BTreeMap<_, _> = self
            .board_inputs
            .values()
            .chain(self.base.values())
            .map(|input| (input.name.clone(), (input.origin.clone(), input.licence.clone())))
            .collect();
        let mut installers = BTreeMap::new();
        for installer in &self.installers {
            installers.insert(installer.arch, installer.blob.compute_digest()?);
        }
        let formats: Vec<_> = self.formats(request)?.iter().map(|format| format.name()).collect();
        let meta: Vec<_> = request.meta.iter().map(|(key, value)| (key, Digest::of(value.as_bytes()))).collect();
        Ok(serde_json::json!({
            "action": action,
            "program": program(),
            "board": self.board.name,
            "boardFile": self.board.digest,
            "inputs": digests(&mut self.board_inputs.values()),
            "base": digests(&mut self.base.values()),
            "origins": origins,
            "installers": installers,
            "installerBase": self.installer_base.as_ref().map(|base| (base.digest, &base.origin)),
            "additions": self.additions(None).key(),
            "schematic": self.schematic(request)?.id(),
            "parameters": {
                "talos": request.talos.as_deref().unwrap_or(&self.defaults.talos),
                "bootloader": request.bootloader,
                "boot": request.boot,
                "formats": formats,
                "size": request.size,
                "kernelArgs": request.all_kernel_args().iter().map(|argument| record::redact(argument)).collect::<Vec<_>>(),
                "meta": meta,
                "options": request.options,
                "allow": request.allow,
                "epoch": self.epoch,
                "requireArch": request.require_arch,
                "recordSchematic": request.schematic || request.omni.is_some(),
            },
        }))
    }

    /// What is put behind the base's initramfs.
    pub(super) fn additions<'a>(&'a self, schematic: Option<&'a Schematic>) -> Additions<'a> {
        Additions {
            extensions: &self.extensions,
            modules: self.modules.as_ref(),
            config: self.config.as_ref(),
            schematic,
        }
    }

    /// What the image is made of, in the words of the Image Factory. An overlay that it does not have is named all the same:
    /// it then refuses to build an installer of this schematic, where without a name it would build one that the board
    /// does not start from.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub(super) fn schematic(&self, request: &Request) -> Result<Schematic> {
        let mut schematic = Schematic::default();
        if let Some(overlay) = &self.board.overlay {
            let upstream = self.board.upstream.as_deref().and_then(|upstream| upstream.split(' ').next());
            let official = upstream.filter(|upstream| upstream.starts_with("siderolabs/"));
            let (image, options) = if let Some(image) = official {
                (image.to_owned(), request.options.clone())
            } else {
                let mut options = overlay.options.clone();
                options.extend(request.options.clone());
                (format!("talos-rk/overlay-{}", self.board.name), options)
            };
            schematic.overlay.image = image;
            schematic.overlay.name.clone_from(&overlay.name);
            schematic.overlay.options = options.into_iter().map(|(key, value)| (key, value.into())).collect();
        }
        let customization = &mut schematic.customization;
        customization.extra_kernel_args = request.all_kernel_args();
        customization.meta.clone_from(&request.meta);
        customization.official_extensions =
            self.extensions.iter().filter_map(|source| schematic::official_name(&source.label)).collect();
        if let Some(bootloader) = request.bootloader {
            bootloader.name().clone_into(&mut customization.bootloader);
        }
        if let Some(config) = &self.config {
            let text = config.read_all(CONFIG_LIMIT)?;
            customization.embedded_machine_configuration = String::from_utf8_lossy(&text).into_owned();
        }
        Ok(schematic)
    }

    /// Names of extensions that the schematic does not name.
    pub(super) fn other_extensions(&self) -> Vec<String> {
        let other = self.extensions.iter().filter(|source| schematic::official_name(&source.label).is_none());
        let own = self.modules.iter().map(|_| "the kernel modules given with --modules".to_owned());
        other.map(|source| source.label.clone()).chain(own).collect()
    }

    pub(super) fn formats(&self, request: &Request) -> Result<Vec<Format>> {
        if !request.formats.is_empty() {
            return Ok(request.formats.clone());
        }
        let parse =
            |text: &String| text.parse().map_err(|error| Error::usage(format!("boards/defaults.toml: {error}")));
        self.defaults.format.iter().map(parse).collect()
    }
}

/// The configuration that an image shall carry, out of a file or a pipe.
fn open_config(path: &std::path::Path) -> Result<Blob> {
    use std::io::Read as _;
    if !path.exists() {
        let finding = Finding::error("SRC001", format!("--embed-config: no file at this path: {}", path.display()));
        return Err(Error::new(
            Exit::Input,
            finding.help("give a machine configuration without secrets, or a part of one"),
        ));
    }
    let mut text = Vec::new();
    fs_err::File::open(path)?.take(CONFIG_LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > CONFIG_LIMIT {
        let limit = imgcore::ByteSize(CONFIG_LIMIT);
        let message = format!("{}: too large for a machine configuration: nodes take at most {limit}", path.display());
        let finding = Finding::error("CFG002", message).help("give a machine configuration, not another file");
        return Err(Error::refused(std::iter::once(finding).collect()));
    }
    Ok(Blob::from_bytes("embedded configuration", text))
}

fn check_options(request: &Request, board: &Board) -> Result<()> {
    let Some(overlay) = &board.overlay else {
        return match request.options.keys().next() {
            Some(key) => Err(Error::usage(format!("--option {key}: {} has no overlay", board.name))),
            None => Ok(()),
        };
    };
    for (key, value) in &request.options {
        if board.spi.as_ref().is_some_and(|spi| spi.option == *key) {
            if ["true", "false"].contains(&value.as_str()) {
                continue;
            }
            return Err(Error::usage(format!("--option {key}={value}: expected true or false")).or_help(
                "true: the board starts from its SPI flash, and the image carries no boot loader of its own",
            ));
        }
        let own = overlay.options.get(key).map(String::as_str);
        let expected = own.or_else(|| (key == "board").then_some(board.name.as_str()));
        match expected {
            Some(expected) if expected == value => {}
            Some(expected) => {
                return Err(Error::usage(format!(
                    "--option {key}={value} does not fit {}: expected {expected}",
                    board.name
                ))
                .or_help("leave the option out, or choose the board that has this value"));
            }
            None => {
                let spi = board.spi.iter().map(|spi| spi.option.as_str());
                let known = overlay.options.keys().map(String::as_str).chain(["board"]).chain(spi);
                let help = imgcore::nearest(key, known.clone()).map_or_else(
                    || format!("{} knows: {}", board.name, known.collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                return Err(Error::usage(format!("--option: unknown option: {key}")).or_help(&help));
            }
        }
    }
    Ok(())
}
