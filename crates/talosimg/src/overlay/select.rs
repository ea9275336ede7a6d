//! Which board is meant, and whether every option fits it. An option that nobody checks is a board that stays dark
//! (`users-and-peers.md` T3).

use super::{Board, ExtraOptions, OptionValue, Options, OverlayJson, PartitionOptions, refuse};
use crate::error::Result;

/// The board that the options pick: by `board`, which may be left out when there is one. Every option must be one
/// that the board knows, with the value that the board has.
pub fn select<'a>(overlay: &'a OverlayJson, extra: &ExtraOptions) -> Result<&'a Board> {
    let board = match (extra.0.get("board"), overlay.boards.as_slice()) {
        (Some(wanted), boards) => boards
            .iter()
            .find(|board| matches!(wanted, OptionValue::Scalar(text) if text == board.called()))
            .ok_or_else(|| unknown_board(overlay, wanted))?,
        (None, [only]) => only,
        (None, _) => {
            // A misspelt `board` is the likelier reason than none at all.
            let known = overlay.boards.iter().flat_map(|board| board.options.keys()).map(String::as_str);
            let known: Vec<_> = known.chain(["board"]).collect();
            if let Some(stranger) = extra.0.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(unknown_option(stranger, known.iter().copied(), &format!("accepted: {}", list(&known))));
            }
            return Err(refuse(format!(
                "the option board is missing, and overlay {} has more than one; expected board: one of {}",
                overlay.name,
                names(overlay)
            )));
        }
    };
    for (key, given) in &extra.0 {
        if board.spi.as_ref().is_some_and(|spi| spi.option == *key) {
            spi_boot(key, given)?;
            continue;
        }
        let expected = match board.options.get(key) {
            Some(expected) => expected,
            None if key == "board" => board.called(),
            None => {
                let spi = board.spi.iter().map(|spi| spi.option.as_str());
                let known = board.options.keys().map(String::as_str).chain(spi);
                return Err(unknown_option(key, known, &accepted(board)));
            }
        };
        if !matches!(given, OptionValue::Scalar(text) if text == expected) {
            return Err(refuse(format!(
                "option {key}: {given} does not fit board {}, which has {expected:?}; give that value or leave the \
                 option out",
                board.called()
            )));
        }
    }
    Ok(board)
}

/// Whether the options say that the board starts from its SPI flash, so that the disk gets no boot files. To be asked
/// after [`select`], which refuses what is neither true nor false.
pub fn boots_from_spi(board: &Board, extra: &ExtraOptions) -> bool {
    let given = board.spi.as_ref().and_then(|spi| Some((&spi.option, extra.0.get(&spi.option)?)));
    given.is_some_and(|(key, value)| matches!(spi_boot(key, value), Ok(true)))
}

fn spi_boot(key: &str, given: &OptionValue) -> Result<bool> {
    match given {
        OptionValue::Scalar(text) if text == "true" => Ok(true),
        OptionValue::Scalar(text) if text == "false" => Ok(false),
        _ => Err(refuse(format!(
            "option {key}: {given} is neither true (the board starts from SPI flash, no boot files are written to the \
             disk) nor false"
        ))),
    }
}

/// What `get-options` answers for a board.
pub fn get_options(board: &Board) -> Options {
    Options {
        name: board.called().to_owned(),
        kernel_args: board.kernel_args.clone(),
        partition_options: PartitionOptions { offset: board.partition_offset },
    }
}

fn unknown_board(overlay: &OverlayJson, wanted: &OptionValue) -> crate::Error {
    let hint = match wanted {
        OptionValue::Scalar(text) => did_you_mean(text, overlay.boards.iter().map(Board::called)),
        _ => String::new(),
    };
    refuse(format!("unknown board {wanted}:{hint} overlay {} has {}", overlay.name, names(overlay)))
}

fn unknown_option<'a>(key: &str, known: impl Iterator<Item = &'a str>, accepted: &str) -> crate::Error {
    refuse(format!("unknown overlay option `{}`:{} {accepted}", key.escape_debug(), did_you_mean(key, known)))
}

fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    imgcore::nearest(word, known).map(|near| format!(" did you mean `{near}`?")).unwrap_or_default()
}

fn accepted(board: &Board) -> String {
    let mut options: Vec<_> = board.options.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    options.extend(board.spi.iter().map(|spi| format!("{}: true or false", spi.option)));
    if options.is_empty() {
        return format!("board {} takes no options", board.called());
    }
    format!("board {} accepts {}", board.called(), options.join(", "))
}

fn names(overlay: &OverlayJson) -> String {
    overlay.boards.iter().map(Board::called).collect::<Vec<_>>().join(", ")
}

fn list(words: &[&str]) -> String {
    let words: std::collections::BTreeSet<_> = words.iter().copied().collect();
    words.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{SCHEMA, SpiFile};

    fn board(name: &str, options: &[(&str, &str)]) -> Board {
        Board {
            name: name.to_owned(),
            options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            kernel_args: vec!["a=1".to_owned(), "a=2".to_owned()],
            partition_offset: 20_480,
            files: vec![],
            esp: vec![],
            spi: None,
        }
    }

    fn with_spi() -> OverlayJson {
        let spi = SpiFile {
            digest: imgcore::Digest::of(b""),
            option: "spi_boot".to_owned(),
            path: "arm64/u-boot/rock5b/spi.bin".to_owned(),
            size: 0,
        };
        overlay(vec![Board { spi: Some(spi), ..board("rock5b", &[]) }])
    }

    #[test]
    fn the_option_of_a_board_with_spi_flash_is_true_or_false() {
        for (text, expected) in [
            ("", Ok(false)),
            ("spi_boot: true", Ok(true)),
            ("spi_boot: false", Ok(false)),
            ("{board: rock5b, spi_boot: true}", Ok(true)),
            ("spi_boot: yes please", Err("neither true")),
            ("spi_boot: [true]", Err("neither true")),
            ("spi_bot: true", Err("did you mean `spi_boot`?")),
        ] {
            let overlay = with_spi();
            let extra = ExtraOptions::parse(text).unwrap();
            let found = select(&overlay, &extra).map(|board| boots_from_spi(board, &extra));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let extra = ExtraOptions::parse("spi_boot: true").unwrap();
        assert!(select(&one(), &extra).is_err());
    }

    fn overlay(boards: Vec<Board>) -> OverlayJson {
        OverlayJson { name: "rk3588".to_owned(), schema: SCHEMA, boards }
    }

    fn one() -> OverlayJson {
        overlay(vec![board("nanopi-m6", &[("board", "nanopi-m6"), ("chipset", "rk3588s")])])
    }

    fn two() -> OverlayJson {
        overlay(vec![
            board("milas-rock-5a", &[("board", "rock-5a"), ("chipset", "rk3588s")]),
            board("milas-rock-5b", &[("board", "rock-5b"), ("chipset", "rk3588")]),
        ])
    }

    #[test]
    fn options_pick_a_board_or_say_what_would() {
        let bare = || overlay(vec![board("demo", &[])]);
        let table: &[(OverlayJson, &str, std::result::Result<&str, &str>)] = &[
            (one(), "", Ok("nanopi-m6")),
            (one(), "{}", Ok("nanopi-m6")),
            (one(), "board: nanopi-m6", Ok("nanopi-m6")),
            (one(), "{board: nanopi-m6, chipset: rk3588s}", Ok("nanopi-m6")),
            (one(), "chipset: rk3588s", Ok("nanopi-m6")),
            (two(), "board: rock-5b", Ok("rock-5b")),
            (bare(), "", Ok("demo")),
            (bare(), "board: demo", Ok("demo")),
            (
                one(),
                "board: nanopi-m5",
                Err("unknown board \"nanopi-m5\": did you mean `nanopi-m6`? overlay rk3588 has nanopi-m6"),
            ),
            (two(), "board: [rock-5a]", Err("unknown board a list: overlay rk3588 has rock-5a, rock-5b")),
            (two(), "board: pi", Err("unknown board \"pi\": overlay rk3588 has rock-5a, rock-5b")),
            (
                two(),
                "",
                Err("the option board is missing, and overlay rk3588 has more than one; expected board: one of \
                     rock-5a, rock-5b"),
            ),
            (
                two(),
                "chipset: rk3588",
                Err("the option board is missing, and overlay rk3588 has more than one; expected board: one of \
                     rock-5a, rock-5b"),
            ),
            (
                two(),
                "borad: rock-5a",
                Err("unknown overlay option `borad`: did you mean `board`? accepted: board, chipset"),
            ),
            (
                one(),
                "chipst: rk3588s",
                Err("unknown overlay option `chipst`: did you mean `chipset`? board nanopi-m6 accepts board: \
                     nanopi-m6, chipset: rk3588s"),
            ),
            (
                one(),
                "spi_boot: true",
                Err("unknown overlay option `spi_boot`: board nanopi-m6 accepts board: nanopi-m6, chipset: rk3588s"),
            ),
            (
                two(),
                "{board: rock-5b, chipset: rk3588s}",
                Err("option chipset: \"rk3588s\" does not fit board rock-5b, which has \"rk3588\"; give that value \
                     or leave the option out"),
            ),
            (
                one(),
                "chipset:",
                Err("option chipset: null does not fit board nanopi-m6, which has \"rk3588s\"; give that value or \
                     leave the option out"),
            ),
            (bare(), "x: 1", Err("unknown overlay option `x`: board demo takes no options")),
        ];
        for (overlay, text, expected) in table {
            let extra = ExtraOptions::parse(text).unwrap();
            let chosen = select(overlay, &extra).map(Board::called).map_err(|error| error.to_string());
            assert_eq!(chosen.as_ref().map(|name| *name).map_err(String::as_str), *expected, "{text}");
        }
    }

    #[test]
    fn every_misspelling_of_every_key_is_refused() {
        for key in ["board", "chipset"] {
            let letters: Vec<char> = key.chars().collect();
            for at in 0..letters.len() {
                let mut missing = letters.clone();
                missing.remove(at);
                let mut doubled = letters.clone();
                doubled.insert(at, letters[at]);
                let mut upper = letters.clone();
                upper[at] = upper[at].to_ascii_uppercase();
                for wrong in [missing, doubled, upper] {
                    let wrong: String = wrong.into_iter().collect();
                    let extra = ExtraOptions([(wrong.clone(), "nanopi-m6".into())].into());
                    let error = select(&one(), &extra).unwrap_err().to_string();
                    assert!(error.contains(&format!("did you mean `{key}`?")), "{wrong}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_answer_keeps_the_arguments_in_order_and_repeated() {
        let options = get_options(&board("m", &[]));
        assert_eq!(options.kernel_args, ["a=1", "a=2"]);
        assert_eq!((options.name.as_str(), options.partition_options.offset), ("m", 20_480));
    }
}
