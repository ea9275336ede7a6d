//! What lies where inside a boot file.

use std::ops::Range;

use imgcore::Layout;

use super::{BootFile, BootFileKind};
use crate::{
    Fit, IdBlock, IdBlockV1,
    dtbo_table::DtboTable,
    idblock::AnyBlock,
    legacy::{loader_image::LoaderImage, trust::Trust},
    loader::Loader,
    util::quote,
};

/// Size of the header of an idblock, of a `LOADER` and of a `BL3X` image.
const HEADER: u64 = 2048;

/// The parts of a boot file by name, for [`draw`](crate::draw). Copy 1 in its parts, further copies as a whole; for a
/// parameter file the partitions on the medium.
///
/// ```
/// use rkboot::{Soc, examine, idblock, parts};
///
/// let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") })?;
/// let (file, _) = examine(&block, None);
/// let owners: Vec<_> = parts(&file).sorted().iter().map(|part| part.owner.clone()).collect();
/// assert_eq!(owners, ["header", "image 1 (DDR init)", "image 2 (SPL)"]);
/// # Ok::<(), rkboot::Error>(())
/// ```
pub fn parts(file: &BootFile) -> Layout {
    let mut layout = Layout::new();
    let base = file.copies.first().map_or(0, |copy| copy.start);
    match &file.kind {
        BootFileKind::IdBlock(block) => v2(block, base, &mut layout),
        BootFileKind::IdBlockV1(block) => v1(block, base, &mut layout),
        BootFileKind::Fit(fit) => tree(fit, base, &mut layout),
        BootFileKind::Combined { idblock, idblock_range, fit, fit_range } => {
            let base = idblock_range.start;
            match idblock {
                AnyBlock::V1(block) => v1(block, base, &mut layout),
                AnyBlock::V2(block) => v2(block, base, &mut layout),
            }
            for (copy, number) in idblock.copies().iter().zip(1_u32..).skip(1) {
                add(&mut layout, format!("idblock copy {number}"), base, &copy.range);
            }
            tree(fit, fit_range.start, &mut layout);
        }
        BootFileKind::Loader(found) => loader(found, &mut layout),
        BootFileKind::LoaderImage(found) => image(found, &mut layout),
        BootFileKind::Trust(found) => trust(found, &mut layout),
        BootFileKind::DtboTable(found) => table(found, &mut layout),
        BootFileKind::Parameter(found) => layout = found.layout(medium(file)),
        BootFileKind::Blob(_) | BootFileKind::Unknown => {}
    }
    for (copy, number) in file.copies.iter().zip(1_u32..).skip(1) {
        layout.add(format!("copy {number}"), copy.clone());
    }
    layout
}

/// How many bytes the drawing of [`parts`] is about: the file, or for a parameter file the medium up to the first
/// partition that takes all that is left.
pub(crate) fn medium(file: &BootFile) -> u64 {
    let BootFileKind::Parameter(found) = &file.kind else { return file.length };
    let fixed = found.partitions.iter().filter(|partition| partition.size.is_some());
    let end = fixed.map(|partition| partition.range(0).end).fold(0, u64::max);
    let starts = found.partitions.iter().map(|partition| partition.range(0).start).fold(end, u64::max);
    // Room to show what follows.
    starts.saturating_add(starts.div_euclid(8))
}

impl BootFile {
    /// How many bytes a drawing of its [`parts`] is about: the file itself, or for a parameter file the front of the
    /// medium.
    pub fn drawn_size(&self) -> u64 {
        medium(self)
    }
}

fn add(layout: &mut Layout, label: impl Into<String>, base: u64, range: &Range<u64>) {
    if !range.is_empty() {
        layout.add(label, range.start.saturating_add(base)..range.end.saturating_add(base));
    }
}

fn v2(block: &IdBlock, base: u64, layout: &mut Layout) {
    if block.spread {
        let range = block.copies.first().map_or(0..0, |copy| copy.range.clone());
        return add(layout, "idblock, spread", base, &range);
    }
    add(layout, "header", base, &(0..HEADER));
    let names: &[&str] = match block.images.len() {
        1 | 2 => &["DDR init", "SPL"],
        3 => &["boost", "DDR init", "SPL"],
        _ => &[],
    };
    for (image, index) in block.images.iter().zip(0_usize..) {
        let name = names.get(index).map_or_else(String::new, |name| format!(" ({name})"));
        add(layout, format!("image {}{name}", index.saturating_add(1)), base, &image.range);
    }
}

fn v1(block: &IdBlockV1, base: u64, layout: &mut Layout) {
    if block.spread {
        let range = block.copies.first().map_or(0..0, |copy| copy.range.clone());
        return add(layout, "idblock, spread", base, &range);
    }
    add(layout, "header", base, &(0..HEADER.min(block.init.start)));
    add(layout, "init (DDR init or TPL)", base, &(block.init.start..block.init.end.min(block.content_length)));
    add(layout, "boot (SPL or miniloader)", base, &(block.boot.start..block.boot.end.min(block.content_length)));
}

fn tree(fit: &Fit, base: u64, layout: &mut Layout) {
    let size = u64::from(fit.totalsize);
    add(layout, "tree of the FIT", base, &(0..size));
    for image in &fit.images {
        // What lies in the tree is part of it.
        if let Some((_, range)) = image.data.as_ref().filter(|(_, range)| range.start >= size) {
            add(layout, format!("image {}", quote(&image.name)), base, range);
        }
    }
}

fn loader(loader: &Loader, layout: &mut Layout) {
    let first = loader.entries.iter().map(|entry| entry.range.start).fold(loader.end.saturating_sub(4), u64::min);
    add(layout, "header and tables", 0, &(0..first));
    for entry in &loader.entries {
        add(layout, format!("{} ({})", quote(&entry.name), entry.used.describe()), 0, &entry.range);
    }
    add(layout, "checksum", 0, &(loader.end.saturating_sub(4)..loader.end));
}

fn image(image: &LoaderImage, layout: &mut Layout) {
    add(layout, "header", 0, &(0..HEADER));
    add(layout, "data", 0, &image.data);
}

fn trust(trust: &Trust, layout: &mut Layout) {
    add(layout, "header", 0, &(0..HEADER));
    for (component, number) in trust.components.iter().zip(0_u32..) {
        add(layout, format!("component {number} ({})", quote(&component.id)), 0, &component.range);
    }
}

fn table(table: &DtboTable, layout: &mut Layout) {
    let entries = u64::from(table.entry_size).saturating_mul(table.entries.len() as u64);
    add(layout, "header", 0, &(0..u64::from(table.header_size)));
    add(layout, "entries", u64::from(table.entries_offset), &(0..entries));
    let mut seen = std::collections::BTreeSet::new();
    for (entry, number) in table.entries.iter().zip(0_u32..) {
        if seen.insert((entry.range.start, entry.range.end)) {
            add(layout, format!("tree {number}"), 0, &entry.range);
        }
    }
}
