//! Rules about names and about the processor that boots.

use crate::{
    rules,
    scan::Findings,
    tree::{Tree, TreeNode, shorten},
};

/// The specification's limit on names (2.2.1, 2.2.4), which dtc defines and never applies.
const NAME_LIMIT: usize = 31;

const DAMAGED: &str = "dtc refuses such a name: the file is damaged, or made by a program that does not know the rules";

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let mut long = Long::default();
    for node in tree.nodes() {
        node_name(node, findings, &mut long);
        for property in node.properties() {
            let name = property.name();
            let at = property.offset() as u64..(property.offset() as u64).saturating_add(12);
            if name.is_empty() || !name.bytes().all(|byte| is_name_byte(byte) || b"*#?".contains(&byte)) {
                let message = || {
                    format!(
                        "property name {:?} of {} is not made of A-Z a-z 0-9 , . _ + - * # ?",
                        shorten(name),
                        node.path()
                    )
                };
                findings.add(rules::PROPERTY_CHARS, at.clone(), message, DAMAGED);
            }
            long.see(name, property.offset());
        }
    }
    if long.count > 0 {
        let message = || {
            format!(
                "{} {} longer than {NAME_LIMIT} characters, the longest is {:?}",
                long.count,
                if long.count == 1 { "name is" } else { "names are" },
                shorten(long.longest)
            )
        };
        let at = long.at as u64..(long.at as u64).saturating_add(4);
        findings.add(rules::NAME_LONG, at, message, "");
    }
    boot_cpu(tree, findings);
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b",._+-".contains(&byte)
}

fn node_name<'t>(node: TreeNode<'t>, findings: &mut Findings, long: &mut Long<'t>) {
    let start = node.range().start;
    let at = start as u64..(start as u64).saturating_add(4);
    let name = node.name();
    if node.depth() == 0 {
        return;
    }
    if name.is_empty() || name.starts_with('@') {
        let parent = || node.parent().map_or_else(|| "/".to_owned(), |parent| parent.path());
        let message =
            || format!("a node in {} has no name in front of its unit address: {:?}", parent(), shorten(name));
        findings.add(rules::NODE_EMPTY, at.clone(), message, "");
    }
    if !name.bytes().all(|byte| is_name_byte(byte) || byte == b'@') {
        let message = || format!("node name {} is not made of A-Z a-z 0-9 , . _ + - and @", node.path());
        findings.add(rules::NODE_CHARS, at.clone(), message, DAMAGED);
    }
    if name.matches('@').count() > 1 {
        let message = || format!("node name {} has more than one @", node.path());
        findings.add(rules::NODE_FORMAT, at, message, DAMAGED);
    }
    // The limit is on the name in front of the unit address.
    long.see(name.split('@').next().unwrap_or(""), start);
}

#[derive(Default)]
struct Long<'t> {
    count: usize,
    longest: &'t str,
    at: usize,
}

impl<'t> Long<'t> {
    fn see(&mut self, name: &'t str, at: usize) {
        if name.len() > NAME_LIMIT {
            self.count = self.count.saturating_add(1);
            if name.len() > self.longest.len() {
                self.longest = name;
                self.at = at;
            }
        }
    }
}

fn boot_cpu(tree: &Tree, findings: &mut Findings) {
    let Some(cpus) = tree.find("/cpus") else { return };
    let mut ids = Vec::new();
    for cpu in cpus.children().filter(|child| child.name().split('@').next() == Some("cpu")) {
        let Some(cells) = cpu.property("reg").and_then(|reg| reg.as_u32_list()) else { return };
        ids.push(cells.fold(0_u64, |id, cell| (id << 32) | u64::from(cell)));
    }
    let boot = tree.header().boot_cpuid_phys;
    if !ids.is_empty() && !ids.contains(&u64::from(boot)) {
        let message = || format!("boot processor 0x{boot:x} is none of the {} in /cpus", ids.len());
        findings.add(rules::BOOT_CPU, 28..32, message, "Linux on arm64 does not use this field");
    }
}
