//! `pull` and `push`.

use std::{
    io::{self, Read as _, Seek as _, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use imgcore::{Blob, Digest, Epoch, Hasher, NoProgress, Progress};
use ocipack::{
    BlobSource, Descriptor, Error, ErrorKind, Picked, Platform, archive, read,
    registry::{
        self, BlobStore, Chain, Client, Credentials, Docker, GithubToken, Incoming, Options, Places, PushOptions,
        Reference,
    },
};
use transfer::{Engine, EngineOptions, Have, Net, RealPace, Secret, Sink};

use crate::{FileAt, Folder};

#[derive(Args)]
pub(crate) struct Network {
    /// Speak to this host without TLS; repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    plain_http: Vec<String>,
    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Read from TO where FROM is meant; repeatable
    #[arg(long = "mirror", value_name = "FROM=TO", value_parser = crate::pair)]
    mirrors: Vec<(String, String)>,
}

#[derive(Args)]
pub(crate) struct Pull {
    /// The image: HOST/REPOSITORY:TAG or …@sha256:…
    reference: String,
    /// The archive that is written, or oci:DIR for the folder of an OCI layout
    target: String,
    /// Only for this platform; repeatable [default: all]
    #[arg(long = "platform", value_name = "OS/ARCH")]
    platforms: Vec<String>,
    #[command(flatten)]
    network: Network,
}

#[derive(Args)]
pub(crate) struct Push {
    /// An image archive, or the folder of an OCI layout
    file: PathBuf,
    /// Where to: HOST/REPOSITORY:TAG
    reference: String,
    /// Move the tag although it names another image
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    network: Network,
}

/// Why a command ended, and with which exit code.
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::TagTaken { .. } | ErrorKind::TagMoved { .. } => 1,
            ErrorKind::Reference { .. } | ErrorKind::Name { .. } | ErrorKind::Platform { .. } => 2,
            ErrorKind::Transfer { source, .. } => match source.kind() {
                transfer::ErrorKind::NotFound { .. }
                | transfer::ErrorKind::Digest { .. }
                | transfer::ErrorKind::Size { .. } => 3,
                _ => 4,
            },
            _ if error.io().is_some() => 4,
            _ => 3,
        };
        Self { text: error.to_string(), code }
    }
}

impl From<transfer::Error> for Failure {
    fn from(error: transfer::Error) -> Self {
        Self { text: error.to_string(), code: 4 }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { text: error.to_string(), code: if error.kind() == io::ErrorKind::NotFound { 3 } else { 4 } }
    }
}

impl Network {
    fn client(&self) -> Result<Client, Failure> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let names = ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"];
        let [registry_auth_file, docker_config, runtime_dir, config_home, home] = names.map(variable);
        let places = Places {
            registry_auth_file: registry_auth_file.as_deref(),
            docker_config: docker_config.as_deref(),
            runtime_dir: runtime_dir.as_deref(),
            config_home: config_home.as_deref(),
            home: home.as_deref(),
        };
        let mut chain: Vec<Arc<dyn Credentials>> = Vec::new();
        for path in places.files().into_iter().filter(|path| path.is_file()) {
            chain.push(Arc::new(Docker::parse(path.display().to_string(), &fs_err::read(&path)?)?));
        }
        if let Some(token) = std::env::var("GITHUB_TOKEN").ok().filter(|token| !token.is_empty()) {
            chain.push(Arc::new(GithubToken(Secret::new(token))));
        }
        let engine = Engine::new(EngineOptions {
            plain_http: self.plain_http.clone(),
            ca_file: self.ca_file.as_ref().map(fs_err::read).transpose()?,
            user_agent: concat!("ocipack/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..EngineOptions::default()
        })?;
        let options =
            Options { plain_http: self.plain_http.clone(), mirrors: self.mirrors.clone(), ..Options::default() };
        Ok(Client::new(Net::new(Arc::new(engine), Arc::new(RealPace::quiet())), Arc::new(Chain(chain)), options))
    }
}

/// Checks an archive or a layout and pushes it.
pub(crate) fn push(arguments: &Push) -> Result<(), Failure> {
    let target: Reference = arguments.reference.parse()?;
    let tag = target.tag().unwrap_or_default();
    let (picked, report) = if arguments.file.is_dir() {
        let index = fs_err::read(arguments.file.join("index.json"))?;
        let source: Arc<dyn BlobSource> = Arc::new(Folder(arguments.file.clone()));
        let (view, mut report) = read::open_layout(index, &source, read::Options::default());
        let view = view.filter(|_| !report.has_errors());
        report.extend(view.as_ref().map(read::ArchiveView::verify).unwrap_or_default());
        (view.map(|view| Picked::from_layout(&view, source, tag)), report)
    } else {
        let file = Arc::new(FileAt::open(&arguments.file)?);
        let (view, report) = read::verify(file.clone());
        (view.map(|view| Picked::from_archive(&view, file, tag)), report)
    };
    if report.has_errors() {
        let found: Vec<_> = report.iter().map(ToString::to_string).collect();
        return Err(Failure { text: format!("nothing was sent\n{}", found.join("\n")), code: 3 });
    }
    let Some(picked) = picked.transpose()? else {
        return Err(Failure { text: "no image".to_owned(), code: 3 });
    };
    let client = arguments.network.client()?;
    let options = PushOptions { force: arguments.force, ..PushOptions::default() };
    let pushed = registry::push(&client, &picked.source, &picked.root, &target, options, &NoProgress)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", pushed.reference)?;
    if pushed.nothing_to_do() {
        writeln!(out, "nothing to do")?;
    } else {
        let (sent, there) = (pushed.uploaded, pushed.skipped);
        writeln!(out, "{sent} blobs uploaded ({} bytes), {there} already there", pushed.bytes)?;
    }
    Ok(())
}

/// Pulls into a layout; for an archive, into one beside it that is removed in the end.
pub(crate) fn pull(arguments: &Pull) -> Result<(), Failure> {
    let reference: Reference = arguments.reference.parse()?;
    let platforms = arguments.platforms.iter().map(|text| text.parse()).collect::<Result<Vec<Platform>, _>>()?;
    let folder = match arguments.target.strip_prefix("oci:") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(format!("{}.parts", arguments.target)),
    };
    let store = Layout(Folder(folder.clone()));
    let client = arguments.network.client()?;
    let pulled = registry::pull(&client, &reference, &platforms, &store, &NoProgress)?;
    let names = archive::Names {
        repository: Some(reference.repository().to_string()),
        tag: reference.tag().map(str::to_owned),
        ..archive::Names::default()
    };
    let plan = archive::from_documents(&pulled.contents, &store, &names, Epoch(0))?;
    if arguments.target.starts_with("oci:") {
        // The names and documents that an archive would hold beside its blobs.
        for (name, bytes) in plan.top_files() {
            publish(&folder.join(name), &bytes)?;
        }
    } else {
        let parts = folder.join("archive");
        let mut file = io::BufWriter::new(fs_err::File::create(&parts)?);
        plan.write_to(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs_err::rename(&parts, &arguments.target)?;
        fs_err::remove_dir_all(&folder)?;
    }
    writeln!(io::stdout(), "{}", pulled.reference)?;
    Ok(())
}

fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("part");
    fs_err::write(&temporary, bytes)?;
    fs_err::rename(temporary, path)
}

/// The folder of an OCI layout that is being filled.
struct Layout(Folder);

impl BlobSource for Layout {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        self.0.blob(digest)
    }
}

impl BlobStore for Layout {
    fn receive(&self, descriptor: &Descriptor, _: &dyn Progress) -> io::Result<Option<Box<dyn Incoming>>> {
        let unchecked = self.blob(&descriptor.digest)?.map(|blob| Blob::new("blob", Arc::new(blob), None));
        if unchecked.is_some_and(|blob| blob.compute_digest().is_ok_and(|found| found == descriptor.digest)) {
            return Ok(None);
        }
        let folder = self.0.0.join("blobs/sha256");
        fs_err::create_dir_all(&folder)?;
        let target = folder.join(descriptor.digest.hex());
        let path = self.0.0.join(format!("{}.part", descriptor.digest.hex()));
        let mut file = fs_err::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        file.file().try_lock().map_err(|_| io::Error::other(format!("{}: another pull has it", path.display())))?;
        let (mut hasher, mut offset, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 16]);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            offset += count as u64;
        }
        Ok(Some(Box::new(Part { file, path, target, have: Have { offset, hasher, validator: None } })))
    }
}

struct Part {
    file: fs_err::File,
    path: PathBuf,
    target: PathBuf,
    have: Have,
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for Part {
    fn restart(&mut self) -> io::Result<()> {
        self.file.file().set_len(0)?;
        self.file.rewind()
    }
}

impl Incoming for Part {
    fn have(&self) -> Have {
        self.have.clone()
    }

    fn commit(self: Box<Self>) -> io::Result<()> {
        self.file.sync_all()?;
        fs_err::rename(&self.path, &self.target)
    }
}
