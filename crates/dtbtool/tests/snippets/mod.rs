//! Trees that break one rule each.

use dtbtool::model::{DeviceTree, Node, Property};

/// Source text of the root's contents, or of a whole file.
pub(crate) const SNIPPETS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("phandle length", "a { phandle = \"abcdef\"; };"),
    ("phandle values", "a { phandle = <0>; }; b { phandle = <0xffffffff>; };"),
    ("phandle twice", "a { phandle = <1>; }; b { phandle = <1>; }; c { linux,phandle = <1>; };"),
    ("phandles differ", "a { phandle = <1>; linux,phandle = <2>; }; b { phandle = <2>; };"),
    ("old phandle", "a { linux,phandle = <3>; }; b { interrupts-extended = <3>; };"),
    ("name no string", "a { name = <1>; };"),
    ("name empty", "a { name; };"),
    ("name wrong", "a@1 { name = \"b\"; reg = <1 1>; };"),
    ("name right", "a@1 { name = \"a\"; reg = <0 1 1>; name { }; };"),
    ("name longer", "a { name = \"ab\"; };"),
    ("node and property", "a = <1>; a { };"),
    (
        "duplicate address",
        "#address-cells = <1>; #size-cells = <1>; a@1 { reg = <1 1>; }; b@1 { reg = <1 1>; status = \"disabled\"; }; c@1 { reg = <1 1>; };",
    ),
    (
        "types",
        "device_type = <1>; model = [61]; compatible = [61 00 62]; a { status; label = \"a\", \"b\"; clock-names = <1>; reg-names = \"a\", \"b\"; };",
    ),
    ("cells no cell", "#address-cells = \"ab\"; a { #size-cells = <1 2>; reg = <1>; };"),
    ("reg of the root", "reg = <1>;"),
    (
        "reg length",
        "a { #address-cells = <1>; #size-cells = <1>; b@1 { reg = <1>; }; c@2 { reg = <2 3>; }; d@3 { reg; }; };",
    ),
    ("reg of no cells", "a { #address-cells = <0>; #size-cells = <0>; b@1 { reg = <1>; }; c@2 { reg; }; };"),
    ("reg of many cells", "a { #address-cells = <0x40000000>; #size-cells = <0>; b@1 { reg = <1>; }; };"),
    ("reg of less than no cells", "a { #address-cells = <0xfffffffe>; #size-cells = <1>; b@1 { reg = <1>; }; };"),
    ("default cells", "a { b@1 { reg = <1 2 3>; }; c { ranges; }; };"),
    (
        "ranges",
        "ranges; dma-ranges = <1>; a { #address-cells = <1>; #size-cells = <1>; ranges; dma-ranges; b@1 { ranges = <1 2 3 4>; dma-ranges = <1>; }; };",
    ),
    (
        "ranges count",
        "#address-cells = <2>; #size-cells = <2>; a@0 { #address-cells = <1>; #size-cells = <1>; ranges = <1 0 1>; }; b { #address-cells = <2>; #size-cells = <1>; ranges; }; c { #address-cells = <1>; #size-cells = <2>; dma-ranges; };",
    ),
    (
        "unneeded cells",
        "a { #address-cells = <1>; #size-cells = <0>; b { }; }; c { #address-cells = <1>; #size-cells = <0>; }; d { #address-cells = <1>; #size-cells = <0>; e { ranges; }; };",
    ),
    ("unit and reg", "a@1 { }; b { reg = <0 1 1>; }; c@2 { ranges; }; d { ranges = <1>; };"),
    ("fragments need none", "fragment@0 { target = <1>; __overlay__ { }; };"),
    (
        "unit format",
        "#address-cells = <1>; #size-cells = <1>; a@0x10 { reg = <1 1>; }; b@010 { reg = <1 1>; }; c@0x00 { reg = <1 1>; }; d@0 { reg = <0 1>; }; e@0g { reg = <0 1>; };",
    ),
    (
        "pci bridge",
        "pci@0 { device_type = \"pci\"; bus-range = <1 0>; }; pcie@1 { device_type = \"pci\"; bus-range = <1>; ranges = <1>; #address-cells = <3>; #size-cells = <2>; }; host@2 { device_type = \"pci\"; bus-range = <0 256>; };",
    ),
    (
        "pci devices",
        "#address-cells = <1>; #size-cells = <1>; pcie@1 { reg = <1 1>; device_type = \"pci\"; bus-range = <0 1>; ranges = <0 0 0 0 0 0>; #address-cells = <3>; #size-cells = <2>; a@0 { reg = <0 0 0 0 0>; }; b@0,1 { reg = <0x100 0 0 0 0>; }; c@1 { reg = <0x20800 1 0 0 0>; }; d@2 { reg = <0x82001010 0 0 0 0>; }; e@1,0 { reg = <0x800 0 0 0 0>; }; f@1f,7 { reg = <0xff00 0 0 0 0>; }; g { }; };",
    ),
    (
        "pci bus of no range",
        "#address-cells = <1>; #size-cells = <1>; pcie@1 { reg = <1 1>; device_type = \"pci\"; ranges = <0 0 0 0 0 0>; #address-cells = <3>; #size-cells = <2>; a@0 { reg = <0x10000 0 0 0 0>; }; };",
    ),
    (
        "simple bus",
        "#address-cells = <1>; #size-cells = <1>; compatible = \"x\", \"simple-bus\"; top { }; soc { compatible = \"simple-bus\"; ranges; #address-cells = <1>; #size-cells = <1>; a { }; b@1 { reg = <2 1>; }; c@5 { ranges = <7 5 1>; #address-cells = <1>; #size-cells = <1>; }; d { compatible = \"simple-bus\"; }; e { ranges; }; f@a0 { reg = <0xa0 1>; }; };",
    ),
    (
        "simple bus of two cells",
        "#address-cells = <2>; #size-cells = <2>; soc { compatible = \"simple-bus\"; ranges; #address-cells = <2>; #size-cells = <2>; a@100000000 { reg = <1 0 0 1>; }; b@1 { reg = <1 1 0 1>; }; };",
    ),
    (
        "i2c bridges",
        "i2c@0 { i2c-bus@1 { foo { }; }; }; i2c-arb { a { }; }; i2c { b { }; }; i2c-bus { }; i2c-mux { c { }; };",
    ),
    (
        "i2c devices",
        "i2c { #address-cells = <1>; #size-cells = <0>; a { }; b@10 { reg = <0x10>; }; c@80 { reg = <0x80>; }; d@10 { reg = <0x11 0xff>; }; e@80000400 { reg = <0x80000400>; }; f@80000100 { reg = <0x80000100>; }; g@20 { reg = <0x40000020>; }; };",
    ),
    (
        "spi bridges",
        "spi@0 { a { }; }; b { #address-cells = <1>; #size-cells = <0>; reg = <1>; c@0 { reg = <0>; spi-max-frequency = <1>; }; }; spi { spi-slave; #address-cells = <0>; #size-cells = <0>; slave { }; }; spi@1 { };",
    ),
    (
        "spi devices",
        "spi { #address-cells = <1>; #size-cells = <0>; a { }; b@0 { reg = <1>; }; c@1 { reg = <1>; }; }; spi@1 { spi-slave; #address-cells = <0>; #size-cells = <0>; slave { }; };",
    ),
    (
        "chosen",
        "chosen { interrupt-controller; bootargs = <1>; linux,stdout-path = <1>; }; a { chosen { stdout-path = [61]; }; };",
    ),
    ("old stdout", "chosen { linux,stdout-path = \"/\"; bootargs = \"\"; };"),
    ("both stdouts", "chosen { linux,stdout-path = <1>; stdout-path = \"serial0\"; };"),
    (
        "aliases",
        "i2c@0 { i2c-bus@1 { }; }; aliases { a = \"/\"; b = \"/i2c@0/\"; c = \"//i2c@0\"; d; e = \"i2c@0\"; f = \"i2c@0//i2c-bus@1\"; g = <1>; h = \"\"; E = \"/i2c@0\"; i_j = \"/i2c@0\"; k = \"/none\"; l = \"/i2c\"; phandle = <9>; m = \"/i2c@0/i2c-bus@1//\"; };",
    ),
    (
        "references",
        "a: a { #clock-cells = <1>; #gpio-cells = <2>; #dma-cells = <0>; }; b { clocks = <&a 1 &a>; dmas = <&a &a>; resets = <&a>; gpios = <&a 1 2>; x-gpio = <&a 1>; phys = [00]; iommus = <77>; power-domains = <0 0xffffffff &a>; msi-parent = <&a>; };",
    ),
    (
        "references that count wrong",
        "a: a { #clock-cells = <0x3fffffff>; #reset-cells = <0xffffffff>; #pwm-cells = <0x40000000>; }; b { clocks = <&a 1>; resets = <&a>; pwms = <0 &a>; };",
    ),
    (
        "every reference",
        "b: b { }; a { clocks = <&b>; cooling-device = <&b>; dmas = <&b>; hwlocks = <&b>; interrupts-extended = <&b>; io-channels = <&b>; iommus = <&b>; mboxes = <&b>; msi-parent = <&b>; mux-controls = <&b>; phys = <&b>; power-domains = <&b>; pwms = <&b>; resets = <&b>; sound-dai = <&b>; thermal-sensors = <&b>; };",
    ),
    (
        "every reference is cut",
        "a { clocks = [00]; cooling-device = [00]; dmas = [00]; hwlocks = [00]; interrupts-extended = [00]; io-channels = [00]; iommus = [00]; mboxes = [00]; msi-parent = [00]; mux-controls = [00]; phys = [00]; power-domains = [00]; pwms = [00]; resets = [00]; sound-dai = [00]; thermal-sensors = [00]; gpios = [00]; interrupts = [00]; };",
    ),
    (
        "every count is no cell",
        "a { #clock-cells; #cooling-cells; #dma-cells; #hwlock-cells; #interrupt-cells; #io-channel-cells; #iommu-cells; #mbox-cells; #msi-cells; #mux-control-cells; #phy-cells; #power-domain-cells; #pwm-cells; #reset-cells; #sound-dai-cells; #thermal-sensor-cells; };",
    ),
    (
        "gpios",
        "a: a { #gpio-cells = <1>; }; hog { gpio-hog; gpios = <1 2 3>; }; b { gpio = <&a 1>; gpios = <&a>; x,nr-gpios = <3>; x-gpios = <&a 1 &a 2 0 &a 3>; nr-gpios = <3>; };",
    ),
    (
        "interrupts",
        "a { interrupts = <1>; }; b { interrupts = [00]; interrupt-parent = <0>; }; c { interrupt-parent = <5>; interrupts = <1>; }; d { interrupts = <1>; interrupt-parent = <&g>; }; g: g { }; h: h { interrupt-controller; #interrupt-cells = <3>; i { interrupts = <1 2>; }; j { interrupts = <1 2 3>; }; }; k { interrupts = <1>; interrupt-parent = <&l>; }; l: l { interrupt-controller; #interrupt-cells = <0>; m { interrupts = <1>; }; };",
    ),
    (
        "no interrupt cells",
        "a: a { interrupt-controller; b { interrupts = <1>; }; }; c { #interrupt-cells = <1>; d { interrupts = <1>; }; };",
    ),
    (
        "interrupt map",
        "#address-cells = <1>; #size-cells = <1>; a: ic { interrupt-controller; #interrupt-cells = <1>; }; b: ic2 { interrupt-controller; #interrupt-cells = <2>; #address-cells = <1>; }; c: none { }; m1 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 &a 5 1 3 &b 1 2 3 9>; }; m2 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 &a>; }; m3 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 0 1>; interrupt-map-mask = <1>; }; m4 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 77 1>; }; m5 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = [00 01]; }; m6 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 &b 1>; }; m7 { #interrupt-cells = <1>; interrupt-map = <1 2 &b 1>; }; m8 { #address-cells = <0>; #interrupt-cells = <0xfffffff0>; interrupt-map = <1 2 &b 1>; interrupt-map-mask = <1 2>; }; m9 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 &c 1>; }; m10 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 0xffffffff 1>; }; m11 { #address-cells = <1>; #interrupt-cells = <1>; interrupt-map = <1 2 0x80000000 1>; };",
    ),
    ("graph at the root", "endpoint { }; port { endpoint { }; };"),
    (
        "graph",
        "a { ports { #address-cells = <1>; #size-cells = <0>; prt@0 { #address-cells = <1>; #size-cells = <0>; reg = <1>; e1: endpt@0 { reg = <0>; remote-endpoint = <&e2>; }; }; port@1 { reg = <1>; e2: endpoint { remote-endpoint = <99>; }; }; port@2 { #address-cells = <1>; #size-cells = <0>; reg = <2>; e3: endpoint@1 { reg = <2>; remote-endpoint = <&e1>; }; }; port@3 { reg = <3>; endpoint { remote-endpoint = <0>; }; }; }; };",
    ),
    (
        "graph of no cells",
        "#address-cells = <1>; #size-cells = <1>; a { ports { port@0 { reg = <0 1>; endpoint { }; }; }; }; b { #address-cells = <2>; #size-cells = <1>; port@0 { reg = <0 0 1>; #address-cells = <1>; #size-cells = <0>; endpoint@0 { reg = <0>; }; }; };",
    ),
    (
        "graph of other cells",
        "a { #address-cells = <1>; #size-cells = <0>; port@0 { reg = <0>; #address-cells = <0>; #size-cells = <1>; endpoint@5 { reg = <5>; #address-cells = <1>; #size-cells = <2>; }; }; };",
    ),
    (
        "graph when cells are no cells",
        "#size-cells; a { #address-cells = <1>; #size-cells = <0>; port@0 { reg = <0>; endpoint { }; }; };",
    ),
    ("graph in an overlay", "/dts-v1/; /plugin/; &x { prt { ep { remote-endpoint = <&y>; }; }; };"),
    (
        "overlay",
        "/dts-v1/; /plugin/; &x { a: a@1 { interrupts = <1>; interrupt-parent = <&gic>; clocks = <&cru 1>; resets = <&a>; }; b { interrupt-map = <1 2 &gic>; #interrupt-cells = <1>; #address-cells = <1>; }; }; &{/c} { clocks = <&a 1>; };",
    ),
    (
        "tables of references",
        "__symbols__ { a = \"/none\"; b = \"/\"; c; d = \"/x\"; }; x { p = <1>; y { q = <1 2>; }; }; __fixups__ { l = \"/x:p:0\", \"/none:p:0\", \"/x:none:0\", \"/x:p:4\", \"/x:p:-1\", \"/x/y:q:0x4\", \"bad\", \"/x:p\", \"/x/y:q:010\"; m = [61 62]; }; __local_fixups__ { none { p = <0>; }; x { p = <0 4>; z = <0>; y { q = [00]; }; }; };",
    ),
    (
        "references of an overlay to itself",
        "x: x { p = <&x>; q = <7>; }; __local_fixups__ { x { p = <0>; q = <0>; }; };",
    ),
    (
        "strict names",
        "a_b { c.d = <1>; #e = <2>; f,#g = <3>; f#g = <4>; #_ = <5>; device_type = \"x\"; H = <1>; }; c_d@1_2 { reg = <0 1 1>; };",
    ),
    ("aliases of an overlay", "__fixups__ { }; aliases { a = \"/none\"; a_b = \"/none\"; c; };"),
    (
        "tables in the way",
        "x { p = <1>; q = <2>; }; __symbols__ { s = \"/x\"; }; __fixups__ { l = \"/x:p:0\", [61]; s = \"/x:q:0\"; }; __local_fixups__ { x { q = [00]; }; };",
    ),
    ("chosen below", "a { chosen { }; };"),
];

/// Trees that source text cannot say.
pub(crate) fn built() -> Vec<(&'static str, DeviceTree)> {
    let tree = |children: Vec<Node>| {
        let mut tree = DeviceTree::new();
        tree.root_mut().children = children;
        tree
    };
    let twice = || Node::new("a").with(Property::empty("x")).with(Property::empty("x")).with(Property::empty("x"));
    let deep = Node::new("@1").with_child(Node::new("b").with_child(Node::new("").with_child(Node::new("c"))));
    let odd = Node::new("a").with(Property::empty("a b")).with(Property::empty("x@y")).with(Property::empty("ok"));
    vec![
        (
            "two nodes of a name",
            tree(vec![Node::new("a"), Node::new("b"), Node::new("a"), Node::new("b"), Node::new("a")]),
        ),
        ("two properties of a name", tree(vec![twice(), Node::new("c").with_child(twice())])),
        ("characters of nodes", tree(vec![Node::new("a b"), Node::new("c#@1"), Node::new("d?")])),
        ("several at signs", tree(vec![Node::new("a@1@2"), Node::new("b@@")])),
        ("nodes without names", tree(vec![deep, Node::new("@atf-SEQ")])),
        ("characters of properties", tree(vec![odd])),
        ("paths through nodes without names", tree(vec![Node::new("aliases").with(Property::string("a", "/@1//b"))])),
    ]
}
