//! The servers that other tests lean on stand up.
#![allow(clippy::disallowed_methods, reason = "a test stops where its helpers do")]

use std::process::Command;

use testkit::registry::{Door, PASSWORD, Registry, USER, base64};

#[test]
fn base64_pads() {
    let table =
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy"), ("\u{ff}?>", "w78/Pg==")];
    for (text, expected) in table {
        assert_eq!(base64(text), expected);
    }
}

#[test]
fn a_real_registry_takes_an_image_through_every_door() {
    for door in [Door::Plain, Door::Password, Door::Tls, Door::TlsPassword] {
        let (Some(registry), Some(skopeo)) = (Registry::start(door), testkit::tool("skopeo")) else { return };
        let image = tempfile::tempdir().expect("a folder");
        std::fs::write(image.path().join("version"), "Directory Transport Version: 1.1\n").expect("an image");
        let config = "{}";
        let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        std::fs::write(image.path().join(digest), config).expect("an image");
        let manifest = format!(
            r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {{"mediaType":
            "application/vnd.oci.image.config.v1+json", "digest": "sha256:{digest}", "size": 2}}, "layers": []}}"#
        );
        std::fs::write(image.path().join("manifest.json"), manifest).expect("an image");
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
        copy.arg(format!("dir:{}", image.path().display())).arg(format!("docker://{}/a/b:c", registry.host()));
        testkit::run(&mut copy);
        let link = registry.storage().join("docker/registry/v2/repositories/a/b/_manifests/tags/c/current/link");
        assert!(link.is_file(), "{door:?}");
        assert!(registry.log().contains("PUT /v2/a/b/manifests/c"), "{}", registry.log());
    }
}
