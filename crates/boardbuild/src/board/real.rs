//! The board files of this repository, compared with what the upstream overlays answer and write.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::*;

fn boards() -> PathBuf {
    testkit::workspace().join("boards")
}

/// Name of our board for a record: `milas/rock-5a` is `milas-rock-5a`, `seed/nanopi-m6` is `nanopi-m6`.
fn name_here(record: &str) -> String {
    record.trim_start_matches("seed/").replace('/', "-")
}

/// The lists and values of the answer's YAML, which has one shape.
fn answer(text: &str) -> (String, Vec<String>, u64) {
    let mut name = String::new();
    let mut arguments = Vec::new();
    let mut offset = 0;
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("name: ") {
            value.clone_into(&mut name);
        } else if let Some(value) = line.strip_prefix("    - ") {
            arguments.push(value.to_owned());
        } else if let Some(value) = line.trim().strip_prefix("offset: ") {
            offset = value.parse().unwrap();
        }
    }
    (name, arguments, offset)
}

fn pairs(value: &Value) -> Vec<(Value, String)> {
    let list = value.as_array().unwrap().iter();
    list.map(|pair| (pair[0].clone(), pair[1].as_str().unwrap().to_owned())).collect()
}

#[test]
fn every_recorded_overlay_is_a_board_with_the_same_answers() {
    let Some(path) = testkit::shared("reference/overlays.json") else { return };
    let records: BTreeMap<String, Value> = serde_json::from_slice(&testkit::read(path)).unwrap();
    assert_eq!(records.len(), 25);
    let mut corrected = Vec::new();
    for (record, recorded) in &records {
        let board = find(&boards(), &name_here(record)).unwrap();
        let overlay = board.overlay.as_ref().unwrap();
        let (name, mut arguments, offset) = answer(recorded["get_options"].as_str().unwrap());
        let mut tree: Vec<String> =
            pairs(&recorded["tree"]).into_iter().map(|(path, _)| path.as_str().unwrap().to_owned()).collect();

        // An overlay with one installer for several boards tells them apart by an option.
        let installer = recorded["installer"].as_str().unwrap_or(&name);
        assert_eq!(overlay.name, installer, "{record}");
        assert_eq!(overlay.options.get("board").unwrap_or(&overlay.name), &name, "{record}");

        for correction in &board.corrects {
            let faulty = match correction.what {
                Corrected::DtbPath => tree.iter_mut().find(|path| path.ends_with(&correction.upstream)),
                Corrected::KernelArgument => arguments.iter_mut().find(|argument| **argument == correction.upstream),
            };
            let faulty = faulty.unwrap_or_else(|| panic!("{record} has no such fault: {correction:?}"));
            *faulty = faulty.replace(&correction.upstream, &correction.here);
            corrected.push(record.as_str());
        }
        assert_eq!(overlay.kernel_args, arguments, "{record}");
        assert_eq!(overlay.partition_offset, offset, "{record}");
        assert_eq!(tree, [format!("boot/EFI/dtb/{}", board.dtb.as_ref().unwrap().path)], "{record}");

        // The seed's two files are its `vendor` scenario; everybody else writes one.
        let scenario = if record.starts_with("seed/") { Some("vendor") } else { None };
        let files = &board.scenario(scenario).unwrap().unwrap().1.files;
        let here: Vec<u64> = files.iter().map(|file| file.at_sector).collect();
        let writes = pairs(&recorded["writes"]);
        let there: Vec<u64> = writes.iter().map(|(lba, _)| lba.as_u64().unwrap()).collect();
        assert_eq!(here, there, "{record}");
        if let Some(file) = board.sources.get("u-boot").and_then(|origin| origin.file.as_ref()) {
            assert_eq!(*file, format!("artifacts/{}", writes[0].1), "{record}");
        }

        let option = board.spi.as_ref().map(|spi| spi.option.as_str());
        assert_eq!(option, recorded.get("with_spi_boot").map(|_| "spi_boot"), "{record}");
    }
    assert_eq!(corrected, ["rock64", "rockpi4", "rockpro64"]);
}

#[test]
fn pages_draw_with_the_sizes_that_were_measured() {
    let Some(path) = testkit::shared("testdata/expected/layout.tsv") else { return };
    let table = String::from_utf8(testkit::read(path)).unwrap();
    let mut compared = 0;
    for row in table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
        for name in row[0].trim_start_matches('(').split(", ") {
            let Ok(board) = find(&boards(), name) else { continue };
            let Some(size) = board.sources["u-boot"].size else { continue };
            assert_eq!(
                (size.to_string().as_str(), board.defconfig.unwrap().as_str()),
                (row[4], &*format!("{}_defconfig", row[1]))
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 22);
}

#[test]
fn the_trees_that_are_here_fit_their_boards() {
    let Some(folder) = testkit::shared("testdata/dtb-debian-6.12.107") else { return };
    for (board, file) in [
        ("nanopi-r6s", "rk3588s-nanopi-r6s.dtb"),
        ("nanopi-r6c", "rk3588s-nanopi-r6c.dtb"),
        ("rock5a", "rk3588s-rock-5a.dtb"),
        ("milas-rock-5a", "rk3588s-rock-5a.dtb"),
        ("rock5b", "rk3588-rock-5b.dtb"),
        ("milas-rock-5b", "rk3588-rock-5b.dtb"),
        ("orangepi-5", "rk3588s-orangepi-5.dtb"),
        ("rock64", "rk3328-rock64.dtb"),
        ("rockpro64", "rk3399-rockpro64.dtb"),
    ] {
        let board = find(&boards(), board).unwrap();
        let dtb = board.dtb.unwrap();
        let bytes = testkit::read(folder.join(file));
        let tree = dtbtool::Fdt::parse(&bytes).unwrap();
        let expectations = dtbtool::Expectations {
            compatible: dtb.compatible.clone(),
            require: dtb.require.clone(),
            file_name: Some(dtb.path.clone()),
        };
        let report = dtbtool::check_board(&tree, &expectations);
        let errors: Vec<_> = report
            .iter()
            .filter(|finding| finding.severity == imgcore::Severity::Error)
            .map(ToString::to_string)
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", board.name);
    }
}

#[test]
fn every_board_is_complete() {
    for name in names(&boards()).unwrap() {
        let board = find(&boards(), &name).unwrap();
        assert!(board.title.is_some() && board.soc.is_some(), "{name}");
        assert!(board.overlay.is_some() && board.dtb.is_some() && !board.boot.is_empty(), "{name}");
        let codes: Vec<_> = board.report.iter().map(|finding| finding.code).collect();
        assert_eq!(codes.len(), board.corrects.len(), "{name}: {codes:?}");
        let words: Vec<_> = dtbtool::REQUIRE_WORDS.iter().map(|word| word.word).collect();
        for word in &board.dtb.as_ref().unwrap().require {
            assert!(words.contains(&word.as_str()), "{name}: {word}");
        }
        // Where it has no fetchable origin, a role says in words what to give. An SPI image is made of the boot files.
        let derived = board.spi.as_ref().map(|spi| spi.source.as_str());
        for role in board.roles().into_iter().filter(|role| Some(*role) != derived) {
            assert!(board.sources.contains_key(role), "{name}: nothing says where {role} is");
        }
    }
}
