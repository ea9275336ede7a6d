//! All nodes with their paths, and whether they are on with everything around them.

use super::words;
use crate::{
    property::StrList,
    tree::shorten,
    view::{Fdt, Node},
};

pub(crate) struct Entry<'a> {
    pub(crate) node: Node<'a>,
    parent: Option<usize>,
    /// The outermost node of the way to this one that is off.
    off: Option<usize>,
    /// Whether a PCI host or bridge is around this node.
    pub(crate) below_pci: bool,
    is_pci: bool,
    /// Its name, without the unit address.
    pub(crate) base_name: &'a str,
    /// What `compatible` lists, looked up once: every word asks for it.
    compatible: Option<StrList<'a>>,
    /// Whether its name or a string of `compatible` is one that any word looks for.
    pub(crate) known: bool,
}

impl<'a> Entry<'a> {
    pub(crate) fn compatible(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.compatible.clone().into_iter().flatten()
    }
}

pub(crate) struct Index<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(fdt: &Fdt<'a>) -> Self {
        let mut entries: Vec<Entry<'a>> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for (depth, node) in fdt.walk() {
            open.truncate(depth);
            let index = entries.len();
            let parent = open.last().copied();
            let above = parent.and_then(|parent| entries.get(parent));
            let [status, kind, compatible] = node.pick(["status", "device_type", "compatible"]);
            let is_off = status.is_some_and(|status| !matches!(status.as_str(), Some("okay" | "ok")));
            let is_pci = kind.and_then(|kind| kind.as_str()) == Some("pci");
            let compatible = compatible.and_then(|property| property.as_str_list());
            let base_name = node.base_name();
            let known = words::is_known(base_name, compatible.clone().into_iter().flatten());
            let off = above.and_then(|above| above.off).or_else(|| is_off.then_some(index));
            let below_pci = above.is_some_and(|above| above.is_pci || above.below_pci);
            open.push(index);
            entries.push(Entry { node, parent, off, below_pci, is_pci, base_name, compatible, known });
        }
        Self { entries }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter()
    }

    /// The node that switches this one off: itself, or one around it.
    pub(crate) fn off(&self, entry: &Entry<'a>) -> Option<&Entry<'a>> {
        self.entries.get(entry.off?)
    }

    /// The absolute path, shortened for messages.
    pub(crate) fn path(&self, entry: &Entry<'a>) -> String {
        let mut names = Vec::new();
        let mut at = Some(entry);
        while let Some(entry) = at {
            names.push(entry.node.name());
            at = entry.parent.and_then(|parent| self.entries.get(parent));
        }
        names.reverse();
        if names.len() <= 1 { "/".to_owned() } else { shorten(&names.join("/")) }
    }

    /// The deepest node on the way of an absolute path, and the name on that way that it does not have; none when
    /// the way was gone to its end. A name without unit address finds a node that has one.
    pub(crate) fn find<'p>(&self, path: &'p str) -> (Option<&Entry<'a>>, Option<&'p str>) {
        let mut at = 0_usize;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let children = || self.entries.iter().enumerate().filter(move |(_, entry)| entry.parent == Some(at));
            let exact = children().find(|(_, entry)| entry.node.name() == name);
            match exact.or_else(|| children().find(|(_, entry)| entry.node.base_name() == name)) {
                Some((index, _)) => at = index,
                None => return (self.entries.get(at), Some(name)),
            }
        }
        (self.entries.get(at), None)
    }
}
