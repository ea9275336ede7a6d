//! Differences by meaning.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::process::Command;

use dtbtool::{
    Fdt, WriteOptions,
    diff::diff,
    model::{DeviceTree, Node, Property},
};

fn lines(first: &[u8], second: &[u8]) -> Vec<String> {
    let result = diff(&Fdt::parse(first).unwrap(), &Fdt::parse(second).unwrap());
    assert_eq!(result.is_empty(), result.changes.is_empty());
    result.changes.iter().map(ToString::to_string).collect()
}

fn compile(source: &str) -> Option<Vec<u8>> {
    let dtc = testkit::tool("dtc")?;
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.dts"), folder.path().join("out.dtb"));
    std::fs::write(&input, source).unwrap();
    testkit::run(Command::new(dtc).args(["-q", "-f", "-O", "dtb", "-o"]).arg(&output).arg(&input));
    Some(std::fs::read(&output).unwrap())
}

#[test]
fn order_and_phandle_numbers_do_not_count() {
    let Some(first) = compile(
        "/dts-v1/; / { a: a { #clock-cells = <1>; x; y = <1>; }; b: b { #gpio-cells = <2>; phandle = <0x50>; }; \
         u { clocks = <&a 3>, <&a 4>; reset-gpios = <&b 1 0>; vendor,thing = <&a>; pinctrl-0 = <&b>, <&a>; }; };",
    ) else {
        return;
    };
    let second = compile(
        "/dts-v1/; / { u { pinctrl-0 = <&b>, <&a>; vendor,thing = <&a>; reset-gpios = <&b 1 0>; clocks = <&a 3>, <&a 4>; }; \
         b: b { phandle = <9>; #gpio-cells = <2>; }; a: a { phandle = <0x77>; y = <1>; x; #clock-cells = <1>; }; };",
    )
    .unwrap();
    assert_eq!(lines(&first, &second), [""; 0]);
    let third = compile(
        "/dts-v1/; / { a: a { #clock-cells = <1>; y = <0x20>; z = \"text\"; }; b: b { #gpio-cells = <2>; }; c { d { e; }; }; \
         u { clocks = <&a 3>, <&a 5>; reset-gpios = <&b 1 0>; vendor,thing = <&b>; pinctrl-0 = <&a>, <&b>; }; };",
    )
    .unwrap();
    assert_eq!(
        lines(&first, &third),
        [
            "/a: - x: (empty)",
            "/a: y: <0x01> -> <0x20>",
            "/a: + z: \"text\"",
            "/u: clocks: <&/a 3 &/a 4> -> <&/a 3 &/a 5>",
            "/u: vendor,thing: <0x01> -> <0x02>",
            "/u: pinctrl-0: <&/b &/a> -> <&/a &/b>",
            "+ /c (0 properties, 1 node)",
        ]
    );
    // The same number, another target.
    let fourth =
        compile("/dts-v1/; / { a { phandle = <1>; }; b { phandle = <2>; }; u { phy-handle = <1>; }; };").unwrap();
    let fifth =
        compile("/dts-v1/; / { a { phandle = <2>; }; b { phandle = <1>; }; u { phy-handle = <1>; }; };").unwrap();
    assert_eq!(lines(&fourth, &fifth), ["/u: phy-handle: <&/a> -> <&/b>"]);
}

#[test]
fn headers_are_compared() {
    let mut tree = common::small();
    let first = tree.to_bytes(&WriteOptions::default()).unwrap();
    tree.boot_cpuid_phys = 7;
    tree.memory_reservations.clear();
    let second = tree.to_bytes(&WriteOptions::default()).unwrap();
    assert_eq!(
        lines(&first, &second),
        ["header: memory reservations: <0x1000 0x100> -> <>", "header: boot processor: 0 -> 7"]
    );
}

#[test]
fn a_tree_equals_itself_and_differs_both_ways() {
    let trees = common::trees();
    for tree in &trees {
        assert_eq!(lines(&tree.bytes, &tree.bytes), [""; 0], "{}", tree.file);
        let renumbered = renumbered(&tree.bytes);
        assert!(renumbered != tree.bytes);
        let found = lines(&tree.bytes, &renumbered);
        assert!(found.is_empty(), "{}: {found:#?}", tree.file);
    }
    let Some(r6s) = common::board("rk3588s-nanopi-r6s.dtb") else { return };
    let r6c = common::board("rk3588s-nanopi-r6c.dtb").unwrap();
    let there = diff(&Fdt::parse(&r6s).unwrap(), &Fdt::parse(&r6c).unwrap());
    let back = diff(&Fdt::parse(&r6c).unwrap(), &Fdt::parse(&r6s).unwrap());
    assert_eq!(there.summary.nodes_added, back.summary.nodes_removed);
    assert_eq!(there.summary.properties_changed, back.summary.properties_changed);
    assert!(there.changes.iter().any(|change| change.property.as_deref() == Some("model")));
    assert!(there.changes.len() < 40, "{:#?}", there.changes);
}

fn visit(node: &mut Node, change: &impl Fn(&mut Property)) {
    node.properties.iter_mut().for_each(change);
    node.children.iter_mut().for_each(|child| visit(child, change));
}

/// The same tree with other phandle numbers, and all that refers to them. Which property refers with how many
/// arguments is said here once more, after dtc's checks.
fn renumbered(bytes: &[u8]) -> Vec<u8> {
    const MOVE: u32 = 0x4000_0000;
    const LISTS: &[(&str, &str)] = &[
        ("clocks", "#clock-cells"),
        ("assigned-clocks", "#clock-cells"),
        ("assigned-clock-parents", "#clock-cells"),
        ("resets", "#reset-cells"),
        ("power-domains", "#power-domain-cells"),
        ("phys", "#phy-cells"),
        ("dmas", "#dma-cells"),
        ("iommus", "#iommu-cells"),
        ("pwms", "#pwm-cells"),
        ("io-channels", "#io-channel-cells"),
        ("sound-dai", "#sound-dai-cells"),
        ("cooling-device", "#cooling-cells"),
        ("thermal-sensors", "#thermal-sensor-cells"),
        ("interrupts-extended", "#interrupt-cells"),
        ("mboxes", "#mbox-cells"),
        ("nvmem-cells", "#nvmem-cell-cells"),
        ("interrupt-parent", ""),
        ("phy-handle", ""),
        ("memory-region", ""),
        ("mmc-pwrseq", ""),
        ("remote-endpoint", ""),
        ("operating-points-v2", ""),
        ("next-level-cache", ""),
        ("cpu-idle-states", ""),
        ("interrupt-affinity", ""),
        ("trip", ""),
    ];
    let fdt = Fdt::parse(bytes).unwrap();
    let targets: std::collections::BTreeMap<u32, _> =
        fdt.walk().filter_map(|(_, node)| Some((node.phandle()?, node))).collect();
    let mut tree = DeviceTree::from(fdt);
    visit(tree.root_mut(), &|property| {
        let name = property.name.as_str();
        let gpios = (name.ends_with("-gpios") || name.ends_with("-gpio") || name == "gpios").then_some("#gpio-cells");
        let plain = name == "phandle"
            || name.ends_with("-supply")
            || name.strip_prefix("pinctrl-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        let listed = LISTS.iter().find(|(known, _)| *known == name).map(|(_, cells)| *cells);
        let Some(cells) = gpios.or(plain.then_some("")).or(listed) else { return };
        let mut skip = 0;
        for cell in property.value.as_chunks_mut::<4>().0 {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let Some(target) = targets.get(&u32::from_be_bytes(*cell)) else { continue };
            skip = target.property(cells).and_then(|count| count.as_u32()).unwrap_or(0);
            *cell = (u32::from_be_bytes(*cell) + MOVE).to_be_bytes();
        }
    });
    tree.to_bytes(&WriteOptions::default()).unwrap()
}

#[test]
fn damaged_trees_are_compared_without_panic() {
    let original = common::small_bytes();
    let fdt = Fdt::parse(&original).unwrap();
    testkit::mutants(11, 10_000, &original, |mutant| {
        if let Ok(other) = Fdt::parse(mutant) {
            let there = diff(&fdt, &other);
            let back = diff(&other, &fdt);
            let (there, back) = (there.summary, back.summary);
            assert_eq!(
                (there.nodes_added, there.properties_added, there.properties_changed),
                (back.nodes_removed, back.properties_removed, back.properties_changed)
            );
            assert!(diff(&other, &other).is_empty());
        }
    });
}

#[test]
fn nodes_of_one_name_are_paired_in_their_order() {
    let tree = |values: &[&str]| {
        let mut tree = DeviceTree::new();
        for value in values {
            tree.root_mut().children.push(Node::new("serial@1").with(Property::string("status", value)));
        }
        tree.to_bytes(&WriteOptions::default()).unwrap()
    };
    assert_eq!(lines(&tree(&["okay", "disabled"]), &tree(&["okay", "disabled"])), Vec::<String>::new());
    assert_eq!(
        lines(&tree(&["okay", "disabled"]), &tree(&["okay", "okay"])),
        [r#"/serial@1: status: "disabled" -> "okay""#]
    );
    assert_eq!(lines(&tree(&["okay", "disabled"]), &tree(&["okay"])), ["- /serial@1 (1 property)"]);
}
