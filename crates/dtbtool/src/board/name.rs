//! The file name that the boot program asks for.

use imgcore::{Finding, Report};

use super::node_range;
use crate::{rules, tree::shorten, view::Fdt};

/// `rockchip,rk3588s` → 3588: the number alone, since makers disagree about the letter.
fn chip_number(chip: &str) -> Option<&str> {
    let digits = ["rk", "px", "rv"].iter().find_map(|family| chip.strip_prefix(family))?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).filter(|number| !number.is_empty())
}

pub(super) fn check(fdt: &Fdt<'_>, file_name: &str, report: &mut Report) {
    let shown = shorten(file_name);
    let (folder, name) = file_name.rsplit_once('/').map_or((None, file_name), |(folder, name)| (Some(folder), name));
    let mut odd = |message: String, help: String| {
        report.push(Finding::warning(rules::FILE_NAME, message).at(node_range(fdt.root())).help(help));
    };
    if folder.is_some_and(|folder| folder.rsplit('/').next() != Some("rockchip")) {
        odd(
            format!("{shown} is not in a folder \"rockchip\""),
            "U-Boot asks for rockchip/<name>.dtb on a chip of this maker".to_owned(),
        );
    }
    let Some(stem) = name.strip_suffix(".dtb") else {
        return odd(format!("{shown} does not end with .dtb"), "U-Boot asks for a name that does".to_owned());
    };
    let (chips, boards): (Vec<&str>, Vec<&str>) =
        fdt.root().compatible().partition(|text| text.strip_prefix("rockchip,").and_then(chip_number).is_some());
    let chips: Vec<&str> = chips.into_iter().filter_map(|text| text.strip_prefix("rockchip,")).collect();
    let Some((chip, board)) = stem.split_once('-').filter(|(chip, _)| chip_number(chip).is_some()) else {
        let help = format!("U-Boot asks for a name like {}-<board>.dtb", chips.first().unwrap_or(&"rk3588"));
        return odd(format!("{shown} does not begin with the chip's name"), help);
    };
    if !chips.is_empty() && !chips.iter().any(|known| chip_number(known) == chip_number(chip)) {
        let message = format!("{shown} is for {chip}, the tree is for {}", shorten(&chips.join(", ")));
        let help = "is this the right tree, under the right name?";
        report.push(Finding::error(rules::FILE_SOC, message).at(node_range(fdt.root())).help(help));
        return;
    }
    let names = || {
        boards.iter().flat_map(|text| {
            let device = text.split_once(',').map_or(*text, |(_, device)| device);
            [device.to_owned(), text.replace(',', "-")]
        })
    };
    if !boards.is_empty() && !names().any(|known| known == board) {
        let expected: Vec<String> = names().take(6).map(|known| format!("{chip}-{}.dtb", shorten(&known))).collect();
        let message =
            format!("{shown} does not go with a tree that is compatible with {}", shorten(&boards.join(", ")));
        let help =
            format!("expected one of {}; U-Boot loads a tree only under the name it asks for", expected.join(", "));
        odd(message, help);
    }
}
