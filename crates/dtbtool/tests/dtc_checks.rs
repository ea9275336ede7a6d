//! dtc is the judge of our copy of its checks: what it says of a tree is what we say, line by line.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;
mod snippets;

use std::{
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use dtbtool::{
    Fdt, WriteOptions,
    check::{self, CHECKS, Options},
    model::{DeviceTree, Node, Property},
    scan,
};

struct Dtc {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// What dtc says, and whether it made output.
#[derive(Debug)]
struct Said {
    text: String,
    done: bool,
    /// It ended itself, or read memory that is not the tree's.
    crashed: bool,
}

impl Dtc {
    fn new() -> Option<Self> {
        Some(Self { program: testkit::tool("dtc")?, folder: tempfile::tempdir().unwrap() })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        #[allow(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn says(&self, tree: &[u8], arguments: &[&str]) -> Said {
        let file = self.write("tree.dtb", tree);
        let output = Command::new(&self.program)
            .args(["-I", "dtb", "-O", "dts"])
            .args(arguments)
            .arg(file)
            .stdout(Stdio::null())
            .output()
            .unwrap();
        Said {
            // Control characters do not reach a terminal from us.
            text: String::from_utf8_lossy(&output.stderr)
                .replace("<stdout>: ", "")
                .replace(|c: char| c.is_control() && c != '\n', "?"),
            done: output.status.success(),
            crashed: output.status.signal().is_some() || output.status.code().is_some_and(|code| code > 127),
        }
    }

    /// `None` if dtc does not take the source.
    fn compile(&self, source: &str) -> Option<Vec<u8>> {
        let file = self.write("tree.dts", source.as_bytes());
        let to = self.folder.path().join("compiled.dtb");
        let output = Command::new(&self.program)
            .args(["-qqq", "-f", "-I", "dts", "-O", "dtb", "-o"])
            .arg(&to)
            .arg(file)
            .output()
            .unwrap();
        output.status.success().then(|| testkit::read(to))
    }

    /// Compares; true if dtc did not crash.
    fn agrees(&self, name: &str, tree: &[u8], arguments: &[&str]) -> bool {
        let said = self.says(tree, arguments);
        let checked = check::run(&scan(tree).0.unwrap(), &options(arguments));
        if said.crashed {
            return false;
        }
        let ours = check::format_dtc(&checked);
        if ours != said.text {
            let left: Vec<&str> = said.text.lines().filter(|line| !ours.contains(line)).collect();
            let right: Vec<&str> = ours.lines().filter(|line| !said.text.contains(line)).collect();
            panic!("{name} {arguments:?}\ndtc: {}\nwe: {ours}\nonly dtc: {left:#?}\nonly we: {right:#?}", said.text);
        }
        assert_eq!(checked.failed, !said.done, "{name} {arguments:?}: {ours}");
        true
    }
}

impl Dtc {
    /// Compares byte for byte, reading as dtc reads.
    fn agrees_exactly(&self, name: &str, tree: &[u8]) {
        let file = self.write("tree.dtb", tree);
        let mut asked = Command::new(&self.program);
        let output = asked.args(["-I", "dtb", "-O", "dts"]).arg(file).stdout(Stdio::null()).output().unwrap();
        let (failed, ours) = match check::read_as_dtc(tree) {
            Ok(tree) => {
                let checked = check::run(&tree, &Options::default());
                (checked.failed, check::format_dtc_bytes(&checked))
            }
            Err(refused) => (true, refused),
        };
        let lines = output.stderr.split_inclusive(|byte| *byte == b'\n');
        let theirs: Vec<u8> =
            lines.flat_map(|line| line.strip_prefix(b"<stdout>: ").unwrap_or(line)).copied().collect();
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{name}");
        assert_eq!(failed, !output.status.success(), "{name}");
    }
}

fn options(arguments: &[&str]) -> Options {
    let changes = arguments.chunks(2).map(|pair| check::change(pair[1], pair[0] == "-E").unwrap()).collect();
    Options { changes, ..Options::default() }
}

/// Trees of every file of the test data, with those inside images and tables.
fn all_trees() -> Vec<(String, Vec<u8>)> {
    let Some(folder) = testkit::shared("testdata") else { return Vec::new() };
    let mut found = Vec::new();
    let mut open = vec![folder.clone()];
    while let Some(at) = open.pop() {
        if at.is_dir() {
            open.extend(at.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = testkit::read(&at);
        for start in (0..bytes.len().saturating_sub(40)).step_by(4) {
            if bytes[start..start + 4] != dtbtool::MAGIC.to_be_bytes() {
                continue;
            }
            if let Ok(fdt) = Fdt::parse(&bytes[start..]) {
                let name = format!("{} at {start}", at.strip_prefix(&folder).unwrap().display());
                found.push((name, fdt.as_bytes().to_vec()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "{} trees", found.len());
    found
}

#[test]
fn stored_answers_of_dtc_are_ours() {
    let Some(folder) = testkit::shared("testdata") else { return };
    let expected = String::from_utf8(testkit::read(folder.join("expected/dtc-1.8.1-warnings.txt"))).unwrap();
    let mut files = 0;
    for block in expected.split("# ").filter(|block| !block.is_empty()) {
        let (file, lines) = block.split_once('\n').unwrap();
        let checked = check::run(&scan(&testkit::read(folder.join(file))).0.unwrap(), &Options::default());
        assert_eq!(check::format_dtc(&checked), lines, "{file}");
        files += 1;
    }
    assert!(files >= 8, "{files}");
}

#[test]
fn dtc_says_the_same_of_every_real_tree() {
    let Some(dtc) = Dtc::new() else { return };
    for (name, tree) in all_trees() {
        assert!(dtc.agrees(&name, &tree, &[]), "{name}: dtc crashed");
    }
}

#[test]
fn dtc_says_the_same_with_every_switch() {
    let Some(dtc) = Dtc::new() else { return };
    let trees: Vec<_> = all_trees().into_iter().filter(|(_, tree)| tree.len() < 50_000).collect();
    for (index, row) in CHECKS.iter().enumerate() {
        let Some((name, tree)) = trees.get(index % trees.len().max(1)) else { return };
        let off = format!("no-{}", row.name);
        for arguments in [["-W", row.name], ["-E", row.name], ["-W", &off], ["-E", &off]] {
            dtc.agrees(name, tree, &arguments);
        }
    }
}

#[test]
fn dtc_says_the_same_of_every_broken_rule() {
    let Some(dtc) = Dtc::new() else { return };
    let mut broken = std::collections::BTreeSet::new();
    for (name, source) in snippets::SNIPPETS {
        let text = if source.contains("/dts-v1/") {
            (*source).to_owned()
        } else {
            format!("/dts-v1/;\n/ {{\n{source}\n}};\n")
        };
        let tree = dtc.compile(&text).unwrap_or_else(|| panic!("{name} does not compile"));
        for arguments in [
            &[][..],
            &["-W", "node_name_chars_strict", "-W", "property_name_chars_strict"],
            &["-W", "unique_unit_address_if_enabled", "-W", "deprecated_gpio_property"],
        ] {
            assert!(dtc.agrees(name, &tree, arguments), "{name}: dtc crashed");
            let checked = check::run(&scan(&tree).0.unwrap(), &options(arguments));
            broken.extend(checked.diagnostics.iter().filter(|d| d.path.is_some()).map(|d| d.check));
        }
    }
    for (name, tree) in snippets::built() {
        let tree = tree.to_bytes(&WriteOptions::default()).unwrap();
        assert!(dtc.agrees(name, &tree, &[]), "{name}: dtc crashed");
        let checked = check::run(&scan(&tree).0.unwrap(), &Options::default());
        broken.extend(checked.diagnostics.iter().filter(|d| d.path.is_some()).map(|d| d.check));
    }
    let whole: Vec<_> = CHECKS.iter().map(|check| check.name).filter(|name| !broken.contains(name)).collect();
    // Those that only source text can break, and those that only keep what they find for others.
    assert_eq!(
        whole,
        [
            "duplicate_label",
            "phandle_references",
            "path_references",
            "omit_unused_nodes",
            "addr_size_cells",
            "simple_bus_bridge",
            "always_fail"
        ]
    );
}

#[test]
fn dtc_says_the_same_of_changed_trees() {
    let Some(dtc) = Dtc::new() else { return };
    let small: Vec<_> = all_trees().into_iter().filter(|(_, tree)| tree.len() < 90_000).collect();
    let rounds = std::env::var("DTC_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(400_u64);
    let mut compared = 0;
    for seed in 1..=rounds {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (name, tree) = random.pick(&small);
        let mut tree = DeviceTree::from(Fdt::parse(tree).unwrap());
        for _ in 0..=random.below(6) {
            change(&mut tree, &mut random);
        }
        end_paths(tree.root_mut());
        let Ok(tree) = tree.to_bytes(&WriteOptions::default()) else { continue };
        compared += usize::from(dtc.agrees(&format!("{name}, seed {seed}"), &tree, &[]));
    }
    assert!(small.is_empty() || compared as u64 > rounds / 2, "{compared} compared");
}

/// dtc follows a path to its NUL, which may be anywhere in its memory.
fn end_paths(node: &mut Node) {
    let table = matches!(node.name.as_str(), "aliases" | "__symbols__");
    for property in node.properties.iter_mut().filter(|property| table && !property.value.is_empty()) {
        property.value.push(0);
    }
    node.children.iter_mut().for_each(end_paths);
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap()
    }

    fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }
}

fn any_node<'t>(tree: &'t mut DeviceTree, random: &mut Random) -> &'t mut Node {
    let mut node = tree.root_mut();
    while !node.children.is_empty() && random.below(4) > 0 {
        let at = random.below(node.children.len());
        node = &mut node.children[at];
    }
    node
}

const WORDS: &[&str] = &[
    "reg",
    "ranges",
    "dma-ranges",
    "#address-cells",
    "#size-cells",
    "#interrupt-cells",
    "interrupts",
    "interrupt-parent",
    "interrupt-controller",
    "interrupt-map",
    "interrupt-map-mask",
    "clocks",
    "#clock-cells",
    "resets",
    "#reset-cells",
    "gpios",
    "reset-gpio",
    "#gpio-cells",
    "gpio-hog",
    "status",
    "compatible",
    "device_type",
    "name",
    "label",
    "model",
    "phys",
    "#phy-cells",
    "dmas",
    "power-domains",
    "msi-parent",
    "#msi-cells",
    "interrupts-extended",
    "remote-endpoint",
    "bus-range",
    "spi-slave",
    "spi-max-frequency",
    "clock-names",
    "stdout-path",
    "linux,stdout-path",
    "bootargs",
    "a_b",
    "thermal-sensors",
    "cooling-device",
    "iommus",
];

const NAMES: &[&str] = &[
    "i2c@1",
    "i2c",
    "i2c-bus",
    "i2c-arb@2",
    "spi@3",
    "spi",
    "pci@1,0",
    "pcie@0",
    "chosen",
    "aliases",
    "port@0",
    "port",
    "endpoint@0",
    "endpoint",
    "ports",
    "foo@00",
    "foo@0x10",
    "reg",
    "a_b",
    "__overlay__",
    "fragment@0",
    "bus@fe000000",
];

const NUMBERS: &[u32] =
    &[0, 1, 2, 3, 4, 5, 8, 0x7f, 0x80, 0x3ff, 0x10000, 0x4000_0001, 0x8000_0001, 0x8000_0400, 0xffff_fffe, u32::MAX];

/// One change of the kind that people and programs make by mistake.
fn change(tree: &mut DeviceTree, random: &mut Random) {
    let kind = random.below(24);
    let numbers: Vec<u32> = (0..random.below(7)).map(|_| *random.pick(NUMBERS)).collect();
    let (word, name, number) = (*random.pick(WORDS), *random.pick(NAMES), *random.pick(NUMBERS));
    let dice = random.below(1000);
    let node = any_node(tree, random);
    let some = |list: &[Property]| if list.is_empty() { None } else { Some(dice % list.len()) };
    match kind {
        0 => node.set(Property::cells(word, numbers)),
        1 => node.set(Property::u32(word, u32::try_from(dice % 5).unwrap())),
        2 => node.set(Property::string(word, "disabled")),
        3 => node.set(Property::strings(word, ["simple-bus", "pci"])),
        4 => node.set(Property::string(word, if dice.is_multiple_of(2) { "pci" } else { "/chosen" })),
        5 => node.set(Property::empty(word)),
        6..=9 => {
            if let Some(at) = some(&node.properties) {
                node.properties.remove(at);
            }
        }
        10 | 11 => {
            if let Some(at) = some(&node.properties) {
                let keep = dice % (node.properties[at].value.len() + 1);
                node.properties[at].value.truncate(keep & !3);
            }
        }
        12 => {
            if let Some(at) = some(&node.properties) {
                node.properties[at].value.pop();
            }
        }
        13 => {
            if let Some(at) = some(&node.properties) {
                node.properties[at].value.extend_from_slice(&number.to_be_bytes());
            }
        }
        14 | 15 => {
            if let Some(at) = some(&node.properties) {
                let value = &mut node.properties[at].value;
                let cell = (dice / 7) % (value.len() / 4).max(1) * 4;
                if let Some(cell) = value.get_mut(cell..cell + 4) {
                    cell.copy_from_slice(&number.to_be_bytes());
                }
            }
        }
        16 => node.children.push(Node::new(name).with(Property::cells(word, numbers))),
        17 => node.children.push(Node::new(name)),
        18 if !node.name.is_empty() => name.clone_into(&mut node.name),
        19 => {
            let base = node.name.split('@').next().unwrap().to_owned();
            if !base.is_empty() {
                node.name = if dice.is_multiple_of(3) { base } else { format!("{base}@{:x}", dice % 17) };
            }
        }
        20 if dice.is_multiple_of(4) && !node.properties.is_empty() => {
            let copy = node.properties[dice % node.properties.len()].clone();
            node.properties.push(copy);
        }
        21 if dice.is_multiple_of(4) && !node.children.is_empty() => {
            let copy = node.children[dice % node.children.len()].clone();
            node.children.push(copy);
        }
        22 if dice.is_multiple_of(3) => {
            let property = if dice.is_multiple_of(2) { "phandle" } else { "linux,phandle" };
            node.set(Property::u32(property, number));
        }
        23 => {
            let moved = node.children.pop();
            tree.root_mut().children.extend(moved);
        }
        _ => {}
    }
}

/// dtc ends itself at these with a failed assertion; a board's owner gets a finding.
#[test]
fn what_dtc_takes_for_granted_is_a_finding() {
    let one = |name: &str| Property::cells(name, [1, 2]);
    let controller = || Node::new("c").with(Property::empty("interrupt-controller")).with(Property::u32("phandle", 1));
    for (children, place) in [
        (
            vec![Node::new("a").with(Property::u32("interrupts", 1)).with(one("interrupt-parent"))],
            "/a:interrupt-parent",
        ),
        (
            vec![
                Node::new("a").with(Property::u32("interrupts", 1)).with(Property::u32("interrupt-parent", 1)),
                controller().with(one("#interrupt-cells")),
            ],
            "/c:#interrupt-cells",
        ),
        (
            vec![
                Node::new("a").with(Property::u32("gpios", 1)),
                Node::new("c").with(Property::u32("phandle", 1)).with(one("#gpio-cells")),
            ],
            "/c:#gpio-cells",
        ),
        (
            vec![
                Node::new("p")
                    .with_child(Node::new("port").with_child(Node::new("endpoint").with(one("remote-endpoint")))),
            ],
            "/p/port/endpoint:remote-endpoint",
        ),
    ] {
        let mut tree = DeviceTree::new();
        tree.root_mut().children = children;
        let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
        let checked = check::run(&scan(&bytes).0.unwrap(), &Options::default());
        let last = checked.diagnostics.last().unwrap();
        assert_eq!((last.code, checked.failed), ("DTB189", true), "{checked:?}");
        assert!(last.message.starts_with(place), "{last:?}");
        assert_eq!(check::to_report(&checked).iter().next().map(|finding| finding.code), Some("DTB189"));
        if let Some(dtc) = Dtc::new() {
            let said = dtc.says(&bytes, &[]);
            assert!(said.crashed && said.text.contains("Assertion"), "{said:?}");
        }
    }
}

#[test]
fn what_matters_for_the_board_comes_first() {
    let Some(folder) = testkit::shared("testdata") else { return };
    let bytes = testkit::read(folder.join("seed-nanopi-m6/rk3588s-nanopi-m6.dtb"));
    let checked = check::run(&scan(&bytes).0.unwrap(), &Options::default());
    let summary = check::to_summary(&checked);
    let codes: Vec<_> = summary.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["DTB134", "DTB184", "DTB129", "DTB140", "DTB141"], "{summary:#?}");
    let texts: Vec<String> = summary.iter().map(ToString::to_string).collect();
    assert!(texts[0].starts_with("warning[DTB134]: 7 times: missing or empty reg/ranges property"), "{texts:#?}");
    assert!(texts[1].contains("/aliases rkcif_mipi_lvds0, "), "{texts:#?}");
    assert!(texts[4].starts_with("info[DTB141]: 25 times: two nodes of one parent have the same unit"), "{texts:#?}");
    // Every range is that of the property or node.
    let report = check::to_report(&checked);
    assert_eq!(report.len(), 40);
    assert!(report.iter().all(|finding| finding.range.as_ref().is_some_and(|range| range.end <= bytes.len() as u64)));
}

/// Damage that dtc survives or refuses in words; where it crashes there is nothing to compare.
#[test]
fn dtc_refuses_the_same_trees() {
    let Some(dtc) = Dtc::new() else { return };
    let Some((name, good)) =
        all_trees().into_iter().filter(|(_, tree)| tree.len() > 2000).min_by_key(|(_, tree)| tree.len())
    else {
        return;
    };
    let mut refused = 0;
    testkit::mutants(4, 400, &good, |tree| {
        let said = dtc.says(tree, &[]);
        if said.crashed || !said.text.contains("FATAL ERROR") || said.text.contains("Bad address") {
            return;
        }
        // Version 1 of the format had names of another kind.
        if said.text.contains("is not valid as a child of") {
            return;
        }
        assert_eq!(check::fatal(tree), Some(said.text), "{name}");
        refused += 1;
    });
    assert!(refused > 100, "{refused}");
}

/// What the strict reader refuses or cuts, and dtc does not.
#[test]
fn dtc_says_the_same_of_names_and_sizes_that_are_odd() {
    let Some(dtc) = Dtc::new() else { return };
    let mut tree = DeviceTree::new();
    let root = tree.root_mut();
    root.properties.push(Property::u32("marker", 1));
    root.properties.push(Property::u32(&*"a".repeat(600), 1));
    root.properties.push(Property::u32(&*"b".repeat(600), 1));
    root.children.push(Node::new("mmc@0"));
    root.children.push(Node::new("disk"));
    let good = tree.to_bytes(&WriteOptions::default()).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let word = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    for (name, bytes) in [
        ("sound", good.clone()),
        ("property in Latin-1", replaced(b"marker\0", b"mark\xe9r\0")),
        ("property in UTF-8", replaced(b"marker\0", b"mar\xc3\xa9r\0")),
        ("property with a control character", replaced(b"marker\0", b"mark\x7fr\0")),
        ("node in Latin-1", replaced(b"disk\0", b"d\xe9sk\0")),
        ("node in UTF-8", replaced(b"disk\0", b"d\xc3\xa9k\0")),
        ("a name of 1201 bytes", replaced(b"a\0b", b"a!b")),
        ("structure of no size", word(36, 0)),
        ("version of the future", word(20, 99)),
        ("version of paths", word(20, 3)),
        ("strings cut", word(32, 3)),
        ("no tree", b"no tree at all".to_vec()),
    ] {
        dtc.agrees_exactly(name, &bytes);
    }
    // A root with a name.
    let mut named = good.clone();
    let at = usize::try_from(u32::from_be_bytes(good[8..12].try_into().unwrap())).unwrap() + 4;
    named[at..at + 4].copy_from_slice(b"foo\0");
    dtc.agrees_exactly("root with a name", &named);
    let tree = check::read_as_dtc(&named).unwrap();
    assert!(check::format_dtc_bytes(&check::run(&tree, &Options::default())).windows(10).any(|w| w == b"/foo/mmc@0"));
}
