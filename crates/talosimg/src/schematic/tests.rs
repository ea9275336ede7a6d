use super::*;

/// Schematics and the ids under which they were published: the Image Factory's own tests, the thread image-factory#177,
/// and those that installer references in public use carry.
const PUBLISHED: &[(&str, &str)] = &[
    ("", "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
    ("{}", "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
    ("customization:\n", "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
    (
        r#"customization: {"extraKernelArgs": [], "systemExtensions": {}, "bootloader": "None", "overlay": null}"#,
        "refused",
    ),
    (
        r#"customization: {"extraKernelArgs": [], "systemExtensions": {}, "bootloader": "None"}"#,
        "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba",
    ),
    (
        r#"{"customization": {"extraKernelArgs": ["noapic", "nolapic"], "systemExtensions": {}}}"#,
        "9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c",
    ),
    (
        r#"{"customization": {"meta": [{"key": 0xa, "value": "foo"}], "extraKernelArgs": []}}"#,
        "d308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f",
    ),
    (
        r#"{"overlay": {"name": "rpi_generic", "image": "siderolabs/sbc-raspberrypi"}}"#,
        "ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9",
    ),
    (
        r#"{"customization":{"secureboot": {"includeWellKnownCertificates": yes}}}"#,
        "fa8e05f142a851d3ee568eb0a8e5841eaf6b0ebc8df9a63df16ac5ed2c04f3e6",
    ),
    (
        r#"{"customization":{"diskImage": {"sectorSize": 4096}}}"#,
        "92833e9ddd9bb9e11b2464fa5525429f01866306d52ebd882ee08d7918f6d1ea",
    ),
    (
        "overlay:\n  name: rpi_generic\n  image: siderolabs/sbc-raspberrypi\ncustomization:\n  systemExtensions:\n    \
         officialExtensions:\n      - siderolabs/iscsi-tools\n      - siderolabs/util-linux-tools\n",
        "f8a903f101ce10f686476024898734bb6b36353cc4d41f348514db9004ec0a9d",
    ),
    (
        "overlay:\n    image: registry.skysolutions.fi/library/sbc-raspberrypi:alpha.1-1@sha256:\
         f5734630fbae0647daf6e490ff91cd5f95220c3fc34e64364b2f245cde502a43\n    name: sbc-raspberrypi\ncustomization: {}\n",
        "ec42c5ed12094ebe3fb1c628bffbc3d242b614319205c2958665cdcdfd723b06",
    ),
    (
        "customization:\n  systemExtensions:\n    officialExtensions:\n      - siderolabs/iscsi-tools\n      - \
         siderolabs/util-linux-tools\n",
        "613e1592b2da41ae5e265e8789429f22e121aab91cb4deb6bc3c0b6262961245",
    ),
    (
        "customization: {systemExtensions: {officialExtensions: [siderolabs/qemu-guest-agent]}}",
        "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515",
    ),
];

#[test]
fn published_ids_are_computed_offline() {
    for (text, id) in PUBLISHED {
        let found = Schematic::parse(text).map_or("refused".to_owned(), |schematic| schematic.id());
        assert_eq!(found, *id, "{text}");
    }
}

/// A schematic with every field, and what Go's `yaml.v3` writes for the structs of the Image Factory.
const FULL: &str = "\
owner: me
overlay:
    image: ghcr.io/example/overlay:v1
    name: rk3588
    options:
        a1: 1
        a9: 31
        a10: 0.5
        board: nanopi-m6
        configTxt: |
            gpu_mem=128
            enable_uart=1
        list:
            - true
            - null
            - \"1.10\"
            - x: \"yes\"
        serial: \"20250708\"
customization:
    embeddedMachineConfiguration: |
        machine:
          type: worker
    extraKernelArgs:
        - console=ttyS2,1500000n8
        - -console
        - 'a: b'
        - \"\"
    meta:
        - key: 10
          value: '{}'
        - key: 255
          value: \"\"
    systemExtensions:
        officialExtensions:
            - siderolabs/realtek-firmware
    bootloader: sd-boot
    secureboot:
        enrollKeys: if-safe
        includeWellKnownCertificates: true
    diskImage:
        sectorSize: 4096
";

#[test]
fn every_field_is_read_and_written_in_the_canonical_form() {
    let schematic = Schematic::parse(FULL).unwrap();
    assert_eq!(schematic.to_yaml(), FULL);
    let shuffled = "customization: {diskImage: {sectorSize: 0x1000}, secureboot: {includeWellKnownCertificates: true, \
                    enrollKeys: if-safe}, bootloader: SD-Boot, systemExtensions: {officialExtensions: \
                    [siderolabs/realtek-firmware]}, meta: [{value: '{}', key: 0o12}, {key: 255}], extraKernelArgs: \
                    ['console=ttyS2,1500000n8', -console, 'a: b', ''], embeddedMachineConfiguration: \"machine:\\n  type: \
                    worker\\n\"}\noverlay: {options: {serial: '20250708', list: [true, ~, '1.10', {x: yes}], configTxt: \
                    \"gpu_mem=128\\nenable_uart=1\\n\", board: nanopi-m6, a10: .5, a9: 0x1F, a1: 1}, name: rk3588, image: \
                    ghcr.io/example/overlay:v1}\nowner: me\n---\nsecond: document\n";
    assert_eq!(Schematic::parse(shuffled).unwrap().to_yaml(), FULL);
    assert_eq!(Schematic::parse(shuffled).unwrap().id(), schematic.id());
}

#[test]
fn what_the_image_factory_refuses_is_refused_with_its_line() {
    for (text, words) in [
        ("customization:\n  systemExtension: {}\n", &["line 2", "did you mean `systemExtensions`"][..]),
        ("customisation: {}\n", &["did you mean `customization`"]),
        ("[]", &["the schematic is no map"]),
        ("customization: []", &["customization is no map"]),
        ("customization: {extraKernelArgs: a}", &["extraKernelArgs is no list"]),
        ("customization: {extraKernelArgs: [[a]]}", &["extraKernelArgs is no text"]),
        ("customization: {meta: {}}", &["meta is no list"]),
        ("customization: {meta: [{key: 256}]}", &["up to 255"]),
        ("customization: {meta: [{key: a}]}", &["no number"]),
        ("customization: {meta: [{keys: 1}]}", &["only key, value", "did you mean `key`"]),
        ("customization: {bootloader: lilo}", &["bootloader is one of"]),
        ("customization: {secureboot: {includeWellKnownCertificates: 1}}", &["neither true nor false"]),
        ("overlay: {options: [a]}", &["overlay.options is no map"]),
        ("overlay:\n  options:\n    built: 2025-07-08\n", &["line 3", "unquoted date"]),
        ("overlay: {image: [a]}", &["overlay.image is no text"]),
        ("a: b: c", &["schematic: "]),
        ("customization: {}\ncustomization: {}\n", &["twice"]),
    ] {
        let error = Schematic::parse(text).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }
}

#[test]
fn the_extension_says_what_the_image_is_made_of() {
    let schematic = Schematic::parse("overlay: {name: rpi_generic, image: siderolabs/sbc-raspberrypi}").unwrap();
    let id = "ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9";
    let extension = schematic.extension(Some("https://factory.talos.dev")).unwrap();
    assert_eq!(
        extension.manifest.to_yaml(),
        format!(
            "version: v1alpha1\nmetadata:\n    name: schematic\n    version: {id}\n    author: Image Factory \
             (https://factory.talos.dev)\n    description: Virtual extension which specifies the schematic of the image built \
             with Image Factory.\n    compatibility:\n        talos:\n            version: '>= 1.0.0'\n    extraInfo: |\n        \
             overlay:\n            image: siderolabs/sbc-raspberrypi\n            name: rpi_generic\n        customization: {{}}\n"
        )
    );
    let paths: Vec<&str> = extension.rootfs.iter().map(|(path, _)| path).collect();
    let file = format!("usr/local/share/schematic/{id}");
    assert_eq!(paths, ["usr", "usr/local", "usr/local/share", "usr/local/share/schematic", &file]);
    assert_eq!(extension.rootfs.bytes(), 0);
    assert_eq!(schematic.extension(None).unwrap().manifest.metadata.author, "Image Factory");
    let (read, report) = Manifest::parse(extension.manifest.to_yaml().as_bytes());
    assert_eq!((read, report.is_empty()), (Some(extension.manifest), true));
}

#[test]
fn names_of_the_catalog_are_taken_from_references() {
    for (reference, name) in [
        ("ghcr.io/siderolabs/realtek-firmware:20250708@sha256:00", Some("siderolabs/realtek-firmware")),
        ("siderolabs/gvisor", Some("siderolabs/gvisor")),
        ("ghcr.io/siderolabs/sbc-rockchip", Some("siderolabs/sbc-rockchip")),
        ("ghcr.io/example/npu:1", None),
        ("registry.example/siderolabs/gvisor", None),
        ("ghcr.io/siderolabs/", None),
        ("ghcr.io/siderolabs/a/b", None),
        ("realtek.tar", None),
    ] {
        assert_eq!(official_name(reference).as_deref(), name, "{reference}");
    }
}
