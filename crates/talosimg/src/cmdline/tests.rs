use proptest::prelude::*;

use super::*;
use crate::release;

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What the milas overlay and the seed's answer (`reference/overlays.json`).
const MILAS: &[&str] = &[
    "sysctl.kernel.kexec_load_disabled=1",
    "talos.dashboard.disabled=1",
    "slab_nomerge",
    "earlycon=uart8250,mmio32,0xfeb50000",
    "console=ttyFIQ0,1500000n8",
    "consoleblank=0",
    "console=ttyS2,1500000n8",
    "console=tty1",
    "loglevel=7",
    "cgroup_enable=cpuset",
    "swapaccount=1",
    "irqchip.gicv3_pseudo_nmi=0",
    "coherent_pool=2M",
];

/// What the overlay of the reference images answers (`reference/in/overlay-installer`).
const REFERENCE: &[&str] = &[
    "console=tty0",
    "console=ttyS2,1500000n8",
    "sysctl.kernel.kexec_load_disabled=1",
    "talos.dashboard.disabled=1",
    "consoleblank=0",
];

#[test]
fn final_lines_equal_the_imagers() {
    let defaults_1_10 = "printk.devkmsg=on ima_template=ima-ng ima_appraise=fix ima_hash=sha512 selinux=1";
    let defaults_1_13 = "printk.devkmsg=on selinux=1 module.sig_enforce=1 proc_mem.force_override=never";
    let plain = "talos.platform=metal console=ttyAMA0 console=tty0 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 \
                 nvme_core.io_timeout=4294967295";
    let reference = |consoles: &str, blank: &str| {
        format!(
            "talos.platform=metal {consoles} sysctl.kernel.kexec_load_disabled=1 talos.dashboard.disabled=1 {blank}\
             init_on_alloc=1 slab_nomerge pti=on nvme_core.io_timeout=4294967295"
        )
    };
    let (both, blanks) = ("console=tty0 console=ttyS2,1500000n8", "consoleblank=0 consoleblank=0 ");
    let meta_extra = &["net.ifnames=0", "-consoleblank", "talos.config=https://example.org/c?a=1&b=2"];
    let milas = "talos.platform=metal console=ttyFIQ0,1500000n8 console=ttyS2,1500000n8 console=tty1 \
                 sysctl.kernel.kexec_load_disabled=1 talos.dashboard.disabled=1 slab_nomerge slab_nomerge \
                 earlycon=uart8250,mmio32,0xfeb50000 consoleblank=0 consoleblank=0 loglevel=7 cgroup_enable=cpuset \
                 swapaccount=1 irqchip.gicv3_pseudo_nmi=0 coherent_pool=2M init_on_alloc=1 pti=on \
                 nvme_core.io_timeout=4294967295";
    let cases: &[(&str, &[&str], &[&str], String)] = &[
        // §3.3
        ("v1.10.6", &[], &[], format!("{plain} {defaults_1_10}")),
        ("v1.13.9", &[], &[], format!("{plain} {defaults_1_13}")),
        ("v1.11.0", &[], &[], format!("{plain} printk.devkmsg=on selinux=1")),
        ("v1.12.3", &[], &[], format!("{plain} printk.devkmsg=on selinux=1 module.sig_enforce=1")),
        ("v1.10.6", MILAS, &[], format!("{milas} {defaults_1_10}")),
        ("v1.13.9", MILAS, &[], format!("{milas} {defaults_1_13}")),
        // the reference images
        ("v1.10.6", REFERENCE, &[], format!("{} {defaults_1_10}", reference(both, blanks))),
        ("v1.13.9", REFERENCE, &[], format!("{} {defaults_1_13}", reference(both, blanks))),
        (
            "v1.10.6",
            REFERENCE,
            &["console=ttyAMA0"],
            format!("{} {defaults_1_10}", reference("console=ttyAMA0", blanks)),
        ),
        (
            "v1.13.9",
            REFERENCE,
            &["console=ttyAMA0"],
            format!("{} {defaults_1_13}", reference("console=ttyAMA0", blanks)),
        ),
        (
            "v1.10.6",
            REFERENCE,
            meta_extra,
            format!("{} {defaults_1_10} net.ifnames=0 {}", reference(both, ""), meta_extra[2]),
        ),
        (
            "v1.13.9",
            REFERENCE,
            meta_extra,
            format!("{} {defaults_1_13} net.ifnames=0 {}", reference(both, ""), meta_extra[2]),
        ),
    ];
    for (version, overlay, extra, expected) in cases {
        let row = release::find(&version.parse().unwrap()).unwrap();
        let line = build(row, &strings(overlay), &strings(extra));
        assert_eq!(line.to_string(), *expected, "{version} {extra:?}");
        assert!(line.check().is_empty());
        assert_eq!(
            line.followed_by(row.reset.argument),
            format!("{expected} talos.experimental.wipe=system:EPHEMERAL,STATE")
        );
    }
}

#[test]
fn extra_arguments_follow_their_rules() {
    for (line, extra, expected) in [
        ("console=tty0 a=1 console=tty1", &["console=X"][..], "console=X a=1"),
        ("console=tty0 a=1", &["console=X", "b", "console=Y"], "console=X console=Y a=1 b"),
        ("talos.platform=metal a=1", &["talos.platform=nocloud"], "talos.platform=nocloud a=1"),
        ("a=1 b", &["a=1", "a=2"], "a=1 a=1 a=2 b"),
        ("init_on_alloc=1", &["init_on_alloc=0"], "init_on_alloc=1 init_on_alloc=0"),
        ("a=1 a=2 b", &["-a"], "b"),
        ("a=1 a=2 a=1 b", &["-a=1"], "a=2 b"),
        ("a=1 b", &["-a=1", "a=3"], "a=3 b"),
        ("a=1 b", &["-a", "a=3"], "b a=3"),
        ("a=1 b", &["a=3", "-a"], "b"),
        ("a b", &["-c", "-d=1"], "a b"),
        ("a b", &["-"], "a b -"),
        ("a", &["b=c d  e=f=g"], "a b=c d e=f=g"),
        ("a", &["x=-1", "--b"], "a x=-1"),
        ("-b a", &["--b"], "a"),
        ("slab_nomerge=", &["-slab_nomerge="], ""),
        ("console=tty0 a", &["-console", "console=ttyS0"], "a console=ttyS0"),
        ("a b", &["", "  "], "a b"),
        ("", &["a", "a="], "a a"),
    ] {
        let mut cmdline = Cmdline::parse(line);
        cmdline.extra(extra);
        assert_eq!(cmdline.to_string(), expected, "{line:?} {extra:?}");
    }
}

#[test]
fn merging_equals_go_procfs() {
    let list = |column: &str| column.split('|').map(str::to_owned).collect::<Vec<_>>();
    let mut count = 0;
    for row in include_str!("../../tests/data/cmdline.tsv").lines().filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [base, set, append, extra, expected] = columns[..] else { panic!("{row}") };
        let mut line = Cmdline::parse(&base.replace('|', " "));
        line.set_all(&list(set));
        line.append_all(&list(append));
        line.extra(&list(extra));
        assert_eq!(line.to_string(), expected, "{row}");
        count += 1;
    }
    assert_eq!(count, 300);
}

#[test]
fn a_key_has_its_values_in_order() {
    let line = Cmdline::parse("console=tty0 a console=ttyS0,9600 b=x=y\n");
    assert_eq!(line.values("console").collect::<Vec<_>>(), ["tty0", "ttyS0,9600"]);
    assert_eq!(line.values("a").collect::<Vec<_>>(), [""]);
    assert_eq!(line.values("b").collect::<Vec<_>>(), ["x=y"]);
    assert_eq!(line.values("c").count(), 0);
}

#[test]
fn what_no_kernel_can_take_is_found() {
    assert!(Cmdline::parse("a\u{1}b").check().has_errors());
    assert!(Cmdline::parse("a\0b").check().has_errors());
    assert!(!Cmdline::parse(&"x".repeat(2047)).check().has_errors());
    assert_eq!(Cmdline::parse(&"x".repeat(2048)).check().iter().map(|f| f.code).collect::<Vec<_>>(), ["TAL021"]);
}

proptest! {
    #[test]
    fn a_printed_line_reads_back(text in "([a-c.\\-]{1,2}(=[a-c=,]{0,3})?[ \t\n]{1,2}){0,12}") {
        let line = Cmdline::parse(&text);
        prop_assert_eq!(&Cmdline::parse(&line.to_string()), &line);
        let mut kept: Vec<_> = text.split_whitespace().map(|word| word.strip_suffix('=').filter(|w| !w.contains('=')).unwrap_or(word)).collect();
        let printed = line.to_string();
        let mut printed: Vec<_> = printed.split_whitespace().collect();
        kept.sort_unstable();
        printed.sort_unstable();
        prop_assert_eq!(printed, kept);
    }
}
