//! What the tests of transfers share: images to move, the store as it is on disk, runs that are killed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use boardbuild::Digest;
use fs_err as fs;
use testkit::faulty::digest;

/// Media types of the image specification.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image by hand: an index of linux/arm64 and linux/amd64, each with a config and layers of random bytes.
pub struct Image {
    pub blobs: Vec<Vec<u8>>,
    pub manifests: Vec<Vec<u8>>,
    pub index: Vec<u8>,
}

impl Image {
    /// Two images with so many layers of so many bytes each. Another seed is another image.
    pub fn random(seed: u64, layers: usize, size: usize) -> Self {
        let (mut blobs, mut manifests, mut children) = (Vec::new(), Vec::new(), Vec::new());
        for (number, architecture) in ["arm64", "amd64"].into_iter().enumerate() {
            let seeds = (0..layers).map(|layer| 2 * (seed * 1000 + (number * layers + layer) as u64));
            let layers: Vec<_> = seeds.map(|seed| tar_of("random", &testkit::Rng::new(seed).bytes(size))).collect();
            let ids: Vec<_> = layers.iter().map(|layer| format!("{:?}", digest(layer))).collect();
            let config = format!(
                r#"{{"architecture":"{architecture}","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
                ids.join(",")
            );
            let rows: Vec<_> = layers.iter().map(|layer| descriptor(&media("layer.v1.tar"), layer, "")).collect();
            let manifest = format!(
                r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
                descriptor(&media("config.v1+json"), config.as_bytes(), ""),
                rows.join(",")
            );
            let platform = format!(r#","platform":{{"architecture":"{architecture}","os":"linux"}}"#);
            children.push(descriptor(MANIFEST, manifest.as_bytes(), &platform));
            blobs.push(config.into_bytes());
            blobs.extend(layers);
            manifests.push(manifest.into_bytes());
        }
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, children.join(","));
        Self { blobs, manifests, index: index.into_bytes() }
    }

    /// Digest of the index.
    pub fn root(&self) -> String {
        digest(&self.index)
    }

    /// Count of all bytes.
    pub fn size(&self) -> u64 {
        self.everything().map(|bytes| bytes.len() as u64).sum()
    }

    fn everything(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.blobs.iter().chain(&self.manifests).chain([&self.index])
    }

    /// The image as an OCI archive.
    pub fn archive(&self, path: &Path, tag: &str) {
        let annotation = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(INDEX, &self.index, &annotation));
        let mut tar = entry("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        tar.extend(entry("index.json", index.as_bytes()));
        for bytes in self.everything() {
            tar.extend(entry(&format!("blobs/{}", digest(bytes).replace(':', "/")), bytes));
        }
        tar.extend([0; 1024]);
        fs::write(path, tar).unwrap();
    }

    /// Puts it into a scripted registry.
    pub fn fill(&self, server: &testkit::faulty::Faulty, repository: &str, tag: &str) {
        let mut content = server.content();
        for blob in &self.blobs {
            content.add_blob(repository, blob);
        }
        for manifest in &self.manifests {
            content.add_manifest(repository, MANIFEST, manifest);
        }
        let root = content.add_manifest(repository, INDEX, &self.index);
        content.set_tag(repository, tag, &root);
    }

    /// What of it is missing or another in a scripted registry.
    pub fn missing(&self, server: &testkit::faulty::Faulty, repository: &str, tag: &str) -> Vec<String> {
        let content = server.content();
        let blobs = self
            .blobs
            .iter()
            .filter(|blob| content.blob(repository, &digest(blob)).is_none_or(|found| *found != **blob));
        let manifests =
            self.manifests.iter().chain([&self.index]).filter(|manifest| {
                content.manifest(repository, &digest(manifest)).is_none_or(|found| found != **manifest)
            });
        let mut missing: Vec<_> = blobs.chain(manifests).map(|bytes| digest(bytes)).collect();
        if content.tag(repository, tag) != Some(self.root()) {
            missing.push(tag.to_owned());
        }
        missing
    }
}

fn media(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}")
}

fn descriptor(media: &str, bytes: &[u8], more: &str) -> String {
    format!(r#"{{"mediaType":"{media}","digest":"{}","size":{}{more}}}"#, digest(bytes), bytes.len())
}

/// A tar of one file.
pub fn tar_of(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tar = entry(name, bytes);
    tar.extend([0; 1024]);
    tar
}

/// A file in a tar, header and padding.
pub fn entry(name: &str, bytes: &[u8]) -> Vec<u8> {
    special(b'0', name, "", bytes)
}

/// An entry of a kind that a tar has, with a link's target; names over 100 bytes as GNU writes them.
pub fn special(kind: u8, name: &str, target: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if name.len() > 100 {
        out.extend(special(b'L', "././@LongLink", "", name.as_bytes()));
    }
    let mut header = vec![0_u8; 512];
    let mut put = |at: usize, text: &[u8], most: usize| {
        let text = &text[..text.len().min(most)];
        header[at..at + text.len()].copy_from_slice(text);
    };
    put(0, name.as_bytes(), 100);
    put(100, b"0000644\0", 8);
    put(108, b"0000000\0", 8);
    put(116, b"0000000\0", 8);
    put(124, format!("{:011o}\0", bytes.len()).as_bytes(), 12);
    put(136, b"00000000000\0", 12);
    put(148, b"        ", 8);
    put(156, &[kind], 1);
    put(157, target.as_bytes(), 100);
    put(257, b"ustar  \0", 8);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend(header);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

/// What is wrong in a store: a file under the name of a blob whose bytes have another digest.
pub fn damaged_blobs(store: &Path) -> Vec<PathBuf> {
    let blobs = files(&store.join("v1/blobs"));
    blobs.into_iter().filter(|(path, bytes)| !name_is_digest(path, bytes)).map(|(path, _)| path).collect()
}

fn name_is_digest(path: &Path, bytes: &[u8]) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy() == Digest::of(bytes).hex())
}

/// Every file below a folder with its bytes; empty if there is none.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut open, mut files) = (vec![folder.to_path_buf()], BTreeMap::new());
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                files.insert(path, bytes);
            }
        }
    }
    files
}

/// Whether a text stands in a file below a folder.
pub fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    files(folder).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
}

/// A board that needs one file from the network; its base is the demo's.
pub fn board(home: &Path, name: &str, source: &str) -> PathBuf {
    let base = testkit::workspace().join("fixtures/demo/base");
    let text = format!(
        "name = \"{name}\"\nbase = \"dir:{}\"\ndefault-boot = \"mainline\"\n[boot.mainline]\nfiles = [{{ source = \"u-boot\", \
         at-sector = 16384 }}]\n[sources]\nu-boot = {{ {source} }}\n",
        base.display()
    );
    let path = home.join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

/// The lock beside such a board.
pub fn lock(home: &Path, name: &str, url: &str, bytes: &[u8]) {
    let sha256 = Digest::of(bytes);
    let text = format!(
        "version = 1\nepoch = 0\n\n[[source]]\nboard = \"{name}\"\nname = \"u-boot\"\norigin = \"{url}\"\nsha256 = \"{sha256}\"\n\
         size = {}\n",
        bytes.len()
    );
    fs::write(home.join("sources.lock"), text).unwrap();
}

/// The program under test, free of what the developer's environment says about builds, proxies and credentials.
pub fn xtask(home: &Path) -> Command {
    let mut command = super::xtask();
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "GITHUB_TOKEN"] {
        command.env_remove(name);
    }
    for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    command.env("HOME", home).env("DOCKER_CONFIG", home.join("docker"));
    command.arg("--cache-dir").arg(home.join("cache"));
    command
}

/// Runs a command and kills it (SIGKILL) after a time. `true` if it had ended before.
pub fn killed_after(command: &mut Command, time: Duration) -> bool {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    let ended = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    child.wait().unwrap();
    ended
}

/// What a command said, both outputs together.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that must end well.
#[track_caller]
pub fn well(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    said(&output)
}
