//! The boot-flow proof: the board's boot loader starts what the image carries.
//!
//! A vendor U-Boot without EFI in front of an image that is started by EFI gives a board that stays dark: the second
//! fault of the overlay that this project began with.

use std::fmt::Write as _;

use imgcore::Report;
use rkboot::{
    flow::{self, Abilities, Carried, FirstStage, Medium},
    pairing,
};

use crate::board::Board;

/// What can be wrong with a boot chain without anything being damaged.
const UNFIT: [&str; 6] = ["FLW001", "FLW008", "FLW014", "FLW015", "FLW017", "FLW018"];

/// The stages of a boot loader.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Who starts first, after the DRAM.
    first: Option<First>,
    /// What that starts.
    second: Option<Second>,
    /// What was found in files that are neither.
    rest: Report,
}

#[derive(Debug)]
struct First {
    owner: String,
    start: u64,
    stage: FirstStage,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Second {
    owner: String,
    /// Where the file lies on the medium, zero where that does not matter.
    start: u64,
    abilities: Abilities,
    bytes: Vec<u8>,
    report: Report,
}

impl Chain {
    /// Takes the stages that are in a boot file. `start` is added to the ranges of findings.
    pub(crate) fn add(&mut self, owner: &str, start: u64, file: &rkboot::BootFile, bytes: &[u8]) {
        if self.first.is_none()
            && let Some(stage) = flow::first_stage(bytes)
        {
            self.first = Some(First { owner: owner.to_owned(), start, stage, bytes: bytes.to_vec() });
        }
        let only_first = matches!(file.kind, rkboot::BootFileKind::IdBlock(_) | rkboot::BootFileKind::IdBlockV1 { .. });
        if self.second.is_some() || only_first {
            return;
        }
        let (abilities, report) = flow::abilities(bytes);
        match abilities {
            Some(abilities) => {
                self.second = Some(Second { owner: owner.to_owned(), start, abilities, bytes: bytes.to_vec(), report });
            }
            // A trust image, say: what it is has been said, and that it starts nothing is said at the end.
            None => self.rest.extend(report.owned_by(owner, start)),
        }
    }

    /// What the second stage can do, if there is one that is known.
    pub(crate) fn abilities(&self) -> Option<&Abilities> {
        Some(&self.second.as_ref()?.abilities)
    }

    fn first_stage(&self) -> Option<&FirstStage> {
        self.first.as_ref().map(|first| &first.stage)
    }

    /// The name of the scenario that the two stages make.
    pub(crate) fn scenario(&self) -> Option<&'static str> {
        let second = self.second.as_ref()?;
        flow::scenario(self.first_stage(), &second.abilities, &second.bytes).0.map(flow::Scenario::name)
    }

    /// Compares the chain with what a boot partition carries. `board` and its scenario name what works instead.
    pub(crate) fn check(&self, carried: &Carried, board: Option<(&Board, Option<&str>)>) -> Report {
        let mut report = self.rest.clone();
        let Some(second) = &self.second else {
            if let Some(first) = &self.first {
                report.extend(flow::check_missing(Some(&first.stage), carried).owned_by(&first.owner, first.start));
            }
            return report;
        };
        let mut found = second.report.clone();
        found.extend(flow::scenario(self.first_stage(), &second.abilities, &second.bytes).1);
        found.extend(flow::check(&second.abilities, carried));
        for mut finding in found {
            // The FIT's reader and the check of its stage both say that it is not known; once is enough.
            if finding.code == "FLW005" && report.iter().any(|known| known.code == "FLW005") {
                continue;
            }
            if let Some((board, scenario)) = board
                && UNFIT.contains(&finding.code)
            {
                let others = other_scenarios(board, scenario);
                let help = finding.help.take().unwrap_or_default();
                finding.help = Some(if help.is_empty() { others } else { format!("{help}\n{others}") });
            }
            if let Some(range) = &mut finding.range {
                *range = range.start.saturating_add(second.start)..range.end.saturating_add(second.start);
            }
            if finding.owner.is_none() {
                finding.owner = Some(second.owner.clone());
            }
            report.push(finding);
        }
        if let Some(first) = &self.first {
            report.extend(pairing::check(&first.bytes, &second.bytes).owned_by(&first.owner, first.start));
        }
        // Whoever looks at a dark board has to know what else may have started.
        let media = flow::check_media(Some(&second.abilities), Medium::Sd);
        report.extend(media.owned_by(&second.owner, 0));
        report
    }

    /// The chain in one line, for people.
    pub(crate) fn describe(&self) -> Option<String> {
        let abilities = self.abilities()?;
        let version = abilities.version.as_deref().unwrap_or(abilities.kind.describe());
        let media: Vec<_> = abilities
            .targets
            .iter()
            .map(|target| match target.medium {
                Some(medium) if medium.name() != target.name => format!("{} ({})", target.name, medium.name()),
                _ => target.name.clone(),
            })
            .collect();
        let mut text = format!("{version} starts {}", abilities.starts());
        if !media.is_empty() {
            let _ = write!(text, ", from {}", media.join(", "));
        }
        if let Some(tree) = &abilities.fdtfile {
            let _ = write!(text, "; asks for {tree}");
        }
        if let Some(scenario) = self.scenario() {
            let _ = write!(text, "; scenario {scenario}");
        }
        Some(text)
    }

    /// The chain for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let Some(abilities) = self.abilities() else { return serde_json::Value::Null };
        serde_json::json!({
            "scenario": self.scenario(),
            "firstStage": self.first_stage().map(|first| serde_json::json!({
                "kind": first.kind.name(),
                "version": first.version,
            })),
            "secondStage": {
                "kind": abilities.kind.name(),
                "version": abilities.version,
                "efi": abilities.efi.name(),
                "extlinux": abilities.extlinux.name(),
                "bootScripts": abilities.boot_scripts.name(),
                "android": abilities.android.name(),
                "efiVariables": abilities.efi_variables.name(),
                "fdtfile": abilities.fdtfile,
                "targets": abilities.targets.iter().map(|target| &target.name).collect::<Vec<_>>(),
            },
        })
    }
}

fn other_scenarios(board: &Board, scenario: Option<&str>) -> String {
    let mut others: Vec<&str> =
        board.boot.keys().map(String::as_str).filter(|name| Some(*name) != scenario && *name != "vendor").collect();
    // The one that most users want comes first.
    others.sort_by_key(|name| *name != "mainline");
    match others.as_slice() {
        [] => format!(
            "the board file of {} has no other scenario: add one with a U-Boot that starts EFI programs",
            board.name
        ),
        [first] => format!("{} has another scenario: --boot {first}", board.name),
        [first, rest @ ..] => {
            format!("{} has other scenarios: --boot {first}, else {}", board.name, rest.join(", "))
        }
    }
}
