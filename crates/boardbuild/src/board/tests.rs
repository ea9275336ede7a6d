use super::*;

fn parse(text: &str) -> Result<Board> {
    Board::parse("boards/b.toml", "b", Path::new("boards"), text)
}

#[test]
fn the_board_of_the_design_is_valid() {
    let board = parse(
            r#"name = "b"
soc = "rk3588s"
vendor = "FriendlyELEC"
default-boot = "mainline"
[dtb]
path = "rockchip/rk3588s-nanopi-m6.dtb"
source = "dtb"
compatible = ["friendlyarm,nanopi-m6"]
require = ["ethernet"]
[boot.mainline]
files = [{ source = "idbloader", at-sector = 64 }, { source = "u-boot", at-sector = 16384 }]
[boot.vendor]
files = [{ source = "vendor-idbloader", at-sector = 64 }, { source = "vendor-u-boot", at-sector = 16384, trim-copies = true }]
[overlay]
name = "rk3588"
options = { board = "nanopi-m6", chipset = "rk3588s" }
partition-offset = 20480
kernel-args = ["a=b"]
bootloader = "sd-boot"
"#,
        )
        .unwrap();
    assert_eq!(board.scenario(None).unwrap().unwrap().0, "mainline");
    assert_eq!(board.scenario(Some("vendor")).unwrap().unwrap().1.files.len(), 2);
    let roles: Vec<_> = board.roles().into_iter().collect();
    assert_eq!(roles, ["dtb", "idbloader", "u-boot", "vendor-idbloader", "vendor-u-boot"]);
    assert!(board.report.is_empty());
    assert_eq!(board.scenario(Some("vendr")).unwrap_err().exit_code(), 2);
}

#[test]
fn wrong_files_say_where_and_what() {
    for (text, expected) in [
        ("name = \"b\"\nsco = \"rk3588\"", "did you mean `soc`?"),
        ("name = \"b\"\nsoc = \"rk3558x\"", "did you mean `rk35"),
        ("name = \"B!\"", "a board's name is"),
        ("name = \"b\"\ndefault-boot = \"x\"", "no scenario of this name: x"),
        ("name = \"b\"\n[boot.a]\n[boot.b]", "2 boot scenarios but no default-boot"),
        ("name = \"b\"\n[dtb]\npath = \"../x.dtb\"", "must not hold"),
        ("name = \"b\"\n[sources.x]\nsize = 1", "source x needs one of"),
        ("name = \"b\"\n[sources.x]\npath = \"p\"\nurl = \"u\"", "not several"),
        ("name = \"b\"\n[sources.x]\nimage = \"i\"", "needs `image` and `file` together"),
        ("name = \"b\"\n[sources.x]\nnote = \"n\"\nfile = \"f\"", "needs `image` and `file` together"),
        ("name = \"b\"\n[sources.\"../x\"]\nnote = \"n\"", "no name of an input"),
        ("name = \"b\"\n[sources.x]\nnote = \"n\"\nmember = \"f\"", "has `member` without"),
        ("name = \"b\"\n[sources.x]\nnote = \"n\"\nrange = { offset = 1 }", "has `range` without"),
        ("name = \"b\"\n[sources.x]\npath = \"p\"\nmirrors = [\"https://h/x\"]", "has `mirrors` without `url`"),
        ("name = \"b\"\n[sources.x]\npath = \"p\"\nplatform = \"linux/arm64\"", "has `platform` without `image`"),
        ("name = \"b\"\n[sources.x]\npath = \" \"", "empty `path`"),
        ("name = \"b\"\n[sources.x]\nurl = \"h/x\"", "cannot be read"),
        ("name = \"b\"\n[sources.x]\nurl = \"ftp://h/x\"", "neither https nor http"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://a:b@h/x\"", "holds credentials"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x#y\"", "holds a fragment"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nmirrors = [\"https://h/ x\"]", "holds white space"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nmirors = []", "did you mean `mirrors`?"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nmember = \"../x\"", "holds empty parts"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nmember = \"/x\"", "not the relative path of a file"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nmember = \"a/*b*\"", "two `*` in one segment"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nrange = { offset = 1, length = 0 }", "a range of no bytes"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nrange = { ofset = 1 }", "did you mean `offset`?"),
        ("name = \"b\"\n[sources.x]\nimage = \"https://h/i\"\nfile = \"f\"", "an `image` with a scheme"),
        ("name = \"b\"\n[sources.x]\nimage = \"h/i:t\"\nfile = \"a/*\"", "a `*` in `file`"),
        ("name = \"b\"\n[sources.x]\nimage = \"h/i:t\"\nfile = \"f\"\nplatform = \"arm64\"", "has no platform"),
        ("name = \"b\"\n[sources.x]\nurl = \"https://h/x\"\nlicence = \"\"", "empty `licence`"),
        (
            "name = \"b\"\n[sources.x]\nmember = \"m\"\napt = { url = \"https://h\", suite = \"s\", package = \"P\" }",
            "`apt.package` that is no name",
        ),
        (
            "name = \"b\"\n[sources.x]\nmember = \"m\"\napt = { url = \"https://h\", suite = \"../s\", package = \"p\" }",
            "`apt.suite` that is no name",
        ),
        (
            "name = \"b\"\n[sources.x]\napt = { url = \"https://h\", suite = \"s\", package = \"p\" }",
            "`apt` without `member`",
        ),
        ("name = \"b\"\nnotes = [\"../x\"]", "no name of a note"),
        ("name = \"b\"\nrevisions = [{ name = \"V1\" }, { name = \"V1\" }]", "empty or there twice"),
        ("name = \"b\"\nrevisions = [{ nam = \"V1\" }]", "did you mean `name`?"),
        (
            "name = \"b\"\n[[reserved]]\nname = \"env\"\nat-sector = 1\nsectors = 1\nwithin = \"x\"",
            "within x, which no scenario writes",
        ),
        ("name = \"b\"\n[[corrects]]\nwhat = \"dtb.pth\"", "did you mean `dtb.path`?"),
        ("name = \"b\"\n[[corrects]]\nwhat = \"dtb.path\"\nupstrem = \"\"", "did you mean `upstream`?"),
        ("name = \"b\"\n[overlay]\nname = \"a/b\"", "plain file name"),
        ("name = \"b\"\n[boot.a]\nfiles = [{ source = \"x\", at-sectr = 1 }]", "did you mean `at-sector`?"),
        ("name = ", "boards/b.toml:1:"),
        ("name = \"b\"\nspi = { sorce = \"spi\" }", "did you mean `source`?"),
        ("name = \"b\"\nspi = { source = \"\" }", "spi.source is no role"),
        ("name = \"b\"\nspi = { source = \"spi\", size = 16 }", "a power of two from 1 MiB to 256 MiB"),
        ("name = \"b\"\nspi = { source = \"spi\", option = \"board\" }", "cannot be the name of an installer's option"),
        (
            "name = \"b\"\nspi = { source = \"x\" }\n[boot.a]\nfiles = [{ source = \"x\", at-sector = 64 }]",
            "a role of its own",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}\n{error}");
        assert!(error.to_string().contains("--> boards/b.toml:"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn an_spi_flash_is_a_role_an_option_and_perhaps_a_size() {
    let board = parse("name = \"b\"\nspi = { source = \"spi\", size = 16777216 }").unwrap();
    assert!(board.roles().contains("spi"));
    let spi = board.spi.unwrap();
    assert_eq!((spi.source.as_str(), spi.size, spi.option.as_str()), ("spi", Some(16 << 20), "spi_boot"));
}

fn corrected(upstream: &str, here: &str, why: &str) -> Result<Board> {
    parse(&format!(
        "name = \"b\"\nupstream = \"them v1\"\n[dtb]\npath = \"rockchip/a.dtb\"\n[overlay]\nname = \"b\"\nkernel-args = [\"x\", \"y\"]\n\
         [[corrects]]\nwhat = \"dtb.path\"\nupstream = {upstream:?}\nhere = {here:?}\nwhy = {why:?}\n"
    ))
}

#[test]
fn a_correction_must_say_what_the_file_says_and_is_reported() {
    let board = corrected("rockchip/b.dtb", "rockchip/a.dtb", "U-Boot asks for a").unwrap();
    let finding = board.report.iter().next().unwrap();
    assert_eq!((finding.code, finding.severity), ("BRD010", imgcore::Severity::Warning));
    assert!(finding.message.contains("where them v1 has rockchip/b.dtb: U-Boot asks for a"), "{finding}");
    for (upstream, here, why, expected) in [
        ("rockchip/b.dtb", "rockchip/c.dtb", "w", "which it is not"),
        ("rockchip/a.dtb", "rockchip/a.dtb", "w", "corrects nothing"),
        ("rockchip/b.dtb", "rockchip/a.dtb", " ", "without a reason"),
    ] {
        let error = corrected(upstream, here, why).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("--> boards/b.toml:8:1"), "{error}");
    }
    let both = "name = \"b\"\n[overlay]\nname = \"b\"\nkernel-args = [\"x\", \"y\"]\n[[corrects]]\nwhat = \
                \"overlay.kernel-args\"\nupstream = \"x\"\nhere = \"y\"\nwhy = \"w\"\n";
    assert!(parse(both).unwrap_err().to_string().contains("still has what is said to be corrected"));
}

#[test]
fn an_origin_says_its_place_and_its_file_in_words() {
    let board = parse(
        "name = \"b\"\n[sources]\na = { path = \"x/y.img\" }\nb = { url = \"https://h/z.bin\" }\nc = { image = \"i:1\", file = \
         \"artifacts/u.bin\" }\nd = { note = \"build it\" }\ne = { url = \"https://h/p.deb\", member = \"a/u-*.img\", range = { \
         offset = 4, length = 2 } }\nf = { apt = { url = \"https://h/\", suite = \"s\", package = \"p\" }, member = \"a/b.dtb\", \
         range = { offset = 7 } }\n",
    )
    .unwrap();
    let said: Vec<_> = board.sources.values().map(|origin| (origin.place(), origin.file_name().to_owned())).collect();
    let expected = [
        ("x/y.img", "y.img"),
        ("https://h/z.bin", "z.bin"),
        ("artifacts/u.bin of i:1", "u.bin"),
        ("", "FILE"),
        ("2 bytes at 4 of a/u-*.img of https://h/p.deb", "FILE"),
        ("the bytes from 7 of a/b.dtb of package p (arm64) of https://h s main", "FILE"),
    ];
    assert_eq!(said, expected.map(|(place, file)| (place.to_owned(), file.to_owned())));
}

#[test]
fn a_range_lies_within_its_file_or_is_none() {
    let range = |offset, length| ByteRange { offset, length };
    assert_eq!(range(2, Some(3)).within(5), Some(2..5));
    assert_eq!(range(2, None).within(5), Some(2..5));
    for (range, size) in
        [(range(2, Some(3)), 4), (range(5, None), 5), (range(1, Some(u64::MAX)), 5), (range(0, Some(0)), 5)]
    {
        assert_eq!(range.within(size), None, "{range:?}");
    }
}
