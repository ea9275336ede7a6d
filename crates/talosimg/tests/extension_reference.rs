//! Extensions as the imager put them into its images, against ours from the same input.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail by panic and use std::fs")]

use std::sync::Arc;

use imgcore::{Blob, ReadAt};
use initramfs::{Node, Tree, packed};
use talosimg::{Version, extension, release, uki};

/// The extension of the reference cases, from the folder that its tar was made of.
fn input(folder: &std::path::Path) -> Tree {
    let mut root = Tree::new();
    for path in [
        "manifest.yaml",
        "rootfs/usr/lib/firmware/rtl_nic/rtl8125b-2.fw",
        "rootfs/usr/lib/firmware/rtl_nic/rtl8168h-2.fw",
    ] {
        let data = Blob::from_bytes(path, testkit::read(folder.join(path)));
        root.insert(path, Node::file(0o644, data)).unwrap();
    }
    root
}

#[test]
fn the_initramfs_holds_what_the_imagers_holds() {
    let Some(reference) = testkit::reference() else { return };
    for text in ["v1.10.6", "v1.13.9"] {
        let version: Version = text.parse().unwrap();
        let row = release::find(&version).unwrap();
        let (found, report) = extension::open("realtek-firmware.tar", input(&reference.join("in/ext")));
        let found = found.unwrap();
        assert!(report.is_empty() && extension::check(&found, row, &version).is_empty(), "{report:?}");
        let (merged, report) = extension::merge(row, vec![found]).unwrap();
        assert!(report.is_empty(), "{report:?}");
        let image = Blob::from_bytes("0.sqsh", *b"");
        let ours: Vec<(String, Option<Vec<u8>>)> = merged
            .archive(vec![image])
            .unwrap()
            .iter()
            .map(|(path, node)| (path.to_owned(), node.data().map(|data| data.read_all(1 << 20).unwrap())))
            .collect();

        let mut theirs = Vec::new();
        let initrd = initrd(&reference.join(format!("shared/{text}-extension/metal-arm64.raw")), text);
        let (summary, report) = packed::read(Arc::new(initrd), &packed::Limits::default(), &mut |header, data| {
            let mut bytes = Vec::new();
            let content = if header.is_file() {
                data.read_to_end(&mut bytes)?;
                Some(bytes)
            } else {
                None
            };
            theirs.push((header.path().into_owned(), content));
            Ok(())
        });
        assert!(!report.has_errors(), "{report:?}");
        assert_eq!(summary.segments.last().unwrap().compression, packed::Compression::Zstd);
        let at = theirs.iter().position(|(path, _)| path == "0.sqsh").unwrap();
        let mut theirs = theirs.split_off(at);
        // The file system image is another writer's.
        assert!(theirs[0].1.as_ref().is_some_and(|bytes| bytes.starts_with(b"hsqs")));
        theirs[0].1 = Some(Vec::new());
        assert_eq!(ours, theirs, "{text}");
    }
}

/// `.initrd` of the unified kernel image on the image's ESP.
fn initrd(image: &std::path::Path, version: &str) -> Blob {
    let disk = Blob::new("disk", Arc::new(FileAt(std::fs::File::open(image).unwrap())), None);
    let esp = disk.slice(22_528 * 512..disk.size());
    let volume = rawimg::fat::read(&esp).0.unwrap();
    let program = volume.open(esp, &format!("EFI/Linux/Talos-{version}.efi")).unwrap();
    let program = Blob::new("uki", Arc::new(program), None);
    let content = uki::read(&program).0.unwrap().section(".initrd").unwrap().content();
    program.slice(content)
}

struct FileAt(std::fs::File);

impl ReadAt for FileAt {
    fn size(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }
}
