//! FITs of our own making, for tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, unreachable_pub, reason = "every test program uses another part")]

use dtbtool::{
    WriteOptions,
    model::{DeviceTree, Node, Property},
};

/// How the data of the images is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// In the tree.
    Inline,
    /// Behind the tree, rounded up to 4 bytes.
    Mainline,
    /// Behind the tree, rounded up to 512 bytes, with the root's `totalsize`.
    Vendor,
    /// At an absolute position.
    Position,
}

/// Values of the properties of `/configurations/c…`.
#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    pub firmware: String,
    pub loadables: Vec<String>,
    pub fdt: String,
}

impl Config {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            firmware: "image-0".to_owned(),
            loadables: vec!["image-1".to_owned()],
            fdt: "image-2".to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Recipe {
    pub packing: Packing,
    pub images: Vec<Vec<u8>>,
    pub hashed: bool,
    pub default: String,
    pub configs: Vec<Config>,
    /// Distance of the data of image n from the end of image n - 1.
    pub gap: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            packing: Packing::Vendor,
            images: vec![vec![1; 700], vec![2; 900], vec![3; 100]],
            hashed: true,
            default: "c".to_owned(),
            configs: vec![Config::new("c")],
            gap: 0,
        }
    }
}

impl Recipe {
    pub fn build(&self) -> Vec<u8> {
        // The size of the tree does not depend on the numbers in it.
        let size = self.tree(0).len();
        let base = match self.packing {
            Packing::Inline | Packing::Position => 0,
            Packing::Mainline => size.next_multiple_of(4),
            Packing::Vendor => size.next_multiple_of(512),
        };
        let position = size.next_multiple_of(4096);
        let mut bytes = self.tree(position);
        assert_eq!(bytes.len(), size);
        if self.packing != Packing::Inline {
            bytes.resize(if self.packing == Packing::Position { position } else { base }, 0);
            for image in &self.images {
                bytes.extend_from_slice(image);
                bytes.resize(bytes.len() + self.gap, 0);
            }
        }
        bytes
    }

    fn tree(&self, position: usize) -> Vec<u8> {
        let number = |value: usize| u32::try_from(value).unwrap();
        let mut images = Node::new("images");
        let mut at = 0;
        for (index, data) in self.images.iter().enumerate() {
            let mut node = Node::new(format!("image-{index}"))
                .with(Property::string("type", if index == 2 { "other" } else { "firmware" }))
                .with(Property::string("compression", "none"))
                .with(Property::u32("load", 0x4_0000 + number(index % 16) * 0x100_0000));
            node = match self.packing {
                Packing::Inline => node.with(Property::new("data", data.clone())),
                Packing::Position => node
                    .with(Property::u32("data-size", number(data.len())))
                    .with(Property::u32("data-position", number(position + at))),
                Packing::Mainline | Packing::Vendor => node
                    .with(Property::u32("data-size", number(data.len())))
                    .with(Property::u32("data-offset", number(at))),
            };
            if self.hashed {
                let digest = imgcore::Digest::of(data);
                let hash = Node::new("hash")
                    .with(Property::new("value", digest.raw().to_vec()))
                    .with(Property::string("algo", "sha256"));
                node = node.with_child(hash);
            }
            at += data.len() + self.gap;
            images = images.with_child(node);
        }
        let mut configs = Node::new("configurations").with(Property::string("default", &self.default));
        for config in &self.configs {
            configs = configs.with_child(
                Node::new(&config.name)
                    .with(Property::string("firmware", &config.firmware))
                    .with(Property::strings("loadables", config.loadables.iter().map(String::as_str)))
                    .with(Property::string("fdt", &config.fdt)),
            );
        }
        let mut tree = DeviceTree::new();
        *tree.root_mut() =
            Node::new("").with(Property::string("description", "test")).with_child(images).with_child(configs);
        if self.packing == Packing::Vendor {
            tree.root_mut().set(Property::u32("totalsize", 0));
            let size = tree.to_bytes(&WriteOptions::default()).unwrap().len();
            tree.root_mut().set(Property::u32("totalsize", number(size.next_multiple_of(512) + at)));
        }
        tree.to_bytes(&WriteOptions::default()).unwrap()
    }
}

/// ELF programs of our own making.
pub mod elf {
    /// A 64-bit little-endian program: segments as address, bytes, bytes in memory.
    pub fn build(machine: u8, entry: u32, segments: &[(u32, &[u8], u32)]) -> Vec<u8> {
        let mut file = vec![0; 64 + segments.len() * 56];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18] = machine;
        file[24..28].copy_from_slice(&entry.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(segments.len()).unwrap();
        for (index, (address, data, memory)) in segments.iter().enumerate() {
            let at = 64 + index * 56;
            let start = u32::try_from(file.len()).unwrap();
            file[at] = 1;
            file[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            file[at + 24..at + 28].copy_from_slice(&address.to_le_bytes());
            file[at + 32..at + 36].copy_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
            file[at + 40..at + 44].copy_from_slice(&memory.to_le_bytes());
            file.extend_from_slice(data);
        }
        file
    }

    /// A 32-bit one.
    pub fn build_32(machine: u8, entry: u32, segments: &[(u32, &[u8], u32)]) -> Vec<u8> {
        let mut file = vec![0; 52 + segments.len() * 32];
        file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        file[18] = machine;
        file[24..28].copy_from_slice(&entry.to_le_bytes());
        file[28] = 52;
        file[42] = 32;
        file[44] = u8::try_from(segments.len()).unwrap();
        for (index, (address, data, memory)) in segments.iter().enumerate() {
            let at = 52 + index * 32;
            let start = u32::try_from(file.len()).unwrap();
            let fields = [1, start, 0, *address, u32::try_from(data.len()).unwrap(), *memory];
            for (field, value) in fields.into_iter().enumerate() {
                file[at + field * 4..at + field * 4 + 4].copy_from_slice(&value.to_le_bytes());
            }
            file.extend_from_slice(data);
        }
        file
    }
}
