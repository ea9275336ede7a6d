//! fdtoverlay is the judge: the same bytes where it succeeds, a refusal where it refuses.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::{fmt::Write as _, path::PathBuf, process::Command};

use dtbtool::{
    ErrorKind, Fdt, WriteOptions,
    model::{DeviceTree, Node, Property},
    overlay::{apply, resolve},
};
use testkit::Rng;

struct Oracle {
    dtc: PathBuf,
    fdtoverlay: PathBuf,
    folder: tempfile::TempDir,
}

impl Oracle {
    fn new() -> Option<Self> {
        let (dtc, fdtoverlay) = (testkit::tool("dtc")?, testkit::tool("fdtoverlay")?);
        Some(Self { dtc, fdtoverlay, folder: tempfile::tempdir().unwrap() })
    }

    fn compile(&self, source: &str, symbols: bool) -> Vec<u8> {
        let (input, output) = (self.folder.path().join("in.dts"), self.folder.path().join("out.dtb"));
        std::fs::write(&input, source).unwrap();
        let mut command = Command::new(&self.dtc);
        command.args(["-q", "-f", "-I", "dts", "-O", "dtb", "-o", output.to_str().unwrap()]);
        if symbols {
            command.arg("-@");
        }
        testkit::run(command.arg(&input));
        std::fs::read(&output).unwrap()
    }

    /// What fdtoverlay makes of them, or what it says.
    fn apply(&self, base: &[u8], overlays: &[&[u8]]) -> Result<Vec<u8>, String> {
        let path = |name: &str| self.folder.path().join(name);
        std::fs::write(path("base"), base).unwrap();
        let mut command = Command::new(&self.fdtoverlay);
        command.arg("-i").arg(path("base")).arg("-o").arg(path("result"));
        for (index, overlay) in overlays.iter().enumerate() {
            std::fs::write(path(&format!("overlay{index}")), overlay).unwrap();
            command.arg(path(&format!("overlay{index}")));
        }
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(std::fs::read(path("result")).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Both agree, byte for byte. Gives back our result.
    fn same(&self, what: &str, base: &[u8], overlays: &[&[u8]]) -> Result<Vec<u8>, String> {
        let theirs = self.apply(base, overlays);
        let parsed: Vec<Fdt<'_>> = overlays.iter().map(|overlay| Fdt::parse(overlay).unwrap()).collect();
        let ours = apply(&Fdt::parse(base).unwrap(), &parsed);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => {
                if *ours != without_leftovers(theirs) {
                    let model = |bytes: &[u8]| DeviceTree::from(Fdt::parse(bytes).unwrap());
                    assert_eq!(model(ours), model(theirs), "{what}: another tree");
                    panic!("{what}: the same tree in other bytes");
                }
                let base = Fdt::parse(base).unwrap();
                if let [overlay] = parsed.as_slice() {
                    let (resolution, report) = resolve(&base, overlay);
                    assert!(resolution.applies && !report.has_errors(), "{what}: {report:#?}");
                }
            }
            (Err(ours), Err(theirs)) => {
                let ErrorKind::Overlay { fault, .. } = ours.kind() else { panic!("{what}: {ours}") };
                // Without /__symbols__, libfdt looks the label up at an offset that is none; a place behind the end
                // of a property it overwrites unseen, and then finds the tree broken.
                let odd = ["FDT_ERR_BADOFFSET", "FDT_ERR_BADSTRUCTURE"];
                let named = theirs.contains(&fault.to_string()) || odd.iter().any(|odd| theirs.contains(odd));
                assert!(named, "{what}: {ours}, theirs: {theirs}");
                if let [overlay] = parsed.as_slice() {
                    let (resolution, report) = resolve(&Fdt::parse(base).unwrap(), overlay);
                    assert!(!resolution.applies && report.has_errors(), "{what}: {ours}: {report:#?}");
                }
            }
            (ours, theirs) => panic!("{what}: ours {ours:?}, theirs {theirs:?}"),
        }
        ours.map_err(|error| error.to_string())
    }
}

/// libfdt leaves bytes of a replaced value in the padding behind a shorter one; ours is zero.
fn without_leftovers(bytes: &[u8]) -> Vec<u8> {
    let fdt = Fdt::parse(bytes).unwrap();
    let mut clean = bytes.to_vec();
    for (_, node) in fdt.walk() {
        for property in node.properties() {
            let end = property.value_range().end;
            clean[end..end.next_multiple_of(4)].fill(0);
        }
    }
    clean
}

/// The trees of an Android table of overlays.
fn table(file: &str) -> Option<Vec<Vec<u8>>> {
    let bytes = testkit::read(testkit::shared(&format!("testdata/friendlyelec-sd-fuse/{file}"))?);
    let word = |at: usize| usize::try_from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap();
    assert_eq!(word(0), 0xd7b7_ab1e);
    let (count, entries, size) = (word(16), word(20), word(12));
    Some((0..count).map(|index| entries + index * size).map(|at| bytes[word(at + 4)..][..word(at)].to_vec()).collect())
}

/// rockchip-boot.md §7.6, the measured table.
#[test]
fn the_makers_overlays_give_what_fdtoverlay_gives() {
    let Some(oracle) = Oracle::new() else { return };
    let Some(seed) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    let mut applied = 0;
    for file in ["rk3588-dtbo-plain.img", "rk3588-dtbo.img", "rk3576-dtbo-plain.img"] {
        for (index, overlay) in table(file).unwrap().iter().enumerate() {
            for tree in common::trees() {
                applied += usize::from(
                    oracle.same(&format!("{} {file} #{index}", tree.file), &tree.bytes, &[overlay]).is_ok(),
                );
            }
        }
    }
    assert!(applied > 4, "{applied}");
    let plain = table("rk3588-dtbo-plain.img").unwrap();
    for (overlay, root) in [(&plain[0], "root=/dev/mmcblk2p8"), (&plain[1], "root=/dev/mmcblk0p8")] {
        let result = oracle.same("seed", &seed, &[overlay]).unwrap();
        let fdt = Fdt::parse(&result).unwrap();
        assert!(fdt.find("/chosen").unwrap().property("bootargs_ext").unwrap().as_str().unwrap().contains(root));
    }
    let r6s = common::board("rk3588s-nanopi-r6s.dtb").unwrap();
    let (base, overlay) = (Fdt::parse(&r6s).unwrap(), Fdt::parse(&plain[0]).unwrap());
    let (resolution, report) = resolve(&base, &overlay);
    assert!(!resolution.applies);
    let codes: Vec<_> = report.iter().filter(|f| f.severity == imgcore::Severity::Error).map(|f| f.code).collect();
    assert_eq!(codes, ["DTB221"], "{report:#?}");
    assert!(apply(&base, &[overlay]).unwrap_err().to_string().contains("FDT_ERR_NOTFOUND"));
}

const BASE: &str = r#"/dts-v1/;
/memreserve/ 0x10000 0x2000;
/ {
    compatible = "acme,base";
    aliases { serial0 = &uart; };
    chosen: chosen { bootargs = "quiet"; };
    soc: soc {
        #address-cells = <1>; #size-cells = <1>;
        clk: clock-controller@100 { reg = <0x100 4>; #clock-cells = <1>; };
        uart: serial@200 { reg = <0x200 4>; clocks = <&clk 3>; status = "disabled"; };
        i2c: i2c@300 { reg = <0x300 4>; #address-cells = <1>; #size-cells = <0>; eeprom@50 { reg = <0x50>; }; };
        numbered: numbered { phandle = <0x40>; };
    };
};
"#;

/// (what, overlay source, whether it applies)
const CASES: &[(&str, &str, bool)] = &[
    ("a label", "/dts-v1/; /plugin/; &uart { status = \"okay\"; };", true),
    (
        "several",
        "/dts-v1/; /plugin/; &uart { status = \"okay\"; a; b = <1>; }; &clk { x { y { z; }; }; }; &{/chosen} { c; };",
        true,
    ),
    (
        "a path",
        "/dts-v1/; /plugin/; &{/soc/i2c@300} { eeprom@50 { label = \"x\"; }; rtc@51 { reg = <0x51>; }; };",
        true,
    ),
    (
        "a path without address",
        "/dts-v1/; /plugin/; / { fragment@0 { target-path = \"/soc/serial\"; __overlay__ { q; }; }; };",
        true,
    ),
    (
        "a path by alias",
        "/dts-v1/; /plugin/; / { fragment@0 { target-path = \"serial0\"; __overlay__ { l: q { }; }; }; };",
        true,
    ),
    ("a merge by base name", "/dts-v1/; /plugin/; &soc { serial { q; }; };", true),
    (
        "the root",
        "/dts-v1/; /plugin/; / { fragment@0 { target-path = \"/\"; __overlay__ { n: new { k = <&n>; }; }; }; };",
        true,
    ),
    (
        "phandles inside",
        "/dts-v1/; /plugin/; &soc { a: a { b = <&c 1 &clk 2>; }; c: c { d = <&a>, <&numbered>; e = &a; }; };",
        true,
    ),
    ("unaligned phandles", "/dts-v1/; /plugin/; &soc { a: a { b = [01], <&a>, [02 03], <&clk>; }; };", true),
    ("a label of a label", "/dts-v1/; /plugin/; &i2c { m: eeprom@50 { o: inner { }; }; };", true),
    ("an empty fragment", "/dts-v1/; /plugin/; &uart { };", true),
    ("no fragments", "/dts-v1/; /plugin/; / { what { ever; }; };", true),
    ("a tree that is none", "/dts-v1/; / { a = <1>; b { }; };", true),
    ("a fragment on a fragment", "/dts-v1/; /plugin/; &soc { made: made { }; }; &made { more; deep { }; };", true),
    ("a path that a fragment makes", "/dts-v1/; /plugin/; &{/} { made { }; }; &{/made} { more; };", true),
    ("a phandle for a node that has one", "/dts-v1/; /plugin/; &soc { u: serial@200 { }; user { p = <&u>; }; };", true),
    ("a phandle for a node that has none", "/dts-v1/; /plugin/; &i2c { e: eeprom@50 { }; user { p = <&e>; }; };", true),
    ("old names", "/dts-v1/; /plugin/; &chosen { bootargs = \"\"; linux,phandle = <1>; };", true),
    ("a missing label", "/dts-v1/; /plugin/; &nobody { };", false),
    ("a missing reference", "/dts-v1/; /plugin/; &uart { clocks = <&nobody 1>; };", false),
    ("a missing path", "/dts-v1/; /plugin/; &{/no/body} { };", false),
    ("no target", "/dts-v1/; /plugin/; / { fragment@0 { __overlay__ { q; }; }; };", false),
    ("a target that is none", "/dts-v1/; /plugin/; / { fragment@0 { target = <0 0>; __overlay__ { q; }; }; };", false),
    (
        "a target of ones",
        "/dts-v1/; /plugin/; / { fragment@0 { target = <0xffffffff>; __overlay__ { q; }; }; };",
        false,
    ),
    ("a target of nobody", "/dts-v1/; /plugin/; / { fragment@0 { target = <0x7777>; __overlay__ { q; }; }; };", false),
    ("a target as number", "/dts-v1/; /plugin/; / { fragment@0 { target = <0x40>; __overlay__ { q; }; }; };", true),
    (
        "an alias that is none",
        "/dts-v1/; /plugin/; / { fragment@0 { target-path = \"nobody/x\"; __overlay__ { q; }; }; };",
        false,
    ),
    ("a malformed fixup", "/dts-v1/; / { __fixups__ { uart = \"/x:y\"; }; };", false),
    ("a fixup without number", "/dts-v1/; / { __fixups__ { uart = \"/x:y:\"; }; };", false),
    ("a fixup with letters", "/dts-v1/; / { __fixups__ { uart = \"/x:y:z\"; }; };", false),
    ("a fixup of no node", "/dts-v1/; / { __fixups__ { uart = \"/x:y:0\"; }; };", false),
    ("a fixup of no property", "/dts-v1/; / { x { }; __fixups__ { uart = \"/x:y:0\"; }; };", false),
    ("an empty fixup", "/dts-v1/; / { __fixups__ { uart; }; };", false),
    ("a fixup with a sign", "/dts-v1/; / { x { y = <0>; }; __fixups__ { uart = \"/x:y: +0\"; }; };", true),
    ("a local fixup of no property", "/dts-v1/; / { __local_fixups__ { y = <0>; }; };", false),
    ("a local fixup of no node", "/dts-v1/; / { __local_fixups__ { n { y = <0>; }; }; };", false),
    ("a local fixup too far", "/dts-v1/; / { y = <1>; __local_fixups__ { y = <4>; }; };", false),
    ("a local fixup of bytes", "/dts-v1/; / { y = <1>; __local_fixups__ { y = [00]; }; };", false),
    ("a phandle of bytes", "/dts-v1/; / { __fixups__ { phandle = \"x\"; }; };", false),
    ("phandles that run out", "/dts-v1/; /plugin/; &uart { x { phandle = <0xfffffff0>; }; };", false),
    ("a symbol that is no path", "/dts-v1/; / { __symbols__ { a = \"b\"; }; };", false),
    ("a symbol that is no string", "/dts-v1/; / { __symbols__ { a = \"/b\", \"c\"; }; };", false),
    ("a symbol of nobody", "/dts-v1/; / { __symbols__ { a = \"/b/__overlay__/c\"; }; };", false),
    ("a symbol outside", "/dts-v1/; / { b { c { }; }; __symbols__ { a = \"/b/c\"; d = \"/b\"; }; };", true),
    (
        "a symbol of the fragment",
        "/dts-v1/; / { b { target-path = \"/\"; __overlay__ { }; }; __symbols__ { a = \"/b/__overlay__\"; }; };",
        true,
    ),
];

#[test]
fn every_kind_of_overlay_gives_what_fdtoverlay_gives() {
    let Some(oracle) = Oracle::new() else { return };
    let base = oracle.compile(BASE, true);
    let plain = oracle.compile(BASE, false);
    for (what, source, applies) in CASES {
        let overlay = oracle.compile(source, true);
        let result = oracle.same(what, &base, &[&overlay]);
        assert_eq!(result.is_ok(), *applies, "{what}: {result:?}");
        let _ = oracle.same(&format!("{what}, base without symbols"), &plain, &[&overlay]);
        let _ = oracle.same(&format!("{what}, twice"), &base, &[&overlay, &overlay]);
        if let Ok(result) = result {
            let _ = oracle.same(&format!("{what}, again"), &result, &[&overlay]);
        }
    }
    let sources =
        ["/dts-v1/; /plugin/; &soc { first: first { }; };", "/dts-v1/; /plugin/; &first { second: second { }; };"];
    let stacked = sources.map(|source| oracle.compile(source, true));
    let both: Vec<&[u8]> = stacked.iter().map(Vec::as_slice).collect();
    assert!(oracle.same("stacked", &base, &both).is_ok());
    assert!(oracle.same("the wrong way round", &base, &[both[1], both[0]]).is_err());
}

/// Source of a random tree body; every node has a label `prefix` and a number.
fn body(rng: &mut Rng, prefix: &str, labels: &mut Vec<String>, references: &[String], depth: usize, out: &mut String) {
    const NAMES: &[&str] = &["a", "b@1", "b@2", "cc", "d,e@10", "reg", "x-status"];
    for property in ["status", "reg", "b-reg", "zz", "compatible", "x"] {
        match rng.below(9) {
            0 => write!(out, "{property} = \"t{}\"; ", rng.below(9)).unwrap(),
            1 => write!(out, "{property} = <{} 0x{:x}>; ", rng.below(9), rng.below(1 << 20)).unwrap(),
            2 => write!(out, "{property}; ").unwrap(),
            3 if !references.is_empty() => {
                let one = &references[rng.below(references.len())];
                let other = &references[rng.below(references.len())];
                write!(out, "{property} = <&{one} 1>, [0{}], <&{other}>; ", rng.below(9)).unwrap();
            }
            _ => {}
        }
    }
    if depth == 0 {
        return;
    }
    let mut used = Vec::new();
    for _ in 0..rng.below(4) {
        let name = NAMES[rng.below(NAMES.len())];
        if used.contains(&name) {
            continue;
        }
        used.push(name);
        let label = format!("{prefix}{}", labels.len());
        labels.push(label.clone());
        write!(out, "{label}: {name} {{ ").unwrap();
        body(rng, prefix, labels, references, depth - 1, out);
        out.push_str("}; ");
    }
}

#[test]
fn random_overlays_on_overlays_give_what_fdtoverlay_gives() {
    let Some(oracle) = Oracle::new() else { return };
    let mut rng = Rng::new(0x0072_6b62);
    let mut applied = 0;
    for round in 0..60 {
        let (mut text, mut labels) = (String::new(), Vec::new());
        body(&mut rng, "l", &mut labels, &[], 4, &mut text);
        let base = oracle.compile(&format!("/dts-v1/; / {{ {text} }};"), true);
        let mut overlays = Vec::new();
        let mut known = labels.clone();
        for index in 0..=rng.below(3) {
            let mut text = String::from("/dts-v1/; /plugin/; ");
            let mut own = Vec::new();
            for fragment in 0..=rng.below(4) {
                let target = match rng.below(8) {
                    0 => "{/}".to_owned(),
                    1 if round % 5 == 0 => "unknown".to_owned(),
                    _ if known.is_empty() => "{/}".to_owned(),
                    _ => known[rng.below(known.len())].clone(),
                };
                let mut inner = String::new();
                let mut made = Vec::new();
                body(&mut rng, &format!("o{index}f{fragment}n"), &mut made, &known, 2, &mut inner);
                write!(text, "&{target} {{ {inner} }}; ").unwrap();
                own.extend(made);
            }
            overlays.push(oracle.compile(&text, true));
            known.extend(own);
        }
        let list: Vec<&[u8]> = overlays.iter().map(Vec::as_slice).collect();
        for count in 1..=list.len() {
            applied += usize::from(oracle.same(&format!("round {round}"), &base, &list[..count]).is_ok());
        }
    }
    assert!(applied > 50, "{applied}");
}

fn codes(base: &[u8], overlay: &[u8]) -> Vec<&'static str> {
    resolve(&Fdt::parse(base).unwrap(), &Fdt::parse(overlay).unwrap()).1.iter().map(|finding| finding.code).collect()
}

fn base_tree() -> DeviceTree {
    let mut base = DeviceTree::new();
    let root = base.root_mut();
    root.set(Property::string("compatible", "acme,board"));
    root.children.push(Node::new("uart").with(Property::u32("phandle", 1)));
    root.children.push(Node::new("bare"));
    root.children.push(
        Node::new("__symbols__")
            .with(Property::string("uart", "/uart"))
            .with(Property::string("bare", "/bare"))
            .with(Property::string("gone", "/gone")),
    );
    base
}

fn written(tree: &DeviceTree) -> Vec<u8> {
    tree.to_bytes(&WriteOptions::default()).unwrap()
}

fn overlay_tree(fixup: Option<(&str, &str)>, fragment: Node) -> DeviceTree {
    let mut overlay = DeviceTree::new();
    overlay.root_mut().children.push(fragment);
    if let Some((label, place)) = fixup {
        overlay.root_mut().children.push(Node::new("__fixups__").with(Property::string(label, place)));
    }
    overlay
}

#[test]
fn each_finding_about_overlays_is_made() {
    let base = written(&base_tree());
    let fragment = || Node::new("f").with(Property::u32("target", u32::MAX)).with_child(Node::new("__overlay__"));
    let at =
        |path: &str| Node::new("f").with(Property::string("target-path", path)).with_child(Node::new("__overlay__"));
    let place = "/f:target:0";
    let mut bare = base_tree();
    bare.root_mut().children.retain(|child| child.name != "__symbols__");
    let cases = [
        (&base, overlay_tree(Some(("uart", place)), fragment()), &[][..]),
        (&base, overlay_tree(Some(("uar", place)), fragment()), &["DTB220"]),
        (&written(&bare), overlay_tree(Some(("uart", place)), fragment()), &["DTB221"]),
        (&base, overlay_tree(Some(("bare", place)), fragment()), &["DTB222"]),
        (&base, overlay_tree(Some(("gone", place)), fragment()), &["DTB222"]),
        (&base, overlay_tree(None, at("/uard")), &["DTB223"]),
        (&base, overlay_tree(None, Node::new("f").with_child(Node::new("__overlay__"))), &["DTB224"]),
        (&base, overlay_tree(Some(("uart", "/f:target")), at("/uart")), &["DTB225"]),
        (&base, overlay_tree(None, Node::new("__local_fixups__").with(Property::u32("x", 0))), &["DTB226", "DTB227"]),
        (&base, overlay_tree(None, Node::new("nothing")), &["DTB227"]),
        (&base, overlay_tree(None, at("/uart").with(Property::u32("phandle", 0xffff_fffe))), &["DTB229"]),
        (&base, overlay_tree(Some(("uart", "/f:target:99")), at("/uart")), &["DTB230"]),
    ];
    for (base, overlay, expected) in cases {
        assert_eq!(codes(base, &written(&overlay)), expected, "{overlay:#?}");
    }
    let mut foreign = overlay_tree(None, at("/uart"));
    foreign.root_mut().set(Property::string("compatible", "acme,other"));
    assert_eq!(codes(&base, &written(&foreign)), ["DTB228"]);
    let near = resolve(&Fdt::parse(&base).unwrap(), &Fdt::parse(&written(&overlay_tree(None, at("/uard")))).unwrap()).1;
    assert_eq!(near.iter().next().unwrap().help.as_deref(), Some("did you mean /uart?"));
}

#[test]
fn damaged_overlays_never_panic() {
    let base = written(&base_tree());
    let fragment = Node::new("f").with(Property::u32("target", u32::MAX)).with_child(
        Node::new("__overlay__")
            .with(Property::u32("ref", u32::MAX))
            .with_child(Node::new("n").with(Property::u32("phandle", 1))),
    );
    let mut overlay = overlay_tree(Some(("uart", "/f:target:0")), fragment);
    overlay.root_mut().children.push(Node::new("__symbols__").with(Property::string("n", "/f/__overlay__/n")));
    overlay.root_mut().children.push(
        Node::new("__local_fixups__")
            .with_child(Node::new("f").with_child(Node::new("__overlay__").with(Property::u32("ref", 0)))),
    );
    let overlay = written(&overlay);
    assert!(codes(&base, &overlay).is_empty());
    let check = |base: &[u8], overlay: &[u8]| {
        if let (Ok(base), Ok(overlay)) = (Fdt::parse(base), Fdt::parse(overlay)) {
            let (resolution, report) = resolve(&base, &overlay);
            assert_eq!(resolution.applies, !report.has_errors());
            if let Ok(result) = apply(&base, &[overlay]) {
                Fdt::parse(&result).unwrap();
            }
        }
    };
    testkit::mutants(7, 5000, &overlay, |mutant| check(&base, mutant));
    testkit::mutants(8, 5000, &base, |mutant| check(mutant, &overlay));
}

/// Wide trees, many labels, many fragments: nothing is looked for one by one.
#[test]
fn large_overlays_end_in_time() {
    const COUNT: u32 = 20_000;
    let mut base = DeviceTree::new();
    let mut change = DeviceTree::new();
    let (mut symbols, mut fixups) = (Node::new("__symbols__"), Node::new("__fixups__"));
    for index in 0..COUNT {
        let name = format!("node@{index:x}");
        base.root_mut().children.push(Node::new(&name).with(Property::u32("phandle", index + 1)));
        symbols.properties.push(Property::string(format!("l{index}"), &format!("/{name}")));
        let fragment = format!("fragment@{index}");
        fixups.properties.push(Property::string(format!("l{index}"), &format!("/{fragment}:target:0")));
        let content = Node::new("__overlay__").with(Property::u32("phandle", 1)).with_child(Node::new("new"));
        change
            .root_mut()
            .children
            .push(Node::new(fragment).with(Property::u32("target", u32::MAX)).with_child(content));
    }
    base.root_mut().children.push(symbols);
    change.root_mut().children.push(fixups);
    let (base, change) = (written(&base), written(&change));
    assert!(codes(&base, &change).is_empty());
    let mut unknown = DeviceTree::from(Fdt::parse(&base).unwrap());
    unknown.root_mut().children.retain(|child| child.name != "__symbols__");
    assert_eq!(codes(&written(&unknown), &change), ["DTB221"]);
}
