//! Which of several modules of one name counts: `search` of depmod.d(5).

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

use imgcore::Report;

use crate::rules::{self, finding};

use super::{Module, hash};

/// Where modules are looked for, the most important place first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search(pub Vec<Place>);

/// One word behind `search`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder, relative to that of the release: `updates`, `extras`.
    Folder(String),
    /// `built-in`: every folder that is not named.
    BuiltIn,
}

impl Search {
    /// Reads the words behind `search`, `extras built-in` say; those in front come first.
    pub fn parse(words: &str) -> Self {
        let place = |word: &str| match word {
            "built-in" => Place::BuiltIn,
            folder => Place::Folder(folder.trim_end_matches('/').to_owned()),
        };
        Self(words.split([' ', '\t']).filter(|word| !word.is_empty()).map(place).collect())
    }

    /// How important the places of two paths are; a larger number is more. As in depmod, the place of the second is not
    /// looked up where the first matches.
    fn ranks(&self, path: &str, than: &str) -> (i64, i64) {
        let below = |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let (mut first, mut second, mut built_in) = (None, None, -1);
        for (place, rank) in self.0.iter().rev().zip(0_i64..) {
            match place {
                Place::BuiltIn => built_in = rank,
                Place::Folder(folder) if below(path, folder) => first = Some(rank),
                Place::Folder(folder) if below(than, folder) => second = Some(rank),
                Place::Folder(_) => {}
            }
        }
        (first.unwrap_or(built_in), second.unwrap_or(built_in))
    }
}

impl Default for Search {
    /// What depmod takes without a `search` line: `updates` comes first.
    fn default() -> Self {
        Self(vec![Place::Folder("updates".to_owned())])
    }
}

/// One module of each name, in the order in which depmod goes through them: as `modules.order` lists them, then the
/// others by their place in a hash table.
pub(super) fn choose<'a>(
    modules: &'a [Module],
    order: Option<&str>,
    search: &Search,
    report: &mut Report,
) -> Vec<&'a Module> {
    let mut chosen: BTreeMap<&str, &Module> = BTreeMap::new();
    for module in modules {
        let Some(known) = chosen.get_mut(module.name.as_str()) else {
            chosen.insert(&module.name, module);
            continue;
        };
        let (rank, than) = search.ranks(&module.path, &known.path);
        let undecided = (rank, than) == search.ranks(&known.path, &module.path);
        let (kept, left) = if rank > than && !undecided { (module, *known) } else { (*known, module) };
        *known = kept;
        report.push(if undecided {
            finding(rules::MOD_TWICE,
                format!(
                    "{} and {} are both the module {}, and no search rule tells which one counts; the first is taken, depmod \
                     takes the one that the file system lists first",
                    kept.path, left.path, kept.name
                ),
            )
            .of(left.path.clone())
            .help("remove one of them")
        } else {
            finding(rules::MOD_REPLACED, format!("{} replaces {}", kept.path, left.path)).of(kept.path.clone()).help("nothing, if it is meant to")
        });
    }
    let mut modules: Vec<&Module> = chosen.into_values().collect();
    modules.sort_by_key(|module| hash::place(&module.name, hash::MODULES));
    if let Some(order) = order.and_then(|order| line_numbers(order, report)) {
        modules.sort_by_key(|module| order.get(unpacked_path(module)).copied().unwrap_or(usize::MAX));
    }
    modules
}

/// Line numbers of `modules.order`; the last counts where a module is listed twice.
fn line_numbers<'a>(text: &'a str, report: &mut Report) -> Option<BTreeMap<&'a str, usize>> {
    /// depmod's buffer for a line, with line break and NUL.
    const LINE: usize = 4096;
    let whole = text.is_empty() || text.ends_with('\n');
    if !whole || text.lines().any(|line| line.len() > LINE.saturating_sub(2)) {
        let message =
            "modules.order is damaged: its last line has no end, or a line is too long; its order is not taken";
        report.push(
            finding(rules::MOD_ORDER, message).of("modules.order").help("install the modules of the kernel again"),
        );
        return None;
    }
    Some(text.split('\n').enumerate().map(|(number, line)| (line, number)).collect())
}

/// The path without what the compression adds, as `modules.order` has it.
fn unpacked_path(module: &Module) -> &str {
    let folder = module.path.rfind('/').map_or(0, |at| at.saturating_add(1));
    let end = folder.saturating_add(module.name.len()).saturating_add(".ko".len());
    module.path.get(..end).unwrap_or(&module.path)
}
