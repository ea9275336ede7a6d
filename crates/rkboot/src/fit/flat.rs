//! A device tree laid out as mkimage leaves it: strings in the order of dtc, what mkimage added behind them.

/// A property.
#[derive(Debug, Clone)]
pub(super) struct Property {
    name: &'static str,
    value: Vec<u8>,
}

impl Property {
    pub(super) fn bytes(name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        Self { name, value: value.into() }
    }

    pub(super) fn cell(name: &'static str, value: u32) -> Self {
        Self::bytes(name, value.to_be_bytes())
    }

    pub(super) fn text(name: &'static str, value: &str) -> Self {
        Self::texts(name, [value])
    }

    pub(super) fn texts<'s>(name: &'static str, values: impl IntoIterator<Item = &'s str>) -> Self {
        Self::bytes(name, values.into_iter().flat_map(|value| value.bytes().chain([0])).collect::<Vec<_>>())
    }
}

/// A node as it is in the source that dtc compiles, with what mkimage adds in front of the properties.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) added: Vec<Property>,
    pub(super) properties: Vec<Property>,
    pub(super) children: Vec<Node>,
    /// Behind how many properties the source has `data`, whose name stays in the strings when mkimage moves it out.
    pub(super) data_at: Option<usize>,
}

impl Node {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub(super) fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    pub(super) fn with_child(mut self, child: Node) -> Self {
        self.children.push(child);
        self
    }
}

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const END: u32 = 9;
/// Header of version 17, then the pair of zeros that ends an empty reservation block.
const STRUCTURE: usize = 40 + 16;

/// The tree as bytes. `added` are the names that mkimage adds, in the order in which it does; `align` is what
/// `totalsize` is rounded up to, with zeros (`mkimage -B`).
pub(super) fn write(root: &Node, added: &[&'static str], align: usize) -> Vec<u8> {
    let mut strings = Vec::new();
    source_strings(root, &mut strings);
    for name in added {
        intern(&mut strings, name);
    }
    let mut structure = Vec::new();
    emit(root, &mut strings, &mut structure);
    word(&mut structure, END);

    let off_strings = STRUCTURE + structure.len();
    let totalsize = (off_strings + strings.len()).next_multiple_of(align);
    let mut bytes = Vec::with_capacity(totalsize);
    for field in
        [dtbtool::MAGIC as usize, totalsize, STRUCTURE, off_strings, 40, 17, 16, 0, strings.len(), structure.len()]
    {
        // Trees of ours have a few KiB.
        word(&mut bytes, u32::try_from(field).unwrap_or(u32::MAX));
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&structure);
    bytes.extend_from_slice(&strings);
    bytes.resize(totalsize, 0);
    bytes
}

fn word(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

/// dtc enters a name when it first meets it: properties of a node, then its subnodes. Four levels at most.
fn source_strings(node: &Node, strings: &mut Vec<u8>) {
    for (index, property) in node.properties.iter().enumerate() {
        if node.data_at == Some(index) {
            intern(strings, "data");
        }
        intern(strings, property.name);
    }
    if node.data_at.is_some_and(|at| at >= node.properties.len()) {
        intern(strings, "data");
    }
    for child in &node.children {
        source_strings(child, strings);
    }
}

fn emit(node: &Node, strings: &mut Vec<u8>, structure: &mut Vec<u8>) {
    let pad = |structure: &mut Vec<u8>| structure.resize(structure.len().next_multiple_of(4), 0);
    word(structure, BEGIN_NODE);
    structure.extend_from_slice(node.name.as_bytes());
    structure.push(0);
    pad(structure);
    for property in node.added.iter().chain(&node.properties) {
        word(structure, PROP);
        word(structure, u32::try_from(property.value.len()).unwrap_or(u32::MAX));
        let name = intern(strings, property.name);
        word(structure, name);
        structure.extend_from_slice(&property.value);
        pad(structure);
    }
    for child in &node.children {
        emit(child, strings, structure);
    }
    word(structure, END_NODE);
}

/// Where the name is in the strings; the end of a longer name will do, as for dtc and libfdt.
fn intern(strings: &mut Vec<u8>, name: &str) -> u32 {
    let wanted: Vec<u8> = name.bytes().chain([0]).collect();
    let at = strings.windows(wanted.len()).position(|window| window == wanted).unwrap_or_else(|| {
        strings.extend_from_slice(&wanted);
        strings.len() - wanted.len()
    });
    u32::try_from(at).unwrap_or(u32::MAX)
}
