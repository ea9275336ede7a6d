//! fdtput and fdtget are the judges of edits; what cannot be made says why.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::process::Command;

use dtbtool::{
    Edit, Fdt, WriteOptions, diff,
    edit::{apply, parse_mac},
    model::{DeviceTree, Node, Property},
    scan,
};

fn model(bytes: &[u8]) -> DeviceTree {
    DeviceTree::from(Fdt::parse(bytes).unwrap())
}

fn edited(tree: &DeviceTree, edits: &[&str]) -> DeviceTree {
    let mut tree = tree.clone();
    let edits: Vec<Edit> = edits.iter().map(|text| Edit::parse(text).unwrap()).collect();
    apply(&mut tree, &edits).unwrap();
    tree
}

#[test]
fn edits_do_what_fdtput_does() {
    let (Some(fdtput), Some(fdtget)) = (testkit::tool("fdtput"), testkit::tool("fdtget")) else { return };
    let Some(seed) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tree.dtb");
    let cases: &[(&str, &[&str])] = &[
        (
            "set /chosen stdout-path \"serial2:1500000n8\"",
            &["-t", "s", "", "/chosen", "stdout-path", "serial2:1500000n8"],
        ),
        ("set / compatible \"a,b\", \"c,d\"", &["-t", "s", "", "/", "compatible", "a,b", "c,d"]),
        (
            "set /serial@feb50000 reg <0 0xfeb50000 0 512>",
            &["-t", "x", "", "/serial@feb50000", "reg", "0", "feb50000", "0", "200"],
        ),
        ("set /serial@feb50000 bytes [00 1f ff]", &["-t", "bx", "", "/serial@feb50000", "bytes", "0", "1f", "ff"]),
        ("enable &uart2", &["-t", "s", "", "/serial@feb50000", "status", "okay"]),
        ("disable mmc0", &["-t", "s", "", "/mmc@fe2c0000", "status", "disabled"]),
        ("delete /chosen bootargs_ext", &["-d", "", "/chosen", "bootargs_ext"]),
        ("delete /fiq-debugger", &["-r", "", "/fiq-debugger"]),
        (
            "local-mac-address /ethernet@fe1c0000 02:1a:2b:3c:4d:5e",
            &["-t", "bx", "", "/ethernet@fe1c0000", "local-mac-address", "2", "1a", "2b", "3c", "4d", "5e"],
        ),
    ];
    for (text, arguments) in cases {
        std::fs::write(&file, &seed).unwrap();
        let arguments = arguments.iter().map(|word| if word.is_empty() { file.to_str().unwrap() } else { word });
        testkit::run(Command::new(&fdtput).args(arguments));
        let theirs = std::fs::read(&file).unwrap();
        let ours = edited(&model(&seed), &[text]).to_bytes(&WriteOptions::default()).unwrap();
        let difference = diff::diff(&Fdt::parse(&theirs).unwrap(), &Fdt::parse(&ours).unwrap());
        assert!(difference.is_empty(), "{text}: {:#?}", difference.changes);
        assert!(!diff::diff(&Fdt::parse(&seed).unwrap(), &Fdt::parse(&ours).unwrap()).is_empty(), "{text}");
        let codes = |bytes: &[u8]| scan(bytes).1.iter().map(|f| f.code).collect::<Vec<_>>();
        assert_eq!(codes(&ours), codes(&seed), "{text}");
    }
    let ours = edited(&model(&seed), &["set /chosen list <1 0x20>, <3>"]).to_bytes(&WriteOptions::default()).unwrap();
    std::fs::write(&file, &ours).unwrap();
    let read = testkit::run(Command::new(&fdtget).args(["-t", "x"]).arg(&file).args(["/chosen", "list"]));
    assert_eq!(read.trim(), "1 20 3");
}

fn small() -> DeviceTree {
    let mut tree = common::small();
    let root = tree.root_mut();
    root.children.push(Node::new("aliases").with(Property::string("serial2", "/serial@feb50000")));
    root.children.push(Node::new("__symbols__").with(Property::string("uart2", "/serial@feb50000")));
    root.children.push(Node::new("bus").with(Property::string("status", "disabled")).with_child(Node::new("nic@1")));
    root.children.push(Node::new("user").with(Property::u32("interrupt-parent", 2)));
    tree
}

#[test]
fn order_reservations_and_boot_processor_stay() {
    let mut tree = small();
    tree.boot_cpuid_phys = 3;
    let after = edited(&tree, &["set serial2 odd <1>", "set &uart2 new", "set &{/serial@feb50000} flag"]);
    assert_eq!((after.boot_cpuid_phys, &after.memory_reservations), (3, &tree.memory_reservations));
    let names = |tree: &DeviceTree| tree.root().children.iter().map(|child| child.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&tree));
    let properties: Vec<_> =
        after.find("/serial@feb50000").unwrap().properties.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(properties, ["odd", "phandle", "flag", "new"]);
}

#[test]
fn references_get_phandles() {
    let after = edited(&small(), &["set /user link <&uart2 7 &{/bus/nic}>"]);
    let nic = after.find("/bus/nic@1").unwrap().property("phandle").unwrap();
    let link = after.find("/user").unwrap().property("link").unwrap();
    assert_eq!((nic, link), (&[0, 0, 0, 3][..], &[0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 3][..]));
}

#[test]
fn what_cannot_be_made_says_why_and_changes_nothing() {
    for (text, words) in [
        ("sett / a 1", "did you mean set?"),
        ("set", "no node is named"),
        ("set /", "no property is named"),
        ("set / a b c", "a value is"),
        ("set / a <1", "needs a >"),
        ("set / a <1> <2>", "comma"),
        ("set / a <1 b>", "a cell is"),
        ("set / a <0x1ffffffff>", "a cell is"),
        ("set / a [0]", "pairs"),
        ("set / a [+1]", "pairs"),
        ("set / a \"x", "no closing quote"),
        ("set / a \"x\" y", "comma"),
        ("set / a \"\\q\"", "known are"),
        ("set / a/b 1", "a name has"),
        ("set /serial@feb5000 a 1", "did you mean serial@feb50000?"),
        ("set &uart3 a 1", "did you mean &uart2?"),
        ("set serial3 a 1", "did you mean serial2?"),
        ("set / a <&nobody>", "no such label"),
        ("delete / modell", "did you mean model?"),
        ("delete /", "the root cannot"),
        ("delete /user a b", "nothing is expected"),
        ("enable /user a", "nothing is expected"),
        ("enable /nobody", "has no node"),
        ("local-mac-address /user 01:00:00:00:00:00", "group"),
        ("local-mac-address /user 00:00:00:00:00:00", "zeros"),
        ("local-mac-address /user ff:ff:ff:ff:ff:ff", "group"),
        ("local-mac-address /user 02:00:00:00:00", "six bytes"),
        ("local-mac-address /user 2:0:0:0:0:0", "six bytes"),
    ] {
        let mut tree = small();
        let good = Edit::parse("set / model other").unwrap();
        let error = match Edit::parse(text).and_then(|edit| apply(&mut tree, &[good, edit])) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{text}"),
        };
        assert!(error.contains(words), "{text}: {error}");
        assert_eq!(tree, small(), "{text}");
    }
    assert_eq!(parse_mac(" 02-1A-2b-3c-4d-5e ").unwrap(), [2, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e]);
}

#[test]
fn what_an_edit_does_not_reach_is_said() {
    let mut both = small();
    both.find_mut("/bus/nic@1").unwrap().set(Property::new("mac-address", [2, 0, 0, 0, 0, 1]));
    for (text, code) in [
        ("enable /bus/nic", Some("DTB231")),
        ("local-mac-address /bus/nic@1 02:00:00:00:00:02", Some("DTB232")),
        ("delete /serial@feb50000", Some("DTB233")),
        ("disable /bus", Some("DTB234")),
        ("enable /bus", None),
    ] {
        let report = apply(&mut both.clone(), &[Edit::parse(text).unwrap()]).unwrap();
        assert_eq!(report.iter().map(|finding| finding.code).next(), code, "{text}");
    }
}

#[test]
fn no_text_panics() {
    let seeds = [
        "set /serial@feb50000 reg <0 0xfeb50000 &uart2>, <&{/bus}>",
        "set / a \"b\\\"\", \"c\"",
        "set / a [00 1f]",
        "local-mac-address serial2 02:1a:2b:3c:4d:5e",
    ];
    for (index, seed) in seeds.iter().enumerate() {
        testkit::mutants(index as u64, 3000, seed.as_bytes(), |mutant| {
            if let Ok(edit) = Edit::parse(&String::from_utf8_lossy(mutant)) {
                let mut tree = small();
                if apply(&mut tree, &[edit]).is_ok() {
                    let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
                    assert_eq!(model(&bytes), tree);
                }
            }
        });
    }
}
