//! Arguments. One doc comment per option; `--help` is made of them.

use std::path::{Path, PathBuf};

use boardbuild::{Bootloader, Epoch, Error, Format, Omni, Request, SupplyRequest};
use clap::{Args, Parser, Subcommand};

/// Talos Linux images for Rockchip boards: no Docker, no root, the same bytes every time, proved before flashing.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  cargo xtask image demo\n  cargo xtask boards show nanopi-m6\n  cargo xtask verify _out/demo/metal-arm64.raw.xz\n\n\
    Exit codes: 0 done; 1 refused, a finding at error level; 2 usage; 3 an input is missing or another; 4 I/O; 130 Ctrl-C."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print one JSON object on standard output, on errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more: informational findings, the layout, what was reused
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Folder of the store; default: $TALOS_RK_CACHE, else the platform's cache folder
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Use no network: everything must be in the store or given
    #[arg(long, global = true, help_heading = "Network")]
    pub(crate) offline: bool,
    /// Speak to this host without TLS; loopback needs it too; repeatable
    #[arg(long, value_name = "HOST[:PORT]", global = true, help_heading = "Network")]
    pub(crate) plain_http: Vec<String>,
    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "FILE", global = true, help_heading = "Network")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Ask TO where FROM is meant: a registry, or the beginning of an address; digests still decide; repeatable
    #[arg(long = "mirror", value_name = "FROM=TO", value_parser = pair, global = true, help_heading = "Network")]
    pub(crate) mirrors: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build overlay image, raw disk image, installer image, checksums and build record, then verify them
    Image(ImageArgs),
    /// Build the overlay image alone
    Overlay(ImageArgs),
    /// Build the installer image alone: what `talosctl upgrade` runs on the node
    Installer(ImageArgs),
    /// List the boards, or show one with its layout drawn to scale
    Boards(BoardsArgs),
    /// Ask every origin what its bytes are, show what changed, write boards/sources.lock; never moves a digest unasked
    Lock(LockArgs),
    /// Re-read a finished image: structure, checksums, layout, boot chain
    Verify(VerifyArgs),
    /// Recognise a file and explain what is in it
    Inspect(InspectArgs),
    /// Bring everything that boards need into the store, so that --offline works
    Fetch(FetchArgs),
    /// Put everything that boards need into one folder, for --base dir: and --source
    Vendor(VendorArgs),
    /// Publish an image at a registry: an archive, an OCI layout, or what the store has by digest
    Push(PushArgs),
    /// Fetch an image from a registry into the store and into an archive, every byte as it is
    Pull(PullArgs),
    /// Look after the store
    Cache(CacheArgs),
    /// Run everything that `.ci/run` runs
    Ci(CiArgs),
    /// Write the generated pages of docs/, or check them
    Docs(CheckArgs),
    /// Write the generated files of fixtures/, or check them
    Fixtures(CheckArgs),
    /// Write the texts that tests compare with (tests/golden/) anew; read the difference before you commit it
    Bless,
}

/// What is built, and of what.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask image demo\n  cargo xtask image nanopi-m6 --talos v1.10.6 --bootloader sd-boot --base dir:imager \\\n      \
    --source idbloader=idbloader.img --source u-boot=u-boot.itb --source dtb=rk3588s-nanopi-m6.dtb\n  cargo xtask image my/board.toml --format raw.zst --kernel-arg=console=ttyS2,1500000 -o out"
)]
pub(crate) struct ImageArgs {
    /// Name of a board (`cargo xtask boards` lists them) or path of a board file
    pub(crate) board: String,
    /// Folder for the outputs
    #[arg(short = 'o', long = "output", value_name = "DIR", help = "Folder for the outputs [default: _out/<board>]")]
    pub(crate) out: Option<PathBuf>,
    /// Talos release, vX.Y.Z [default: talos in boards/defaults.toml]
    #[arg(long, value_name = "VERSION", env = "TALOS_VERSION")]
    pub(crate) talos: Option<String>,
    /// Boot loader of the image: grub or sd-boot [default: the board's]
    #[arg(long, value_name = "NAME")]
    pub(crate) bootloader: Option<Bootloader>,
    /// Boot scenario of the board [default: its default-boot]
    #[arg(long, value_name = "SCENARIO")]
    pub(crate) boot: Option<String>,
    /// Format of the raw image: raw, raw.xz, raw.zst, raw.gz; repeatable [default: raw.xz]
    #[arg(long = "format", value_name = "FORMAT")]
    pub(crate) formats: Vec<Format>,
    /// Where kernel, initramfs and boot programs come from: a reference, oci:DIR, oci-archive:FILE, docker-archive:FILE, or dir:DIR with usr/install/arm64/…
    #[arg(long, value_name = "BASE")]
    pub(crate) base: Option<String>,
    /// What the installer image stands on, in the forms of --base [default: ghcr.io/siderolabs/installer-base of the release]
    #[arg(long, value_name = "BASE")]
    pub(crate) installer_base: Option<String>,
    /// Replace one input by a local file; repeatable
    #[arg(long = "source", value_name = "NAME=PATH", value_parser = pair)]
    pub(crate) sources: Vec<(String, String)>,
    /// Merge a system extension: a reference, a tar with manifest.yaml and rootfs/, oci:DIR, oci-archive:FILE; repeatable
    #[arg(long = "extension", value_name = "REF|FILE", help_heading = "Talos")]
    pub(crate) extensions: Vec<String>,
    /// Use this kernel instead of the base's; --modules gives its modules
    #[arg(long, value_name = "FILE", help_heading = "Talos")]
    pub(crate) kernel: Option<PathBuf>,
    /// Modules of the kernel: a folder or a tar as `make modules_install` fills it
    #[arg(long, value_name = "DIR|TAR", help_heading = "Talos")]
    pub(crate) modules: Option<PathBuf>,
    /// Put this machine configuration into the image (Talos 1.12 and later); refused when it holds secrets
    #[arg(long, value_name = "FILE", help_heading = "Talos")]
    pub(crate) embed_config: Option<PathBuf>,
    /// Let the node join Omni at this address, https://HOST:PORT or grpc://HOST:PORT
    #[arg(long, value_name = "URL", requires = "join_token_file", help_heading = "Talos")]
    pub(crate) omni: Option<String>,
    /// File with Omni's join token; it is shown and recorded nowhere
    #[arg(long, value_name = "FILE", requires = "omni", help_heading = "Talos")]
    pub(crate) join_token_file: Option<PathBuf>,
    /// Record in the image what it is made of, as those of the Image Factory do; --omni does it too
    #[arg(long, help_heading = "Talos")]
    pub(crate) schematic: bool,
    /// Size of the finished image, a multiple of 512; nothing is added to it [default: as the imager's]
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<u64>,
    /// Add a kernel argument; -NAME removes a key, -NAME=VALUE one value; console and talos.platform replace; repeatable
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) kernel_args: Vec<String>,
    /// Write a META value, 0x0a=… or 10=…; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) meta: Vec<String>,
    /// Set an option of the overlay; repeatable
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) options: Vec<(String, String)>,
    /// Turn the errors of one finding code into warnings; repeatable
    #[arg(long, value_name = "CODE")]
    pub(crate) allow: Vec<String>,
    /// Fail if the overlay would lack the installer of this architecture: amd64 or arm64; repeatable
    #[arg(long, value_name = "ARCH")]
    pub(crate) require_arch: Vec<String>,
    /// Use an installer executable that was built elsewhere; repeatable
    #[arg(long, value_name = "ARCH=FILE", value_parser = pair)]
    pub(crate) installer_bin: Vec<(String, String)>,
    /// Refuse inputs that boards/sources.lock does not know
    #[arg(long)]
    pub(crate) locked: bool,
    /// Do everything but write: inputs, proofs, plan, findings
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Say for each step whether it was reused, and which input changed if not
    #[arg(long)]
    pub(crate) explain: bool,
    /// Count of worker threads; the bytes do not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  cargo xtask boards\n  cargo xtask boards show nanopi-m6 --boot vendor"
)]
pub(crate) struct BoardsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BoardsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BoardsCommand {
    /// Show one board with its layout drawn to scale
    Show {
        /// Name of a board or path of a board file
        board: String,
        /// Talos release that the layout is drawn for
        #[arg(long, value_name = "VERSION", env = "TALOS_VERSION")]
        talos: Option<String>,
        /// Boot scenario that is drawn [default: the board's]
        #[arg(long, value_name = "SCENARIO")]
        boot: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask lock\n  cargo xtask lock nanopi-m6\n  cargo xtask lock --update rock64/u-boot\n  \
    cargo xtask lock --update ghcr.io/siderolabs/sbc-rockchip:v0.2.0 --dry-run"
)]
pub(crate) struct LockArgs {
    /// Boards by name or path, or `files` for the files of no board [default: all of them]
    #[arg(value_name = "BOARD")]
    pub(crate) boards: Vec<String>,
    /// Let this one move to the bytes that its origin gives: ROLE, BOARD/ROLE, or the reference of an image; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) update: Vec<String>,
    /// Fail if the lock file would change
    #[arg(long)]
    pub(crate) locked: bool,
    /// Show what would change, and change nothing
    #[arg(long, alias = "check")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask verify _out/demo/metal-arm64.raw.xz\n  cargo xtask verify metal-arm64.raw --board nanopi-m6"
)]
pub(crate) struct VerifyArgs {
    /// A disk image (raw, .xz, .zst, .gz), a device, or an overlay archive
    pub(crate) file: PathBuf,
    /// Check every statement of this board's file too
    #[arg(long, value_name = "BOARD")]
    pub(crate) board: Option<String>,
    /// Boot scenario that --board means [default: the board's]
    #[arg(long, value_name = "SCENARIO", requires = "board")]
    pub(crate) boot: Option<String>,
    /// The image's build record [default: build.json beside the file]
    #[arg(long, value_name = "FILE")]
    pub(crate) build: Option<PathBuf>,
    /// Turn the errors of one finding code into warnings; repeatable
    #[arg(long, value_name = "CODE")]
    pub(crate) allow: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask inspect idbloader.img\n  cargo xtask inspect u-boot.itb --tsv | cut -f3,4"
)]
pub(crate) struct InspectArgs {
    /// A disk image, idblock, FIT, device tree, UKI or overlay archive
    pub(crate) file: PathBuf,
    /// One fact a line: kind, offset, field, value, separated by tabs
    #[arg(long, conflicts_with = "json")]
    pub(crate) tsv: bool,
}

/// Which inputs of a board are brought here.
#[derive(Debug, Args)]
pub(crate) struct SupplyArgs {
    /// Talos release, vX.Y.Z [default: talos in boards/defaults.toml]
    #[arg(long, value_name = "VERSION", env = "TALOS_VERSION")]
    pub(crate) talos: Option<String>,
    /// Boot scenario [default: the board's]
    #[arg(long, value_name = "SCENARIO", conflicts_with = "all")]
    pub(crate) boot: Option<String>,
    /// All boot scenarios
    #[arg(long)]
    pub(crate) all: bool,
    /// Where kernel, initramfs and boot programs come from, as for `image`
    #[arg(long, value_name = "BASE")]
    pub(crate) base: Option<String>,
    /// What the installer image stands on, as for `image`
    #[arg(long, value_name = "BASE")]
    pub(crate) installer_base: Option<String>,
    /// A system extension, as for `image`; repeatable
    #[arg(long = "extension", value_name = "REF|FILE")]
    pub(crate) extensions: Vec<String>,
    /// Replace one input by a local file; repeatable
    #[arg(long = "source", value_name = "NAME=PATH", value_parser = pair)]
    pub(crate) sources: Vec<(String, String)>,
    /// Refuse inputs that boards/sources.lock does not know
    #[arg(long)]
    pub(crate) locked: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask fetch nanopi-r6c\n  cargo xtask fetch nanopi-m6 --boot vendor --talos v1.13.9\n  cargo xtask fetch nanopi-r6c && cargo xtask image nanopi-r6c --offline"
)]
pub(crate) struct FetchArgs {
    /// Names of boards (`cargo xtask boards` lists them) or paths of board files; `files` for those of boards/files.toml
    #[arg(required = true, value_name = "BOARD")]
    pub(crate) boards: Vec<String>,
    #[command(flatten)]
    pub(crate) supply: SupplyArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask vendor inputs nanopi-r6c\n  cargo xtask image nanopi-r6c --offline --base dir:inputs --source idbloader=inputs/nanopi-r6c/idbloader.img"
)]
pub(crate) struct VendorArgs {
    /// Folder; what is there and right is left alone
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Names of boards (`cargo xtask boards` lists them) or paths of board files; `files` for those of boards/files.toml
    #[arg(required = true, value_name = "BOARD")]
    pub(crate) boards: Vec<String>,
    #[command(flatten)]
    pub(crate) supply: SupplyArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask push _out/nanopi-m6/overlay.tar ghcr.io/me/overlay:v1.10.6-1\n  cargo xtask push oci:layout \
    127.0.0.1:5000/test:v1 --plain-http 127.0.0.1:5000\n\nExit codes: 0 done; 1 the tag names another image (--force moves it), or was \
    taken meanwhile; 2 usage; 3 archive or digest missing, damaged or incomplete; 4 network or access; 130 Ctrl-C."
)]
pub(crate) struct PushArgs {
    /// An archive (OCI, or of `docker save`), oci:DIR or oci:DIR:TAG, or sha256:… of an archive, index or manifest in the store
    pub(crate) image: String,
    /// Where to: HOST/REPOSITORY:TAG, or …@sha256:… without a tag; never with a scheme
    pub(crate) reference: String,
    /// Move the tag although it names another image
    #[arg(long)]
    pub(crate) force: bool,
    /// Turn the error of this code into a warning; REG009: the image holds secrets, and only your nodes can read the registry
    #[arg(long = "allow", value_name = "CODE")]
    pub(crate) allow: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask pull ghcr.io/siderolabs/installer-base:v1.13.9\n  cargo xtask pull ghcr.io/o/n:v1 --platform linux/arm64 \
    -o n.tar\n  cargo xtask pull --store-only ghcr.io/o/n@sha256:…"
)]
pub(crate) struct PullArgs {
    /// The image: HOST/REPOSITORY:TAG or …@sha256:…
    pub(crate) reference: String,
    /// The archive that is written [default: NAME-TAG.tar in the current folder; NAME-DIGITS.tar by digest]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Only for this platform; repeatable [default: all]
    #[arg(long = "platform", value_name = "OS/ARCH")]
    pub(crate) platforms: Vec<String>,
    /// Fill the store and write no archive
    #[arg(long, conflicts_with = "out")]
    pub(crate) store_only: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask cache stats\n  cargo xtask cache gc")]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum CacheCommand {
    /// Count what the store holds
    Stats,
    /// Empty the store: all blobs, records and unfinished transfers; what was fetched will be fetched again
    Gc,
    /// Read every blob and remove those that are damaged
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct CiArgs {
    /// Run only this step; repeatable
    #[arg(long = "step", value_name = "NAME")]
    pub(crate) steps: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Change nothing; fail if anything would change
    #[arg(long)]
    pub(crate) check: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected NAME=VALUE: {text}")),
    }
}

impl SupplyArgs {
    /// What is brought for these boards.
    pub(crate) fn request(&self, boards: &[String]) -> Result<SupplyRequest, Error> {
        let mut build = Request::new("");
        build.talos.clone_from(&self.talos);
        build.boot.clone_from(&self.boot);
        build.base.clone_from(&self.base);
        build.installer_base.clone_from(&self.installer_base);
        build.extensions.clone_from(&self.extensions);
        build.locked = self.locked;
        build.epoch = epoch()?;
        for (name, path) in &self.sources {
            if build.sources.insert(name.clone(), PathBuf::from(path)).is_some() {
                return Err(Error::usage(format!("--source {name} is given twice")));
            }
        }
        Ok(SupplyRequest { boards: boards.to_vec(), all: self.all, build })
    }
}

impl ImageArgs {
    /// The request that these arguments and the environment make.
    pub(crate) fn request(&self) -> Result<Request, Error> {
        let mut request = Request::new(&self.board);
        request.talos.clone_from(&self.talos);
        request.bootloader = self.bootloader;
        request.boot.clone_from(&self.boot);
        for format in &self.formats {
            if !request.formats.contains(format) {
                request.formats.push(*format);
            }
        }
        request.base.clone_from(&self.base);
        request.installer_base.clone_from(&self.installer_base);
        for (name, path) in &self.sources {
            if request.sources.insert(name.clone(), PathBuf::from(path)).is_some() {
                return Err(Error::usage(format!("--source {name} is given twice")));
            }
        }
        if let Some(kernel) = &self.kernel
            && request.sources.insert("kernel".to_owned(), kernel.clone()).is_some()
        {
            return Err(Error::usage("--kernel and --source kernel=… name the same input"));
        }
        request.extensions.clone_from(&self.extensions);
        request.modules.clone_from(&self.modules);
        request.embed_config.clone_from(&self.embed_config);
        if let (Some(url), Some(file)) = (&self.omni, &self.join_token_file) {
            request.omni = Some(Omni::new(url, &token(file)?)?);
        }
        request.schematic = self.schematic;
        request.size = self.size;
        request.kernel_args.clone_from(&self.kernel_args);
        for text in &self.meta {
            request.meta.push(boardbuild::parse_meta(text)?);
        }
        for (key, value) in &self.options {
            request.options.insert(key.clone(), value.clone());
        }
        request.allow.clone_from(&self.allow);
        request.require_arch.clone_from(&self.require_arch);
        request.installer_bin =
            self.installer_bin.iter().map(|(arch, path)| (arch.clone(), PathBuf::from(path))).collect();
        request.locked = self.locked;
        request.dry_run = self.dry_run;
        request.out.clone_from(&self.out);
        request.workers = self.threads.map(usize::from);
        request.epoch = epoch()?;
        Ok(request)
    }
}

/// The content of a token file. Tokens have some hundred bytes.
fn token(path: &Path) -> Result<String, Error> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(65_536).read_to_end(&mut bytes));
    match read {
        // What was found is not shown: it may be a token in another encoding.
        Ok(_) => String::from_utf8(bytes).map_err(|_| {
            Error::usage("--join-token-file: the file is not UTF-8; a token file holds the token alone, on one line")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let finding = boardbuild::Finding::error(
                "SRC001",
                format!("--join-token-file: no file at this path: {}", path.display()),
            );
            Err(Error::new(
                boardbuild::Exit::Input,
                finding.help("write the token that Omni shows under `Join Tokens` into a file"),
            ))
        }
        Err(error) => Err(Error::io(path, &error)),
    }
}

/// End of 2107: FAT knows no later instant. Before 1980 it says 1980.
const LAST_EPOCH: u64 = 4_354_819_198;

pub(crate) fn epoch() -> Result<Option<Epoch>, Error> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds <= LAST_EPOCH);
    seconds.map(|seconds| Some(Epoch(seconds))).ok_or_else(|| {
        Error::usage(format!(
            "SOURCE_DATE_EPOCH: expected seconds since 1970, up to the end of 2107: {}",
            text.to_string_lossy()
        ))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kernel_arguments_may_begin_with_a_dash_and_hold_spaces() {
        let cli =
            Cli::try_parse_from(["x", "image", "demo", "--kernel-arg", "-console", "--kernel-arg", "a=b c"]).unwrap();
        let Command::Image(args) = cli.command else { panic!() };
        assert_eq!(args.kernel_args, ["-console", "a=b c"]);
    }

    /// The words of every `cargo xtask` command of a text: in fenced blocks of a page, in steps of a workflow.
    fn commands(text: &str, fenced: bool) -> Vec<Vec<String>> {
        let (mut inside, mut found) = (!fenced, Vec::new());
        let text = text.replace("\\\n", " ");
        for line in text.lines() {
            if fenced && line.trim_start().starts_with("```") {
                inside = !inside;
            }
            let Some(start) = line.find("cargo xtask ").filter(|_| inside) else { continue };
            let command = &line[start + "cargo xtask ".len()..];
            if line[..start].contains(['`', '#']) {
                continue;
            }
            let words = command.split_whitespace().take_while(|word| !word.starts_with(['|', '>', '#', '&', ';']));
            found.push(words.map(|word| word.trim_matches(['"', '\'']).to_owned()).collect());
        }
        found
    }

    #[test]
    fn every_command_of_pages_and_workflows_is_one() {
        let root = testkit::workspace();
        let mut files = vec![(root.join("README.md"), true)];
        for (folder, fenced) in [("docs", true), ("docs/boards", true), (".github/workflows", false)] {
            let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            files.extend(entries.filter(|path| path.is_file()).map(|path| (path, fenced)));
        }
        let mut count = 0;
        for (path, fenced) in files {
            for words in commands(&String::from_utf8(testkit::read(&path)).unwrap(), fenced) {
                let parsed = Cli::try_parse_from(std::iter::once("xtask".to_owned()).chain(words.clone()));
                assert!(parsed.is_ok(), "{}: cargo xtask {}: {}", path.display(), words.join(" "), parsed.unwrap_err());
                count += 1;
            }
        }
        assert!(count > 10, "{count}");
    }
}
