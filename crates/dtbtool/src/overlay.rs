//! Overlays: trees that change another tree (`.dtbo`), applied as libfdt's `fdtoverlay` applies them, and the question
//! beforehand whether they can be.
//!
//! ```
//! use dtbtool::{Fdt, WriteOptions, model::{DeviceTree, Node, Property}, overlay};
//!
//! let mut base = DeviceTree::new();
//! base.root_mut().children.push(Node::new("chosen"));
//! let mut change = DeviceTree::new();
//! change.root_mut().children.push(
//!     Node::new("fragment@0")
//!         .with(Property::string("target-path", "/chosen"))
//!         .with_child(Node::new("__overlay__").with(Property::string("bootargs", "quiet"))),
//! );
//! let changed = overlay::apply_to_tree(&base, &change)?;
//! assert_eq!(changed.find("/chosen").unwrap().property("bootargs"), Some(&b"quiet\0"[..]));
//! # Ok::<(), dtbtool::Error>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod arena;
mod fixup;
mod resolve;

use std::{borrow::Cow, collections::BTreeMap, fmt};

use zerocopy::IntoBytes as _;

use crate::{
    error::{Error, ErrorKind},
    header::{LAST_COMP, MAGIC, RawHeader, RawReservation, VERSION},
    model::DeviceTree,
    tree::shorten,
    view::Fdt,
    walk::MAX_DEPTH,
    write::WriteOptions,
};
use arena::{Arena, ROOT, c_str};
pub use resolve::{Fragment, Label, Resolution, resolve};

/// Why libfdt refuses an overlay, by its own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A label, node or property that must be there is not.
    NotFound,
    /// The overlay's own tables are malformed.
    BadOverlay,
    /// A phandle is malformed or names no node.
    BadPhandle,
    /// Phandles run out.
    NoPhandles,
    /// A path that begins neither with `/` nor with an alias.
    BadPath,
    /// A symbol is no path.
    BadValue,
    /// A place behind the end of a property.
    NoSpace,
    /// A format version below 16, which cannot be changed in place.
    BadVersion,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "FDT_ERR_NOTFOUND",
            Self::BadOverlay => "FDT_ERR_BADOVERLAY",
            Self::BadPhandle => "FDT_ERR_BADPHANDLE",
            Self::NoPhandles => "FDT_ERR_NOPHANDLES",
            Self::BadPath => "FDT_ERR_BADPATH",
            Self::BadValue => "FDT_ERR_BADVALUE",
            Self::NoSpace => "FDT_ERR_NOSPACE",
            Self::BadVersion => "FDT_ERR_BADVERSION",
        })
    }
}

/// A refusal: what of the overlay, libfdt's name for it, what is wrong with it.
fn refuse<T>(what: impl Into<String>, fault: Fault, problem: impl Into<String>) -> Result<T, Error> {
    Err(ErrorKind::Overlay { what: what.into(), problem: problem.into(), fault }.into())
}

/// Says what of the overlay a fault is about.
fn about<T>(result: Result<T, Fault>, what: impl FnOnce() -> (String, String)) -> Result<T, Error> {
    result.or_else(|fault| {
        let (what, problem) = what();
        refuse(what, fault, problem)
    })
}

/// The base with the overlays applied, one after the other: the bytes that `fdtoverlay` writes.
///
/// Labels of `__fixups__` are looked up in the base's `/__symbols__`, the overlay's own phandles are moved behind the
/// base's largest one, fragments replace properties and merge nodes (nothing can be deleted), and the overlay's labels
/// join the base's. What is new stands in front of what was there, as libfdt puts it; only the padding differs, where
/// libfdt leaves old bytes and this writes zeros. Each overlay sees what those in
/// front of it did.
///
/// # Errors
/// [`ErrorKind::Overlay`] when libfdt would refuse one of them; [`ErrorKind::Unwritable`] when the result is nested
/// deeper than [`MAX_DEPTH`] or larger than 4 GiB. Nothing is half applied.
pub fn apply(base: &Fdt<'_>, overlays: &[Fdt<'_>]) -> Result<Vec<u8>, Error> {
    modern("the base", base)?;
    let mut tree = Arena::load(base);
    for (index, overlay) in overlays.iter().enumerate() {
        let which =
            if overlays.len() > 1 { format!("overlay {}", index.saturating_add(1)) } else { "the overlay".into() };
        modern(&which, overlay)?;
        merge_one(&mut tree, overlay)?;
    }
    write(base, &tree)
}

/// [`apply`] for owned trees. The order of what is new is libfdt's.
///
/// # Errors
/// As [`apply`], and [`ErrorKind::Unwritable`] for a tree that the format cannot hold.
pub fn apply_to_tree(base: &DeviceTree, overlay: &DeviceTree) -> Result<DeviceTree, Error> {
    let (base, overlay) = (base.to_bytes(&WriteOptions::default())?, overlay.to_bytes(&WriteOptions::default())?);
    let changed = apply(&Fdt::parse(&base)?, &[Fdt::parse(&overlay)?])?;
    Ok(DeviceTree::from(Fdt::parse(&changed)?))
}

fn modern(which: &str, fdt: &Fdt<'_>) -> Result<(), Error> {
    let version = fdt.header().version;
    if version < LAST_COMP {
        let problem = format!("has format version {version}; trees before 16 cannot be changed, write it anew first");
        return refuse(which, Fault::BadVersion, problem);
    }
    Ok(())
}

/// The overlay's fragments: root subnodes with what they bring.
fn fragments(overlay: &mut Arena<'_>) -> Vec<(usize, usize)> {
    let children: Vec<usize> = overlay.children(ROOT).collect();
    children.into_iter().filter_map(|id| Some((id, overlay.child(id, "__overlay__")?))).collect()
}

/// The node of `tree` that a fragment is for, and the path that the fragment names it by.
fn target(tree: &mut Arena<'_>, overlay: &mut Arena<'_>, fragment: usize) -> Result<(usize, Option<String>), Fault> {
    if let Some(property) = overlay.property(fragment, "target") {
        let value: Result<[u8; 4], _> = overlay.value(property).try_into();
        match value.map(u32::from_be_bytes) {
            Ok(0) => {}
            Ok(phandle) if phandle != u32::MAX => return Ok((tree.by_phandle(phandle)?, None)),
            _ => return Err(Fault::BadPhandle),
        }
    }
    let property = overlay.property(fragment, "target-path").ok_or(Fault::BadOverlay)?;
    let path = c_str(overlay.value(property)).ok_or(Fault::NotFound)?.to_owned();
    let found = tree.find(&path)?;
    Ok((found, Some(path)))
}

fn fragment_problem(overlay: &Arena<'_>, fragment: usize) -> (String, String) {
    let what = format!("/{}", shorten(overlay.name(fragment)));
    (what, "does not say which node it changes, or the base does not have that node".to_owned())
}

fn merge_one<'a>(tree: &mut Arena<'a>, overlay: &Fdt<'a>) -> Result<(), Error> {
    let mut source = Arena::load(overlay);
    let source = &mut source;
    let delta = tree.max_phandle();
    fixup::move_phandles(source, delta)?;
    let local = fixup::local(source)?;
    for (property, offset) in &local {
        let cell = fixup::cell(source, *property, *offset).unwrap_or(0);
        about(source.patch(*property, *offset, cell.wrapping_add(delta)), || {
            ("/__local_fixups__".to_owned(), "names a place that is not there".to_owned())
        })?;
    }
    fixup::labels(tree, source)?;
    keep_phandles(tree, source, &local)?;
    for (fragment, content) in fragments(source) {
        let (target, _) = about(target(tree, source, fragment), || fragment_problem(source, fragment))?;
        merge_node(tree, target, source, content);
    }
    symbols(tree, source)
}

/// Where a fragment brings a phandle for a node of the base that has one, the base's stays: the base refers to it.
fn keep_phandles(tree: &mut Arena<'_>, source: &mut Arena<'_>, local: &[(usize, usize)]) -> Result<(), Error> {
    let mut replaced: BTreeMap<u32, u32> = BTreeMap::new();
    for (fragment, content) in fragments(source) {
        let target = match target(tree, source, fragment) {
            // An earlier fragment may bring it.
            Err(Fault::NotFound) => continue,
            other => about(other, || fragment_problem(source, fragment))?.0,
        };
        let mut pairs = vec![(target, content)];
        while let Some((old, new)) = pairs.pop() {
            let (kept, brought) = (tree.phandle(old), source.phandle(new));
            if kept != 0 && brought != 0 {
                for name in ["phandle", "linux,phandle"] {
                    if let Some(property) = source.property(new, name)
                        && source.value(property).len() == 4
                    {
                        let _ = source.patch(property, 0, kept);
                    }
                }
                replaced.entry(brought).or_insert(kept);
            }
            let children: Vec<usize> = source.children(new).collect();
            for child in children {
                let name = source.name(child);
                if let Some(same) = tree.child(old, name) {
                    pairs.push((same, child));
                }
            }
        }
    }
    if !replaced.is_empty() {
        for (property, offset) in local {
            if let Some(kept) = fixup::cell(source, *property, *offset).and_then(|cell| replaced.get(&cell)) {
                let _ = source.patch(*property, *offset, *kept);
            }
        }
    }
    Ok(())
}

fn merge_node<'a>(tree: &mut Arena<'a>, target: usize, source: &Arena<'a>, content: usize) {
    let mut pairs = vec![(target, content)];
    while let Some((old, new)) = pairs.pop() {
        for property in source.properties(new) {
            tree.set(old, source.property_name(property), source.owned_value(property));
        }
        let first = pairs.len();
        for child in source.children(new) {
            pairs.push((tree.child_or_new(old, source.name(child)), child));
        }
        // In order: two subnodes may go into one.
        if let Some(added) = pairs.get_mut(first..) {
            added.reverse();
        }
    }
}

/// Bytes of all paths that an overlay's labels can add: a long path can be asked for by many labels.
const SYMBOLS: usize = 64 << 20;

/// The overlay's labels become the base's, with the paths that their nodes have there.
fn symbols<'a>(tree: &mut Arena<'a>, source: &mut Arena<'a>) -> Result<(), Error> {
    let Some(from) = source.child(ROOT, "__symbols__") else { return Ok(()) };
    let into = tree.child_or_new(ROOT, "__symbols__");
    let list: Vec<usize> = source.properties(from).collect();
    let mut room = SYMBOLS;
    for property in list {
        let label = source.property_name(property);
        let what = || format!("/__symbols__ {}", shorten(label));
        let path = match source.value(property).split_last() {
            Some((0, path)) if !path.contains(&0) && path.first() == Some(&b'/') => {
                String::from_utf8_lossy(path).into_owned()
            }
            _ => return refuse(what(), Fault::BadValue, "is no absolute path"),
        };
        let inside = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        // What is not inside a fragment does not end up in the tree.
        let Some((name, rest)) = inside else { continue };
        let relative = if rest == "__overlay__" {
            ""
        } else if let Some(rest) = rest.strip_prefix("__overlay__/") {
            rest
        } else {
            continue;
        };
        let fragment = source.child(ROOT, name).filter(|id| source.child(*id, "__overlay__").is_some());
        let Some(fragment) = fragment else {
            return refuse(what(), Fault::BadOverlay, format!("is {}, where no fragment is", shorten(&path)));
        };
        let (node, given) = about(target(tree, source, fragment), || fragment_problem(source, fragment))?;
        let place = given.unwrap_or_else(|| tree.path(node));
        room = room.saturating_sub(place.len().saturating_add(relative.len()));
        if room == 0 {
            return refuse("/__symbols__", Fault::NoSpace, "gives paths of more than 64 MiB: no real overlay does");
        }
        let mut value = if place.len() > 1 { place.into_bytes() } else { Vec::new() };
        value.push(b'/');
        value.extend_from_slice(relative.as_bytes());
        value.push(0);
        tree.set(into, label, Cow::Owned(value));
    }
    Ok(())
}

/// Header and reservations of the base, structure and strings of the result, without gaps.
fn write(base: &Fdt<'_>, tree: &Arena<'_>) -> Result<Vec<u8>, Error> {
    let unwritable = |problem| ErrorKind::Unwritable { what: "the result".to_owned(), problem };
    if tree.too_deep(MAX_DEPTH) {
        return Err(unwritable("is nested deeper than 64 levels").into());
    }
    let mut reservations = Vec::new();
    for pair in base.memory_reservations() {
        let raw = RawReservation { address: pair.address.into(), size: pair.size.into() };
        reservations.extend_from_slice(raw.as_bytes());
    }
    reservations.extend_from_slice(&[0; 16]);
    let (structure, strings) = tree.structure();
    let header_size = size_of::<RawHeader>();
    let off_dt_struct = header_size.saturating_add(reservations.len());
    let off_dt_strings = off_dt_struct.saturating_add(structure.len());
    let totalsize = off_dt_strings.saturating_add(strings.len());
    let field = |value: usize| u32::try_from(value).map(Into::into).map_err(|_| unwritable("is larger than 4 GiB"));
    let old = base.header();
    let in_order = [old.off_mem_rsvmap, old.off_dt_struct, old.off_dt_strings].is_sorted();
    let header = RawHeader {
        magic: MAGIC.into(),
        totalsize: field(totalsize)?,
        off_dt_struct: field(off_dt_struct)?,
        off_dt_strings: field(off_dt_strings)?,
        off_mem_rsvmap: field(header_size)?,
        version: VERSION.into(),
        last_comp_version: if in_order { old.last_comp_version } else { LAST_COMP }.into(),
        boot_cpuid_phys: old.boot_cpuid_phys.into(),
        size_dt_strings: field(strings.len())?,
        size_dt_struct: field(structure.len())?,
    };
    let mut bytes = Vec::with_capacity(totalsize);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&reservations);
    bytes.extend_from_slice(&structure);
    bytes.extend_from_slice(strings);
    Ok(bytes)
}
