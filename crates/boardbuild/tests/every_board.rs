//! The layout proof over every board file, every scenario, with boot files of the sizes that were measured.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests read the repository")]

use boardbuild::{
    board::{Board, SECTOR},
    proof::layout::{Placement, prove},
};
use imgcore::Sectors;
use rkboot::{Soc, combined, idblock};
use talosimg::{Bootloader, Version, disk, release};

/// Every board file of the repository, with its path.
fn boards() -> Vec<Board> {
    let folder = testkit::workspace().join("boards");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.retain(|path| !path.ends_with("defaults.toml"));
    paths.sort();
    paths.iter().map(|path| Board::read(path).unwrap()).collect()
}

/// A FIT of exactly this size, with the data of its one image behind the tree.
fn fit(size: u64) -> Vec<u8> {
    use dtbtool::model::{DeviceTree, Node, Property};
    let make = |data: usize| {
        let image = Node::new("u-boot")
            .with(Property::u32("data-offset", 0))
            .with(Property::u32("data-size", u32::try_from(data).unwrap()));
        let config = Node::new("c").with(Property::string("loadables", "u-boot"));
        let mut tree = DeviceTree::new();
        *tree.root_mut() = Node::new("")
            .with_child(Node::new("images").with_child(image))
            .with_child(Node::new("configurations").with(Property::string("default", "c")).with_child(config));
        tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap()
    };
    let start = make(0).len().next_multiple_of(4);
    let mut bytes = make(usize::try_from(size).unwrap() - start);
    bytes.resize(start, 0);
    bytes.resize(usize::try_from(size).unwrap(), 0x5a);
    bytes
}

/// An idblock of exactly this size.
fn block(soc: Soc, size: u64) -> Vec<u8> {
    let boot = vec![1; usize::try_from(size - 2048 - 2048).unwrap()];
    let bytes = idblock::build(&idblock::Parts { soc, init: b"RK__init", boot: Some(&boot) }).unwrap();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

/// What was measured of a board's boot files: name, sizes of idblock and FIT, end on the medium, size of the SPI image.
type Measured = (String, u64, u64, u64, Option<u64>);

fn measured() -> Option<Vec<Measured>> {
    let text = std::fs::read_to_string(testkit::shared("testdata/expected/layout.tsv")?).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let mut sizes = Vec::new();
    for row in rows.filter(|row| row[3] != "-") {
        let number = |index: usize| row[index].parse::<u64>().unwrap();
        for name in row[0].split(", ") {
            let name = name.trim_matches(|c| c == '(' || c == ')').trim_end_matches(", for comparison");
            sizes.push((name.to_owned(), number(2), number(3), number(6), row[8].parse().ok()));
        }
    }
    Some(sizes)
}

fn placement(name: &str, at_sector: u64, bytes: &[u8], soc: Soc) -> Placement {
    let (file, _) = rkboot::examine(bytes, Some(soc));
    let written = bytes.len() as u64;
    Placement { name: name.to_owned(), file, start: at_sector * SECTOR, written, trimmed: false }
}

#[test]
fn boot_files_of_measured_sizes_fit_every_board_and_one_sector_more_than_the_room_does_not() {
    let Some(measured) = measured() else { return };
    let mut proved = 0;
    for board in boards() {
        let Some(soc) = board.soc.as_deref().and_then(Soc::from_name) else { continue };
        // A board that was not measured gets the largest files that were.
        let largest = measured.iter().max_by_key(|(_, _, _, end, _)| *end).unwrap();
        let own = measured.iter().find(|(name, ..)| *name == board.name).unwrap_or(largest);
        let (_, idblock_size, fit_size, end, _) = own.clone();
        let (idblock, fit) = (block(soc, idblock_size), fit(fit_size));
        let combined = combined::plan(&idblock, &fit, &combined::CardOptions::default()).unwrap().to_bytes();
        for (scenario, definition) in &board.boot {
            let placements: Vec<_> = definition
                .files
                .iter()
                .map(|file| {
                    let bytes = match (definition.files.len(), file.at_sector) {
                        (1, _) => &combined,
                        (_, 64) => &idblock,
                        _ => &fit,
                    };
                    placement(&file.source, file.at_sector, bytes, soc)
                })
                .collect();
            for (talos, bootloader) in
                [("v1.10.6", Bootloader::SdBoot), ("v1.13.9", Bootloader::SdBoot), ("v1.13.9", Bootloader::Grub)]
            {
                let version = Version::parse(talos).unwrap();
                let spec = disk::table(
                    release::find(&version).unwrap(),
                    bootloader,
                    4 << 30,
                    Sectors(board.partition_offset()),
                );
                let (map, report) = prove(&spec, &placements, &board.reserved).unwrap();
                assert!(!report.has_errors(), "{} {scenario} {talos}: {report:?}", board.name);
                let last = map.sorted().iter().filter(|range| range.range.end <= 10_486_784).map(|r| r.range.end).max();
                if own.0 == board.name && definition.files.len() == 1 {
                    assert_eq!(last, Some(end), "{}: {map:?}", board.name);
                }
                // The array begins at LBA 2 + offset; the same file, longer by what is free and one byte, is refused.
                let room = (board.partition_offset() + 2) * SECTOR;
                if let [only] = placements.as_slice()
                    && only.start < room
                {
                    let mut long = combined.clone();
                    long.resize(usize::try_from(room - only.start).unwrap(), 0);
                    let fits = placement(&only.name, only.start / SECTOR, &long, soc);
                    assert!(!prove(&spec, &[fits], &[]).unwrap().1.has_errors(), "{}", board.name);
                    long.push(0);
                    let over = placement(&only.name, only.start / SECTOR, &long, soc);
                    let found = prove(&spec, &[over], &[]).unwrap().1;
                    assert!(found.iter().any(|finding| finding.code == "LAY001"), "{}: {found:?}", board.name);
                }
                proved += 1;
            }
        }
    }
    assert!(proved > 3, "{proved}");
}

#[test]
fn images_for_spi_flash_have_the_measured_sizes() {
    let Some(measured) = measured() else { return };
    let mut seen = 0;
    for board in boards() {
        let soc = board.soc.as_deref().and_then(Soc::from_name);
        let row = measured.iter().find(|(name, ..)| *name == board.name);
        let (Some(soc), Some((_, idblock_size, fit_size, _, Some(size)))) = (soc, row) else { continue };
        // The one board whose SPL looks elsewhere (`rockchip-boot.md` §2.1).
        let fit_offset = (board.name == "odroid-m1").then_some(0x10_0000);
        let options = combined::SpiOptions { fit_offset, flash_size: Some(16 << 20) };
        let (idblock, fit) = (block(soc, *idblock_size), fit(*fit_size));
        let plan = combined::plan_spi(soc, &idblock, &fit, &options).unwrap();
        assert_eq!(plan.size(), *size, "{}", board.name);
        let (file, report) = rkboot::examine(&plan.to_bytes(), Some(soc));
        assert!(!report.has_errors(), "{}: {report:?}", board.name);
        assert!(rkboot::ranges("spi", &file, 0, *size).overlaps().is_empty());
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}
