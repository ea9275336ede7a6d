//! The servers that other tests lean on stand up.
#![allow(clippy::disallowed_methods, reason = "a test stops where its helpers do")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
};

use testkit::{
    faulty::{Answer, At, Auth, Faulty, Setup, TOKEN, on},
    registry::{Door, PASSWORD, Registry, USER, base64},
};

#[test]
fn base64_pads() {
    let table =
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy"), ("\u{ff}?>", "w78/Pg==")];
    for (text, expected) in table {
        assert_eq!(base64(text), expected);
    }
}

/// The smallest image, as `skopeo` keeps images in folders; the digest of its config.
fn image(folder: &Path) -> &'static str {
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let manifest = format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {{"mediaType":
        "application/vnd.oci.image.config.v1+json", "digest": "sha256:{digest}", "size": 2}}, "layers": []}}"#
    );
    let files = [("version", "Directory Transport Version: 1.1\n"), (digest, "{}"), ("manifest.json", &manifest)];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("an image");
    }
    digest
}

#[test]
fn a_real_registry_takes_an_image_through_every_door() {
    for door in [Door::Plain, Door::Password, Door::Tls, Door::TlsPassword] {
        let (Some(registry), Some(skopeo)) = (Registry::start(door), testkit::tool("skopeo")) else { return };
        let folder = tempfile::tempdir().expect("a folder");
        image(folder.path());
        let mut copy = Command::new(skopeo);
        copy.args(["--insecure-policy", "copy", "--quiet"]);
        if door.has_tls() {
            copy.arg("--dest-cert-dir").arg(registry.certificates());
        } else {
            copy.arg("--dest-tls-verify=false");
        }
        if door.has_password() {
            copy.arg(format!("--dest-creds={USER}:{PASSWORD}"));
        }
        copy.arg(format!("dir:{}", folder.path().display())).arg(format!("docker://{}/a/b:c", registry.host()));
        testkit::run(&mut copy);
        let link = registry.storage().join("docker/registry/v2/repositories/a/b/_manifests/tags/c/current/link");
        assert!(link.is_file(), "{door:?}");
        assert!(registry.log().contains("PUT /v2/a/b/manifests/c"), "{}", registry.log());
    }
}

#[test]
fn without_a_rule_the_scripted_registry_is_a_registry() {
    for auth in [Auth::Nobody, Auth::Basic, Auth::Bearer] {
        let Some(skopeo) = testkit::tool("skopeo") else { return };
        let server = Faulty::start(Setup { auth, ..Setup::default() });
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!("sha256:{}", image(folder.path()));
        let there = format!("docker://{}/a/b:c", server.host(At::Registry));
        let here = format!("dir:{}", folder.path().display());
        let back = tempfile::tempdir().expect("a folder");
        let mut push = Command::new(&skopeo);
        push.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
        testkit::run(push.arg(format!("--dest-creds={USER}:{PASSWORD}")).args([&here, &there]));
        let mut pull = Command::new(&skopeo);
        pull.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
        pull.arg(format!("--src-creds={USER}:{PASSWORD}")).arg(&there).arg(format!("dir:{}", back.path().display()));
        testkit::run(&mut pull);
        assert_eq!(
            testkit::read(back.path().join("manifest.json")),
            testkit::read(folder.path().join("manifest.json"))
        );
        assert_eq!(server.content().blob("a/b", &config).as_deref(), Some(&b"{}".to_vec()), "{auth:?}");
        let methods: Vec<_> = server.seen().iter().map(|seen| seen.request.method.clone()).collect();
        assert!(methods.contains(&"PUT".to_owned()), "{methods:?}");
        assert_eq!(server.leaks(&[PASSWORD, TOKEN]), Vec::<String>::new(), "{auth:?}");
        assert_eq!(server.seen().iter().any(|seen| seen.request.path() == "/token"), auth == Auth::Bearer);
    }
}

#[test]
fn a_rule_changes_what_it_is_for() {
    let rules = vec![on("GET", "/files/a").first(1).gives(Answer::new(503))];
    let server = Faulty::start(Setup { rules, ..Setup::default() });
    server.add_file("a", b"bytes");
    for expected in ["HTTP/1.1 503", "HTTP/1.1 200"] {
        let mut stream = TcpStream::connect(server.host(At::Registry)).expect("a connection");
        stream.write_all(b"GET /files/a HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&status), expected);
    }
    assert_eq!(server.seen().len(), 2);
}
