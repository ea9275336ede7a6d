//! Which modules each module needs, and in which order they are loaded.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::{BTreeMap, BTreeSet};

use super::Module;

/// Modules, the symbols that they export, and what each needs directly.
pub(super) struct Graph<'a> {
    pub(super) modules: &'a [&'a Module],
    /// Which module exports a symbol: of several the last.
    pub(super) owners: BTreeMap<&'a str, usize>,
    /// Symbols that an earlier module exports too, with the earlier one.
    pub(super) shadowed: Vec<(&'a str, usize)>,
    /// Modules that each module needs directly, in the order in which it names their symbols.
    needs: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(modules: &'a [&'a Module]) -> Self {
        let (mut owners, mut shadowed) = (BTreeMap::new(), Vec::new());
        for (index, module) in modules.iter().enumerate() {
            for export in &module.exports {
                if let Some(earlier) = owners.insert(export.name.as_str(), index).filter(|earlier| *earlier != index) {
                    shadowed.push((export.name.as_str(), earlier));
                }
            }
        }
        let needs = modules.iter().map(|module| {
            let mut seen = BTreeSet::new();
            let symbols = module.needs.iter().filter_map(|need| owners.get(bare(&need.name)).copied());
            symbols.filter(|owner| seen.insert(*owner)).collect()
        });
        let needs = needs.collect();
        Self { modules, owners, shadowed, needs }
    }

    fn needed_by(&self, module: usize) -> &[usize] {
        self.needs.get(module).map_or(&[], Vec::as_slice)
    }

    /// The place of each module in an order in which each stands in front of what it needs.
    ///
    /// # Errors
    /// The modules of one cycle, in order, where there is any.
    pub(super) fn ranks(&self) -> Result<Vec<usize>, Vec<usize>> {
        let mut users = vec![0_usize; self.modules.len()];
        for needed in self.needs.iter().flatten() {
            if let Some(users) = users.get_mut(*needed) {
                *users = users.saturating_add(1);
            }
        }
        let mut free: Vec<usize> = (0..users.len()).filter(|index| users.get(*index) == Some(&0)).collect();
        let (mut ranks, mut next) = (vec![usize::MAX; users.len()], 0_usize);
        while let Some(module) = free.pop() {
            if let Some(rank) = ranks.get_mut(module) {
                *rank = next;
            }
            next = next.saturating_add(1);
            for needed in self.needed_by(module) {
                let Some(users) = users.get_mut(*needed) else { continue };
                *users = users.saturating_sub(1);
                if *users == 0 {
                    free.push(*needed);
                }
            }
        }
        if next == ranks.len() { Ok(ranks) } else { Err(self.cycle(&users)) }
    }

    /// One cycle among the modules that still have users.
    fn cycle(&self, users: &[usize]) -> Vec<usize> {
        // Each of them has a user among them, so that a walk from user to user comes back.
        let left = |index: &usize| users.get(*index).is_some_and(|users| *users > 0);
        let mut user_of = BTreeMap::new();
        for module in (0..users.len()).filter(left) {
            for needed in self.needed_by(module) {
                user_of.entry(*needed).or_insert(module);
            }
        }
        let Some(mut at) = (0..users.len()).find(left) else { return Vec::new() };
        let (mut path, mut seen) = (Vec::new(), BTreeSet::new());
        while seen.insert(at) {
            path.push(at);
            let Some(user) = user_of.get(&at) else { return path };
            at = *user;
        }
        let mut cycle: Vec<usize> = path.into_iter().skip_while(|module| *module != at).collect();
        cycle.reverse();
        cycle
    }

    /// Everything that a module needs, directly or not, what is loaded last first.
    pub(super) fn all_needs(&self, module: usize, ranks: &[usize]) -> Vec<usize> {
        let (mut seen, mut open) = (BTreeSet::new(), self.needed_by(module).to_vec());
        while let Some(needed) = open.pop() {
            if seen.insert(needed) {
                open.extend_from_slice(self.needed_by(needed));
            }
        }
        let mut all: Vec<usize> = seen.into_iter().collect();
        all.sort_by_key(|needed| ranks.get(*needed));
        all
    }
}

/// On 64-bit PowerPC `.name` is the code of `name`.
pub(super) fn bare(symbol: &str) -> &str {
    symbol.strip_prefix('.').unwrap_or(symbol)
}
