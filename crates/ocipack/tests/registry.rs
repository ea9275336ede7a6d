//! Against Debian's `docker-registry` on loopback, with skopeo as the second pair of eyes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

use std::{collections::BTreeMap, process::Command, sync::Arc};

use imgcore::{Blob, Digest, Epoch, NoProgress};
use ocipack::{
    Descriptor, Document, Entry, Image, Platform, archive, layer, media,
    registry::{Client, Credentials, Docker, NoCredentials, Options, Reference, Repository, Session, Uploaded},
};
use testkit::registry::{Door, PASSWORD, Registry};
use transfer::{Engine, EngineOptions, ErrorKind, Have, Net, RealPace};

fn client(registry: &Registry, credentials: Arc<dyn Credentials>, piece: Option<u64>) -> Client {
    let door = registry.door();
    let plain_http = if door.has_tls() { Vec::new() } else { vec![registry.host()] };
    let ca_file = door.has_tls().then(|| testkit::read(registry.ca_file()));
    let engine = Engine::new(EngineOptions { plain_http: plain_http.clone(), ca_file, ..EngineOptions::default() });
    let net = Net::new(Arc::new(engine.unwrap()), Arc::new(RealPace::quiet()));
    Client::new(net, credentials, Options { plain_http, piece, ..Options::default() })
}

fn anybody(registry: &Registry, piece: Option<u64>) -> Client {
    client(registry, Arc::new(NoCredentials), piece)
}

fn keeper(registry: &Registry) -> Arc<dyn Credentials> {
    let text = testkit::read(registry.docker_config().join("config.json"));
    Arc::new(Docker::parse("config.json", &text).unwrap())
}

fn repository(registry: &Registry, name: &str) -> Repository {
    format!("{}/{name}", registry.host()).parse().unwrap()
}

fn noise(seed: u64, size: usize) -> Blob {
    Blob::from_bytes("noise", testkit::Rng::new(seed).bytes(size))
}

fn send(client: &Client, to: &Repository, blob: &Blob) -> Uploaded {
    client.upload(to, blob, None, None, &mut |_| {}, &NoProgress).unwrap()
}

fn read_back(client: &Client, from: &Repository, blob: &Blob) {
    let (digest, size) = (blob.compute_digest().unwrap(), imgcore::ReadAt::size(blob));
    let descriptor: Descriptor = descriptor(digest, size);
    let mut bytes = Vec::new();
    let got = client.blob(from, &descriptor, Have::default(), &mut bytes, &NoProgress).unwrap();
    assert_eq!((got.digest, got.size, Digest::of(&bytes)), (digest, size, digest));
}

fn descriptor(digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media::LAYER.to_owned(), digest, size, platform: None, annotations: BTreeMap::default() }
}

#[test]
fn blobs_go_there_and_come_back() {
    let Some(registry) = Registry::start(Door::Plain) else { return };
    let (whole, pieces) = (anybody(&registry, None), anybody(&registry, Some(100_000)));
    let (one, two) = (repository(&registry, "one"), repository(&registry, "team/two"));
    for (number, size) in [0, 1, 2, 99_999, 100_000, 100_001, 1_234_567].into_iter().enumerate() {
        for (client, seed) in [(&whole, 1), (&pieces, 2)] {
            let blob = noise(seed * 100 + number as u64, size);
            let digest = blob.digest().unwrap();
            let before = client.has_blob(&one, &digest).unwrap();
            assert!(!before || size == 0, "{size}");
            assert_eq!(send(client, &one, &blob), Uploaded::Sent { resumed: 0 });
            assert!(client.has_blob(&one, &digest).unwrap());
            read_back(client, &one, &blob);
            // The other repository takes it over.
            let mounted = client.upload(&two, &blob, Some(&one), None, &mut |_| {}, &NoProgress).unwrap();
            assert_eq!(mounted, Uploaded::Mounted, "{size}");
            read_back(client, &two, &blob);
        }
    }
    let absent = noise(7, 10);
    let nowhere = repository(&registry, "nowhere");
    let sent = whole.upload(&two, &absent, Some(&nowhere), None, &mut |_| {}, &NoProgress).unwrap();
    assert_eq!(sent, Uploaded::Sent { resumed: 0 });
}

#[test]
fn an_upload_that_was_killed_goes_on() {
    let Some(registry) = Registry::start(Door::Plain) else { return };
    let client = anybody(&registry, Some(100_000));
    let repository = repository(&registry, "one");
    let blob = noise(1, 1_000_000);
    // Stopped between two pieces, as by a kill: the panic leaves the session as the registry has it.
    let mut kept: Option<Session> = None;
    let stop = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut heard = |session: Option<&Session>| {
            kept = session.cloned();
            assert!(kept.as_ref().is_none_or(|session| session.committed < 300_000), "stopped here on purpose");
        };
        let _ = client.upload(&repository, &blob, None, None, &mut heard, &NoProgress);
    }));
    assert!(stop.is_err());
    let session = kept.unwrap();
    assert_eq!(session.committed, 300_000);
    let (next, mut last) = (anybody(&registry, None), Some(session.clone()));
    let mut heard = |session: Option<&Session>| last = session.cloned();
    let sent = next.upload(&repository, &blob, None, Some(&session), &mut heard, &NoProgress).unwrap();
    assert_eq!((sent, last), (Uploaded::Sent { resumed: 300_000 }, None));
    read_back(&next, &repository, &blob);
    // The session is used up: the next run begins anew and is as well.
    let again = next.upload(&repository, &blob, None, Some(&session), &mut |_| {}, &NoProgress).unwrap();
    assert_eq!(again, Uploaded::Sent { resumed: 0 });
    // A session that was opened and never used: `0-0`.
    let mut opened = None;
    let stop = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut heard = |session: Option<&Session>| {
            opened = session.cloned();
            panic!("stopped here on purpose");
        };
        let _ = client.upload(&repository, &noise(2, 500_000), None, None, &mut heard, &NoProgress);
    }));
    assert!(stop.is_err());
    let sent = client.upload(&repository, &noise(2, 500_000), None, opened.as_ref(), &mut |_| {}, &NoProgress);
    assert_eq!(sent.unwrap(), Uploaded::Sent { resumed: 0 });
    read_back(&client, &repository, &noise(2, 500_000));
}

/// Puts an image and returns its index.
fn put_image(client: &Client, to: &Repository, tag: &str) -> (Reference, Document) {
    let files = [Entry::file("hello.txt", 0o644, Blob::from_bytes("greeting", *b"hello"))];
    let layer = layer::build(&files, Epoch(0)).unwrap();
    let images = ["arm64", "amd64"].map(|arch| Image::new(Platform::new("linux", arch), vec![layer.clone()], Epoch(0)));
    let mut tar = Vec::new();
    archive::plan(&images, &archive::Options::default()).unwrap().write_to(&mut tar).unwrap();
    let (view, report) = ocipack::read::open(Arc::new(tar.clone()));
    assert!(report.is_empty());
    drop(view);
    let blobs = blobs_of(&tar);
    let root = blobs.iter().find(|bytes| bytes.starts_with(br#"{"schemaVersion":2"#) || is_index(bytes)).unwrap();
    let manifests: Vec<_> = blobs.iter().filter(|bytes| is_manifest(bytes)).collect();
    for bytes in blobs.iter().filter(|bytes| !is_index(bytes) && !is_manifest(bytes)) {
        send(client, to, &Blob::from_bytes("blob", bytes.clone()));
    }
    for bytes in manifests {
        let document = document(media::MANIFEST, bytes);
        assert_eq!(client.put_manifest(&to.with_digest(document.digest), &document).unwrap(), document.digest);
    }
    let index = document(media::INDEX, root);
    let reference = to.with_tag(tag).unwrap();
    assert_eq!(client.tag_digest(&reference).unwrap(), None);
    assert_eq!(client.put_manifest(&reference, &index).unwrap(), index.digest);
    assert_eq!(client.tag_digest(&reference).unwrap(), Some(index.digest));
    (reference, index)
}

fn document(media_type: &str, bytes: &[u8]) -> Document {
    Document { media_type: media_type.to_owned(), digest: Digest::of(bytes), bytes: bytes.to_vec() }
}

fn is_index(bytes: &[u8]) -> bool {
    json(bytes).is_some_and(|value| value["mediaType"] == media::INDEX)
}

fn is_manifest(bytes: &[u8]) -> bool {
    json(bytes).is_some_and(|value| value["mediaType"] == media::MANIFEST)
}

fn json(bytes: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(bytes).ok()
}

/// What lies under `blobs/sha256/` of an archive.
fn blobs_of(tar: &[u8]) -> Vec<Vec<u8>> {
    let mut blobs = Vec::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.starts_with("blobs/sha256") && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            blobs.push(bytes);
        }
    }
    blobs
}

#[test]
fn skopeo_reads_what_we_put_through_every_door() {
    let Some(skopeo) = testkit::tool("skopeo") else { return };
    for door in [Door::Plain, Door::Password, Door::Tls, Door::TlsPassword] {
        let Some(registry) = Registry::start(door) else { return };
        let client =
            if door.has_password() { client(&registry, keeper(&registry), None) } else { anybody(&registry, Some(64)) };
        let (reference, index) = put_image(&client, &repository(&registry, "team/image"), "v1");
        let back = client.manifest(&reference).unwrap();
        assert_eq!((&back.bytes, back.digest, &back.media_type), (&index.bytes, index.digest, &index.media_type));
        let head = client.head(&reference).unwrap();
        assert_eq!((head.digest, head.size), (index.digest, index.bytes.len() as u64));
        assert_eq!(client.manifest(&reference.with_digest(index.digest)).unwrap().bytes, index.bytes);
        let mut command = Command::new(&skopeo);
        command.args(["inspect", "--raw"]).arg(format!("docker://{reference}"));
        if door.has_tls() {
            command.arg("--cert-dir").arg(registry.certificates());
        } else {
            command.arg("--tls-verify=false");
        }
        command.env("DOCKER_CONFIG", registry.docker_config());
        if door.has_password() {
            command.arg("--authfile").arg(registry.docker_config().join("config.json"));
        }
        assert_eq!(testkit::run(&mut command).as_bytes(), index.bytes, "{door:?}");
        // Layers and configurations too, for each platform.
        let folder = tempfile::tempdir().unwrap();
        let mut copy = Command::new(&skopeo);
        copy.args(["copy", "--all", "-q"]).arg(format!("docker://{reference}"));
        copy.arg(format!("oci:{}:v1", folder.path().join("out").display()));
        if door.has_tls() {
            copy.arg("--src-cert-dir").arg(registry.certificates());
        } else {
            copy.arg("--src-tls-verify=false");
        }
        if door.has_password() {
            copy.arg("--src-authfile").arg(registry.docker_config().join("config.json"));
        }
        testkit::run(&mut copy);
        assert!(!registry.log().contains(PASSWORD));
    }
}

#[test]
fn who_is_not_known_is_refused_without_a_word_about_the_password() {
    let Some(registry) = Registry::start(Door::Password) else { return };
    let to = repository(&registry, "one");
    let reference = to.with_tag("v1").unwrap();
    let error = anybody(&registry, None).manifest(&reference).unwrap_err();
    assert!(
        matches!(error.transfer().map(transfer::Error::kind), Some(ErrorKind::Refused { with_credentials: false, .. })),
        "{error:?}"
    );
    let wrong = testkit::registry::base64("keeper:canary-wrong");
    let config = format!(r#"{{"auths": {{"{}": {{"auth": "{wrong}"}}}}}}"#, registry.host());
    let wrong = client(&registry, Arc::new(Docker::parse("c", config.as_bytes()).unwrap()), None);
    let error = wrong.upload(&to, &noise(1, 10), None, None, &mut |_| {}, &NoProgress).unwrap_err();
    assert!(
        matches!(error.transfer().map(transfer::Error::kind), Some(ErrorKind::Refused { with_credentials: true, .. })),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert!(
        client(&registry, keeper(&registry), None).manifest(&reference).unwrap_err().to_string().contains("not found")
    );
}

#[test]
fn a_registry_without_tls_must_be_named() {
    let Some(registry) = Registry::start(Door::Plain) else { return };
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let mut net = Net::new(Arc::new(engine), Arc::new(RealPace::quiet()));
    net.policy.tries = 1;
    let client = Client::new(net, Arc::new(NoCredentials), Options::default());
    let error = client.head(&repository(&registry, "one").with_tag("v1").unwrap()).unwrap_err();
    assert!(
        matches!(error.transfer().map(transfer::Error::kind), Some(ErrorKind::Tls { .. } | ErrorKind::Connect { .. })),
        "{error:?}"
    );
    assert_eq!(registry.log().matches("GET /v2").count(), 0);
}
