//! What a board's author says about a tree, its console and its kernel, against the tree.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use dtbtool::{
    BindingGeneration::{self, Mainline, Vendor},
    Expectations, Fdt, RULES, WriteOptions, binding, console,
    model::{DeviceTree, Node, Property},
    profile::{self, Profile},
};
use imgcore::Report;

fn codes(report: &Report) -> Vec<&'static str> {
    for finding in report {
        let rule = RULES.iter().find(|(code, ..)| *code == finding.code);
        assert_eq!(rule.map(|(_, severity, _)| *severity), Some(finding.severity), "{finding}");
    }
    report.iter().map(|finding| finding.code).collect()
}

fn consoles(bytes: &[u8], arguments: &str, kernel: Option<BindingGeneration>) -> Report {
    console::check(&Fdt::parse(bytes).unwrap(), &[arguments], kernel)
}

/// The original overlay's arguments with the original overlay's tree, and the others of `overlays.json`.
#[test]
fn consoles_go_with_their_trees_or_it_is_said_why_not() {
    let Some(seed) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    let r6s = common::board("rk3588s-nanopi-r6s.dtb").unwrap();
    let rock64 = common::board("rk3328-rock64.dtb").unwrap();
    let arguments = "slab_nomerge earlycon=uart8250,mmio32,0xfeb50000 console=ttyFIQ0,1500000n8 consoleblank=0 \
                     console=ttyS2,1500000n8 console=tty1 loglevel=7";
    for (bytes, arguments, kernel, expected) in [
        (&seed, arguments, Some(Vendor), &["DTB201"][..]),
        (&seed, arguments, Some(Mainline), &["DTB204", "DTB201", "DTB205"]),
        (&seed, arguments, None, &["DTB206", "DTB201"]),
        (&seed, "console=ttyFIQ0,115200", Some(Vendor), &["DTB202"]),
        (&seed, "console=ttyS2,1500000n8", Some(Vendor), &["DTB201", "DTB205"]),
        (&r6s, arguments, Some(Mainline), &["DTB203", "DTB204"]),
        (&r6s, arguments, Some(Vendor), &["DTB203"]),
        (&r6s, "console=tty1 console=ttyS2,1500000n8", Some(Mainline), &[]),
        (&r6s, "console=ttyS2,115200n8", Some(Mainline), &["DTB202"]),
        (&r6s, "console=ttyS2", Some(Mainline), &["DTB202"]),
        (&r6s, "console=ttyS9,1500000", None, &["DTB201", "DTB205"]),
        (&r6s, "console=ttyS12,1500000", None, &["DTB200", "DTB205"]),
        (&r6s, "earlycon=uart8250,mmio32,0xff130000 earlycon", None, &["DTB208"]),
        (&seed, "earlycon", None, &["DTB208"]),
        (&rock64, "ttyS2,115200n8 console=tty0", Some(Mainline), &["DTB207"]),
        (&rock64, "console=ttyS2,1500000n8 ttyprintk=1 ttyS", Some(Mainline), &[]),
        (&rock64, "", None, &[]),
    ] {
        let report = consoles(bytes, arguments, kernel);
        assert_eq!(codes(&report), expected, "{arguments} {kernel:?}: {report:#?}");
    }
    let report = consoles(&seed, arguments, Some(Mainline));
    let said: String = report.iter().map(ToString::to_string).collect();
    assert!(
        said.contains("gives nothing with this tree: /serial@feb50000 is off, because /fiq-debugger owns it"),
        "{said}"
    );
}

#[test]
fn kernels_get_trees_of_their_own_generation() {
    let Some(seed) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    let r6s = common::board("rk3588s-nanopi-r6s.dtb").unwrap();
    for (bytes, kernel, expected) in
        [(&seed, Vendor, &[][..]), (&seed, Mainline, &["DTB210"]), (&r6s, Mainline, &[]), (&r6s, Vendor, &["DTB210"])]
    {
        assert_eq!(codes(&binding::check(&Fdt::parse(bytes).unwrap(), kernel)), expected);
    }
    let fdt = Fdt::parse(&seed).unwrap();
    let signs = binding::evidence(&fdt);
    assert!(signs.iter().all(|sign| sign.generation == Vendor), "{signs:#?}");
    let said: Vec<&str> = signs.iter().map(|sign| sign.what.as_str()).collect();
    for wanted in [
        "/ethernet@fe1c0000 clocks stmmaceth is 324 (vendor 324, mainline 310)",
        "fiq-debugger: ",
        "rk806single@0: ",
        "rkisp-unite",
    ] {
        assert!(said.iter().any(|text| text.contains(wanted)), "{wanted}: {said:#?}");
    }
    let small = common::small_bytes();
    assert_eq!(codes(&binding::check(&Fdt::parse(&small).unwrap(), Mainline)), ["DTB211"]);
}

fn profile_of(bytes: &[u8], profile: &Profile) -> Vec<&'static str> {
    codes(&profile::check(&Fdt::parse(bytes).unwrap(), profile))
}

#[test]
fn real_boards_fit_their_profiles() {
    let Some(seed) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    let r6s = common::board("rk3588s-nanopi-r6s.dtb").unwrap();
    let profile = Profile {
        expectations: Expectations {
            compatible: vec!["friendlyarm,nanopi-r6s".to_owned()],
            require: vec!["sd".to_owned(), "ethernet".to_owned()],
            file_name: Some("rockchip/rk3588s-nanopi-r6s.dtb".to_owned()),
        },
        requested: Some("rockchip/rk3588s-nanopi-r6s.dtb".to_owned()),
        stdout: Some("serial2:1500000n8".to_owned()),
        boot_memory: vec![
            ("kernel".to_owned(), 0x0200_0000..0x0400_0000),
            ("tree".to_owned(), 0x1200_0000..0x1210_0000),
        ],
        kernel: Some(Mainline),
        kernel_arguments: vec!["console=ttyS2,1500000n8".to_owned()],
        overlays: false,
    };
    assert_eq!(profile_of(&r6s, &profile), [""; 0]);
    let found = profile_of(&seed, &Profile { kernel: Some(Mainline), ..Profile::default() });
    assert_eq!(found, ["DTB089", "DTB093", "DTB093", "DTB210"]);
    let rockpro64 = common::board("rk3399-rockpro64.dtb").unwrap();
    let named = |file: &str, requested: &str| {
        let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let expectations = Expectations { file_name: name(file), ..Expectations::default() };
        profile_of(&rockpro64, &Profile { expectations, requested: name(requested), ..Profile::default() })
    };
    assert_eq!(named("", "rockchip/rk3399-rockpro64.dtb"), ["DTB216"]);
    assert_eq!(named("rk3399-rockpro64.dtb", ""), ["DTB216"]);
    assert_eq!(
        named("rockchip/rk3399-rockpro64-v2.dtb", "rockchip/rk3399-rockpro64.dtb"),
        ["DTB086", "DTB217", "DTB216"]
    );
    assert_eq!(named("rockchip/rk3399-rockpro64-v2.dtb", "rockchip/rk3399-rockpro64-v2.dtb"), ["DTB086", "DTB215"]);
    assert_eq!(named("rk3399-rockpro64.dtb", "rockchip/rk3399-rockpro64.dtb"), ["DTB216"]);
}

/// A board on which nothing is wrong.
fn board() -> DeviceTree {
    let mut tree = DeviceTree::new();
    let root = tree.root_mut();
    root.set(Property::strings("compatible", ["acme,board"]));
    root.set(Property::string("model", "ACME Board"));
    root.children.push(
        Node::new("aliases")
            .with(Property::string("serial2", "/serial@1"))
            .with(Property::string("ethernet0", "/ethernet@2")),
    );
    root.children.push(Node::new("chosen").with(Property::string("stdout-path", "serial2:1500000n8")));
    root.children.push(Node::new("serial@1"));
    root.children.push(
        Node::new("ethernet@2")
            .with(Property::string("compatible", "acme,gmac"))
            .with(Property::u32("phy-handle", 7))
            .with_child(Node::new("mdio").with_child(Node::new("phy@1").with(Property::u32("phandle", 7)))),
    );
    root.children.push(
        Node::new("reserved-memory")
            .with(Property::u32("#address-cells", 2))
            .with(Property::u32("#size-cells", 1))
            .with_child(Node::new("logo@1000").with(Property::cells("reg", [0, 0x1000, 0x1000]))),
    );
    tree
}

fn changed(change: impl FnOnce(&mut DeviceTree)) -> Vec<u8> {
    let mut tree = board();
    change(&mut tree);
    tree.to_bytes(&WriteOptions::default()).unwrap()
}

#[test]
fn each_finding_of_the_profile_is_made() {
    let set = |path: &'static str, property: Property| changed(move |tree| tree.find_mut(path).unwrap().set(property));
    let none = Profile::default();
    let with = |change: fn(&mut Profile)| {
        let mut profile = Profile::default();
        change(&mut profile);
        profile
    };
    let rockchip = |nodes: Vec<Node>| {
        changed(|tree| {
            tree.root_mut().set(Property::strings("compatible", ["acme,board", "rockchip,rk3588"]));
            tree.root_mut().children.extend(nodes);
        })
    };
    let device = |name: &str, compatible: &str| Node::new(name).with(Property::string("compatible", compatible));
    let all = || {
        vec![
            device("pmic@0", "rockchip,rk806"),
            device("watchdog@3", "snps,dw-wdt"),
            device("tsadc@4", "rockchip,rk3588-tsadc"),
        ]
    };
    let without = |index: usize| {
        let mut nodes = all();
        nodes.remove(index);
        nodes
    };
    let cases: Vec<(Vec<u8>, Profile, &[&str])> = vec![
        (changed(|_| {}), none.clone(), &[]),
        (rockchip(all()), none.clone(), &[]),
        (rockchip(without(0)), none.clone(), &["DTB212"]),
        (rockchip(without(1)), none.clone(), &["DTB213"]),
        (rockchip(without(2)), none.clone(), &["DTB214"]),
        (changed(|tree| tree.find_mut("/chosen").unwrap().properties.clear()), none.clone(), &["DTB089"]),
        (set("/chosen", Property::string("stdout-path", "serial3")), none.clone(), &["DTB090"]),
        (set("/serial@1", Property::string("status", "disabled")), none.clone(), &["DTB091"]),
        (set("/chosen", Property::string("stdout-path", "/ethernet@2")), none.clone(), &["DTB092"]),
        (changed(|_| {}), with(|p| p.stdout = Some("serial2:115200n8".to_owned())), &["DTB092"]),
        (changed(|_| {}), with(|p| p.stdout = Some("serial2".to_owned())), &[]),
        (set("/chosen", Property::string("bootargs", "quiet root=/dev/sda1")), none.clone(), &["DTB093"]),
        (set("/chosen", Property::string("bootargs", "quiet")), none.clone(), &[]),
        (set("/chosen", Property::string("bootargs_ext", "quiet")), none.clone(), &["DTB094"]),
        (set("/chosen", Property::u64("linux,initrd-start", 5)), none.clone(), &["DTB094"]),
        (set("/reserved-memory", Property::string("status", "enabled")), none.clone(), &["DTB095"]),
        (set("/ethernet@2", Property::u32("phy-handle", 8)), none.clone(), &["DTB096"]),
        (set("/ethernet@2/mdio", Property::string("status", "disabled")), none.clone(), &["DTB096"]),
        (changed(|_| {}), with(|p| p.overlays = true), &["DTB097"]),
        (changed(|_| {}), with(|p| p.boot_memory = vec![("kernel".to_owned(), 0x1800..0x9000)]), &["DTB098"]),
        (changed(|_| {}), with(|p| p.boot_memory = vec![("kernel".to_owned(), 0x2000..0x9000)]), &[]),
        (changed(|tree| tree.root_mut().children.push(Node::new("memory@0"))), none.clone(), &["DTB099"]),
        (set("/", Property::new("large", vec![0; 5 << 20])), none.clone(), &["DTB088", "DTB209"]),
        (changed(|tree| tree.find_mut("/aliases").unwrap().properties.truncate(1)), none.clone(), &["DTB218"]),
        (changed(|_| {}), with(|p| p.kernel_arguments = vec!["console=ttyS2,9600".to_owned()]), &["DTB202"]),
    ];
    for (bytes, profile, expected) in cases {
        assert_eq!(profile_of(&bytes, &profile), expected, "{profile:?}");
    }
    let (one, other) = (changed(|_| {}), set("/", Property::strings("compatible", ["acme,other", "rockchip,rk3588"])));
    let compare = |a: &[u8], b: &[u8]| {
        codes(&profile::compare_with_boot_program(&Fdt::parse(a).unwrap(), &Fdt::parse(b).unwrap()))
    };
    assert_eq!(compare(&one, &other), ["DTB219"]);
    assert_eq!(compare(&one, &one), [""; 0]);
    let fdt = Fdt::parse(&one).unwrap();
    assert_eq!(profile::without_driver(&fdt, |_| false), [("/ethernet@2".to_owned(), "acme,gmac".to_owned())]);
    assert!(profile::without_driver(&fdt, |text| text == "acme,gmac").is_empty());
}

#[test]
fn damaged_trees_and_arguments_never_panic() {
    let bytes = changed(|_| {});
    let arguments = "console=ttyS2,1500000n8 earlycon=uart8250,mmio32,0x1 ttyS2,115200 console=ttyFIQ0";
    let profile = Profile {
        requested: Some("rockchip/rk3588-board-v2.dtb".to_owned()),
        stdout: Some("serial2:1500000n8".to_owned()),
        overlays: true,
        boot_memory: vec![("kernel".to_owned(), 0..u64::MAX)],
        kernel: Some(Mainline),
        kernel_arguments: vec![arguments.to_owned()],
        ..Profile::default()
    };
    testkit::mutants(21, 8000, &bytes, |mutant| {
        if let Ok(fdt) = Fdt::parse(mutant) {
            codes(&profile::check(&fdt, &profile));
        }
    });
    let fdt = Fdt::parse(&bytes).unwrap();
    testkit::mutants(22, 2000, arguments.as_bytes(), |mutant| {
        codes(&console::check(&fdt, &[&String::from_utf8_lossy(mutant)], None));
    });
}
