//! The reader: from the tree to values.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeSet;

use dtbtool::{Fdt, Node, Property};
use imgcore::{Finding, Report};

use super::{
    Configuration, DataForm, Fit, Hash, HashStatus, Image, Signature,
    data::{self, Place},
    unpacked,
};
use crate::{rules, util::quote};

// Public FITs have up to 9 images and a few dozen configurations. More are not read, so that a hostile tree costs
// no more than its size.
const MAX_IMAGES: usize = 128;
const MAX_CONFIGURATIONS: usize = 256;
const MAX_HASHES: usize = 8;
const MAX_REFERENCES: usize = 256;

/// Reads a FIT at the start of `bytes`; what follows it is not looked at.
///
/// `None` when there is no sound device tree or it has no images.
pub fn parse(bytes: &[u8]) -> (Option<Fit>, Report) {
    let mut report = Report::new();
    let fdt = match Fdt::parse(bytes) {
        Ok(fdt) => fdt,
        Err(error) => {
            report.push(
                Finding::error(rules::FIT_NO_TREE, format!("no FIT: {error}"))
                    .at(error.kind().range())
                    .help("the SPL finds nothing to start here; write a whole u-boot.itb or uboot.img"),
            );
            return (None, report);
        }
    };
    let root = fdt.root();
    let tree = 0..u64::from(fdt.totalsize());
    let Some(images_node) = exact_child(root, "images").filter(|node| node.children().next().is_some()) else {
        report.push(
            Finding::error(rules::FIT_NO_IMAGES, "the device tree has no node /images with images: it is no FIT")
                .at(tree)
                .help("a board's device tree belongs on the boot partition, not at the sector of the second stage"),
        );
        return (None, report);
    };

    let mut images = Vec::new();
    let mut places = Vec::new();
    for node in limited(images_node, MAX_IMAGES, "images", &mut report) {
        places.push(read_place(node, &mut report));
        images.push(read_image(node, &mut report));
    }
    report_duplicates("images", images.iter().map(|image: &Image| (image.name.as_str(), image.node)), &mut report);
    let declared_size = number(root, "totalsize");
    let base = data::resolve(bytes, fdt.totalsize(), declared_size.is_some(), &mut images, &places, &mut report);
    unpacked::check_digests(bytes, &mut images, &mut report);
    unpacked::check_linked(bytes, &images, &mut report);
    let ends = images.iter().filter_map(|image| image.data.as_ref()).map(|(_, range)| range.end);
    let data_end = ends.fold(u64::from(fdt.totalsize()), u64::max);
    check_declared(declared_size, data_end, bytes.len() as u64, root, &mut report);

    let names: BTreeSet<&str> = images.iter().map(|image| image.name.as_str()).collect();
    let (configurations, default) = read_configurations(root, &names, &mut report);
    unpacked::check_loads(&images, &configurations, &mut report);
    let fit = Fit {
        totalsize: fdt.totalsize(),
        description: text(root, "description"),
        timestamp: number(root, "timestamp"),
        declared_size,
        version: number(root, "version"),
        external_base: base,
        images,
        configurations,
        default,
        data_end,
    };
    (Some(fit), report)
}

/// dtbtool's `child` also finds `images@1` for `images`; a FIT's names are exact.
fn exact_child<'a>(node: Node<'a>, name: &str) -> Option<Node<'a>> {
    node.children().find(|child| child.name() == name)
}

fn text(node: Node<'_>, name: &str) -> Option<String> {
    node.property(name).and_then(|property| property.as_str()).map(str::to_owned)
}

fn number(node: Node<'_>, name: &str) -> Option<u32> {
    node.property(name).and_then(|property| property.as_u32())
}

/// An address of one or two cells.
fn address(node: Node<'_>, name: &str) -> Option<u64> {
    let property = node.property(name)?;
    property.as_u32().map(u64::from).or_else(|| property.as_u64())
}

fn list(node: Node<'_>, name: &str) -> Vec<String> {
    let strings = node.property(name).and_then(|property| property.as_str_list());
    strings.into_iter().flatten().take(MAX_REFERENCES).map(str::to_owned).collect()
}

fn node_at(node: Node<'_>) -> std::ops::Range<u64> {
    let at = node.offset() as u64;
    at..at.saturating_add(4)
}

fn property_at(property: Property<'_>) -> std::ops::Range<u64> {
    property.offset() as u64..property.value_range().end as u64
}

fn limited<'a>(
    parent: Node<'a>,
    limit: usize,
    what: &str,
    report: &mut Report,
) -> impl Iterator<Item = Node<'a>> + use<'a> {
    if parent.children().nth(limit).is_some() {
        report.push(
            Finding::warning(rules::FIT_LIMIT, format!("more than {limit} {what}: the rest is not read"))
                .at(node_at(parent)),
        );
    }
    parent.children().take(limit)
}

/// Where the data is; U-Boot asks in this order.
fn read_place(node: Node<'_>, report: &mut Report) -> Option<Place> {
    let name = quote(node.name());
    for (key, form) in [("data-position", DataForm::Position), ("data-offset", DataForm::Offset)] {
        let Some(property) = node.property(key) else { continue };
        let (Some(start), Some(size)) = (property.as_u32(), number(node, "data-size")) else {
            report.push(
                Finding::error(
                    rules::FIT_PROPERTY,
                    format!("image {name}: {key} and data-size must be one 32-bit number each"),
                )
                .at(property_at(property))
                .help("the SPL cannot find the data; the FIT is damaged or not packed to its end"),
            );
            continue;
        };
        return Some(Place { form, start: u64::from(start), size: u64::from(size) });
    }
    let inline = node.property("data")?.value_range();
    let size = inline.end.saturating_sub(inline.start) as u64;
    Some(Place { form: DataForm::Inline, start: inline.start as u64, size })
}

fn read_image(node: Node<'_>, report: &mut Report) -> Image {
    let name = quote(node.name());
    let mut hashes = Vec::new();
    let mut digests = Vec::new();
    let mut signatures = Vec::new();
    let compression = text(node, "compression");
    let uncompressed = matches!(compression.as_deref(), None | Some("none"));
    if node.property("digest").is_some() {
        report.push(unchecked_digest(&name, node));
    }
    for child in node.children() {
        match child.name() {
            kind if kind.starts_with("hash") => {
                if hashes.len() < MAX_HASHES {
                    hashes.extend(read_hash(&name, child, report));
                } else if hashes.len() == MAX_HASHES {
                    report.push(
                        Finding::warning(
                            rules::FIT_LIMIT,
                            format!("image {name} has more than {MAX_HASHES} hashes: the rest is not read"),
                        )
                        .at(node_at(child)),
                    );
                    break;
                }
                if child.property("digest").is_some() {
                    report.push(unchecked_digest(&name, child));
                }
            }
            // The digest is of the uncompressed data; where nothing is compressed it is one more hash.
            kind if kind.starts_with("digest") && uncompressed && hashes.len() < MAX_HASHES => {
                hashes.extend(read_hash(&name, child, report));
            }
            kind if kind.starts_with("digest") && digests.len() < MAX_HASHES => {
                digests.extend(read_hash(&name, child, report));
            }
            kind if kind.starts_with("signature") && signatures.len() < MAX_HASHES => {
                signatures.push(read_signature("image", &name, child, report));
            }
            _ => {}
        }
    }
    Image {
        name: node.name().to_owned(),
        description: text(node, "description"),
        kind: text(node, "type"),
        os: text(node, "os"),
        arch: text(node, "arch"),
        compression,
        load: address(node, "load"),
        entry: address(node, "entry"),
        data: None,
        hashes,
        digests,
        unpacked_size: None,
        signatures,
        node: node.offset() as u64,
    }
}

fn unchecked_digest(image: &str, node: Node<'_>) -> Finding {
    Finding::info(
        rules::FIT_DIGEST,
        format!("image {image} has a digest of its uncompressed data, which is not checked; its hash is"),
    )
    .at(node_at(node))
}

fn read_signature(what: &str, name: &str, node: Node<'_>, report: &mut Report) -> Signature {
    let signature = Signature {
        algorithm: text(node, "algo"),
        key: text(node, "key-name-hint"),
        images: list(node, "sign-images"),
        is_signed: node.property("value").is_some_and(|value| !value.value().is_empty()),
    };
    let state = if signature.is_signed { "a signature" } else { "a place for a signature, which is empty" };
    let algorithm = quote(signature.algorithm.as_deref().unwrap_or("no algorithm"));
    let key = signature.key.as_deref().map_or_else(String::new, |key| format!(", key {}", quote(key)));
    let images = match signature.images.as_slice() {
        [] => String::new(),
        images => format!(", over {}", quote(&images.join(" "))),
    };
    report.push(
        Finding::info(
            rules::FIT_SIGNATURE,
            format!("{what} {name} has {state} ({algorithm}{key}{images}); it is not checked"),
        )
        .at(node_at(node)),
    );
    signature
}

fn read_hash(image: &str, node: Node<'_>, report: &mut Report) -> Option<Hash> {
    let algorithm = text(node, "algo");
    let value = node.property("value").map(|property| property.value().to_vec());
    let (Some(algorithm), Some(value)) = (algorithm, value) else {
        report.push(
            Finding::error(
                rules::FIT_PROPERTY,
                format!("image {image}: node {} lacks algo or value", quote(node.name())),
            )
            .at(node_at(node))
            .help("the SPL cannot check the image and refuses it; the FIT was not packed to its end"),
        );
        return None;
    };
    Some(Hash { algorithm, value, status: HashStatus::Skipped })
}

fn report_duplicates<'a>(what: &str, names: impl Iterator<Item = (&'a str, u64)>, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (name, at) in names {
        if !seen.insert(name) {
            report.push(
                Finding::error(rules::FIT_DUPLICATE, format!("two {what} have the name {}", quote(name)))
                    .at(at..at.saturating_add(4))
                    .help("readers take one or the other; the FIT was packed wrongly"),
            );
        }
    }
}

fn check_declared(declared: Option<u32>, data_end: u64, size: u64, root: Node<'_>, report: &mut Report) {
    let Some((declared, property)) = declared.map(u64::from).zip(root.property("totalsize")) else { return };
    let problem = if declared < data_end {
        format!("the data ends at byte {data_end}, behind it")
    } else if declared > size {
        format!("the file has {size}")
    } else {
        return;
    };
    report.push(
        Finding::warning(rules::FIT_SIZE, format!("property totalsize says {declared} bytes, but {problem}"))
            .at(property_at(property))
            .help("the file is cut or was changed after packing; fetch it again"),
    );
}

fn read_configurations(
    root: Node<'_>,
    images: &BTreeSet<&str>,
    report: &mut Report,
) -> (Vec<Configuration>, Option<String>) {
    let parent = exact_child(root, "configurations");
    let Some(parent) = parent.filter(|node| node.children().next().is_some()) else {
        report.push(
            Finding::error(rules::FIT_NO_CONFIGS, "the FIT has no node /configurations with configurations")
                .at(node_at(parent.unwrap_or(root)))
                .help("the SPL does not know what to start; the FIT was not packed to its end"),
        );
        return (Vec::new(), None);
    };
    let mut configurations = Vec::new();
    for node in limited(parent, MAX_CONFIGURATIONS, "configurations", report) {
        configurations.push(read_configuration(node, images, report));
    }
    let names =
        configurations.iter().map(|configuration: &Configuration| (configuration.name.as_str(), configuration.node));
    report_duplicates("configurations", names, report);
    let default = text(parent, "default");
    match &default {
        None => report.push(
            Finding::warning(
                rules::FIT_NO_DEFAULT,
                "no default configuration: the SPL must find one by the board's name",
            )
            .at(node_at(parent)),
        ),
        // With more configurations than are read, the default may be among the rest.
        Some(name) if exact_child(parent, name).is_none() => report.push(
            Finding::error(rules::FIT_DEFAULT, format!("the default configuration {} does not exist", quote(name)))
                .at(parent.property("default").map_or(node_at(parent), property_at))
                .help("the SPL does not know what to start; the FIT was packed wrongly"),
        ),
        Some(_) => {}
    }
    (configurations, default)
}

fn read_configuration(node: Node<'_>, images: &BTreeSet<&str>, report: &mut Report) -> Configuration {
    let name = quote(node.name());
    let configuration = Configuration {
        name: node.name().to_owned(),
        description: text(node, "description"),
        compatible: list(node, "compatible"),
        firmware: text(node, "firmware"),
        loadables: list(node, "loadables"),
        kernel: text(node, "kernel"),
        fdt: list(node, "fdt"),
        dangling: Vec::new(),
        signatures: Vec::new(),
        node: node.offset() as u64,
    };
    let mut dangling = Vec::new();
    for key in ["firmware", "loadables", "fdt", "kernel", "ramdisk", "standalone", "fpga", "script"] {
        let missing: Vec<String> = list(node, key).into_iter().filter(|name| !images.contains(name.as_str())).collect();
        if let (Some(first), Some(property)) = (missing.first(), node.property(key)) {
            let more = missing.len().saturating_sub(1);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            report.push(
                Finding::error(
                    rules::FIT_DANGLING,
                    format!("configuration {name}: {key} names an image that does not exist: {}{more}", quote(first)),
                )
                .at(property_at(property))
                .help("the SPL stops when it looks for that image; the FIT was packed wrongly"),
            );
        }
        dangling.extend(missing);
    }
    if configuration.firmware.is_none() && configuration.loadables.is_empty() && configuration.kernel.is_none() {
        report.push(
            Finding::warning(
                rules::FIT_NOTHING_TO_RUN,
                format!("configuration {name} names neither firmware, nor loadables, nor kernel"),
            )
            .at(node_at(node)),
        );
    }
    let nodes = node.children().filter(|child| child.name().starts_with("signature")).take(MAX_HASHES);
    let signatures = nodes.map(|child| read_signature("configuration", &name, child, report)).collect();
    Configuration { dangling, signatures, ..configuration }
}
