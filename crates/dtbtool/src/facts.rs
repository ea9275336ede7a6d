//! A tree in a few comparable lines.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::convert::Infallible;

use imgcore::Fact;

use crate::{
    error::ErrorKind,
    header::{Header, check_blocks},
    walk::{FoundProperty, Visit, walk},
};

/// The facts of the tree at the start of `bytes`, named as being at `base_offset`: header fields, count of nodes and
/// properties, model, compatible strings joined by `|`, whether overlays can refer to labels. Of a damaged tree,
/// what can be read; of other data, none.
///
/// ```
/// use dtbtool::{WriteOptions, model::{DeviceTree, Property}};
///
/// let mut tree = DeviceTree::new();
/// tree.root_mut().properties.push(Property::string("model", "ACME Board"));
/// let facts = dtbtool::facts(&tree.to_bytes(&WriteOptions::default())?, 96);
/// assert!(facts.iter().any(|fact| fact.to_string() == "fdt\t96\tmodel\tACME Board"));
/// # Ok::<(), dtbtool::Error>(())
/// ```
pub fn facts(bytes: &[u8], base_offset: u64) -> Vec<Fact> {
    let Ok(header) = Header::read(bytes) else { return Vec::new() };
    let Ok(blocks) = check_blocks(bytes, &header, |_| Ok::<(), Infallible>(()));
    let mut seen = Seen::default();
    let Ok(()) = walk(&blocks, &mut seen);
    let Header {
        totalsize,
        off_dt_struct,
        off_dt_strings,
        off_mem_rsvmap,
        version,
        last_comp_version,
        boot_cpuid_phys,
        size_dt_strings,
        size_dt_struct,
    } = header;
    let header = format!(
        "totalsize={totalsize} off_struct={off_dt_struct} off_strings={off_dt_strings} off_rsvmap={off_mem_rsvmap} \
         version={version} last_comp={last_comp_version} boot_cpu={boot_cpuid_phys} size_strings={size_dt_strings} \
         size_struct={size_dt_struct}"
    );
    let strings = |value: Option<&[u8]>| {
        let value = value.unwrap_or_default();
        let text = value.strip_suffix(&[0]).unwrap_or(value);
        String::from_utf8_lossy(text).replace('\0', "|")
    };
    let symbols = if seen.has_symbols { "True" } else { "False" };
    [
        ("header", header),
        ("nodes", seen.nodes.to_string()),
        ("properties", seen.properties.to_string()),
        ("model", strings(seen.model)),
        ("compatible", strings(seen.compatible)),
        ("has___symbols__", symbols.to_owned()),
    ]
    .into_iter()
    .map(|(field, value)| Fact::new("fdt", base_offset, field, value))
    .collect()
}

#[derive(Default)]
struct Seen<'a> {
    depth: usize,
    nodes: usize,
    properties: usize,
    model: Option<&'a [u8]>,
    compatible: Option<&'a [u8]>,
    has_symbols: bool,
}

impl<'a> Visit<'a> for Seen<'a> {
    type Stop = Infallible;

    fn fault(&mut self, _kind: ErrorKind) -> Result<(), Infallible> {
        Ok(())
    }

    fn begin(&mut self, _offset: usize, name: &'a str, _name_offset: usize) {
        self.depth = self.depth.saturating_add(1);
        self.nodes = self.nodes.saturating_add(1);
        self.has_symbols |= self.depth == 2 && name == "__symbols__";
    }

    fn reopen_root(&mut self) {
        self.depth = 1;
    }

    fn end(&mut self, _end: usize) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn property(&mut self, found: FoundProperty<'a>) {
        self.properties = self.properties.saturating_add(1);
        if self.depth == 1 {
            match found.name {
                "model" => self.model = self.model.or(Some(found.value)),
                "compatible" => self.compatible = self.compatible.or(Some(found.value)),
                _ => {}
            }
        }
    }
}
