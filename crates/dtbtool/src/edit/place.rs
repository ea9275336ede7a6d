//! Where in an owned tree a node is.

use std::collections::BTreeSet;

use super::refuse;
use crate::{
    error::Error,
    model::{DeviceTree, Node, Property},
    tree::shorten,
};

/// Subnodes that are compared with a mistyped name.
const CANDIDATES: usize = 2000;

/// The way from the root: which subnode at each level.
pub(super) fn find(tree: &DeviceTree, name: &str) -> Result<Vec<usize>, Error> {
    let text = |list: &str, key: &str| -> Option<String> {
        let value = tree.root().child(list)?.property(key)?;
        let (last, path) = value.split_last()?;
        (*last == 0).then(|| String::from_utf8_lossy(path).into_owned()).filter(|path| path.starts_with('/'))
    };
    let path = if name.starts_with('/') {
        name.to_owned()
    } else if let Some(label) = name.strip_prefix('&') {
        if let Some(path) = label.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            path.to_owned()
        } else if let Some(path) = text("__symbols__", label) {
            path
        } else {
            let known = tree.root().child("__symbols__").map(|node| node.properties.as_slice());
            let Some(known) = known else {
                return refuse(shorten(name), "the tree has no /__symbols__, so no labels; name the node by its path");
            };
            let near = imgcore::nearest(label, known.iter().take(CANDIDATES).map(|known| known.name.as_str()));
            return refuse(
                shorten(name),
                match near {
                    Some(near) => format!("no such label; did you mean &{}?", shorten(near)),
                    None => "no such label in /__symbols__".to_owned(),
                },
            );
        }
    } else {
        let (alias, rest) = name.split_once('/').unwrap_or((name, ""));
        let Some(start) = text("aliases", alias) else {
            let known = tree.root().child("aliases").map(|node| node.properties.as_slice()).unwrap_or_default();
            let near = imgcore::nearest(alias, known.iter().take(CANDIDATES).map(|known| known.name.as_str()));
            return refuse(
                shorten(name),
                match near {
                    Some(near) => format!("no such alias; did you mean {}?", shorten(near)),
                    None => "neither an absolute path, nor a label (&name), nor an alias of the tree".to_owned(),
                },
            );
        };
        format!("{start}/{rest}")
    };
    let mut at = Vec::new();
    let mut node = tree.root();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let children = node.children.as_slice();
        let exact = children.iter().position(|child| child.name == part);
        let found = exact.or_else(|| {
            let base = |child: &Node| child.name.split_once('@').is_some_and(|(base, _)| base == part);
            children.iter().position(base)
        });
        let Some((index, child)) = found.and_then(|index| Some((index, children.get(index)?))) else {
            let near = imgcore::nearest(part, children.iter().take(CANDIDATES).map(|child| child.name.as_str()));
            let parent = shorten(&self::path(tree, &at));
            return refuse(
                shorten(name),
                match near {
                    Some(near) => format!("{parent} has no node {}; did you mean {}?", shorten(part), shorten(near)),
                    None => format!("{parent} has no node {}", shorten(part)),
                },
            );
        };
        at.push(index);
        node = child;
    }
    Ok(at)
}

pub(super) fn node<'t>(tree: &'t DeviceTree, at: &[usize]) -> Option<&'t Node> {
    at.iter().try_fold(tree.root(), |node, index| node.children.get(*index))
}

pub(super) fn node_mut<'t>(tree: &'t mut DeviceTree, at: &[usize]) -> Option<&'t mut Node> {
    at.iter().try_fold(tree.root_mut(), |node, index| node.children.get_mut(*index))
}

pub(super) fn path(tree: &DeviceTree, at: &[usize]) -> String {
    let mut path = String::new();
    let mut node = tree.root();
    for index in at {
        let Some(child) = node.children.get(*index) else { break };
        path.push('/');
        path.push_str(&child.name);
        node = child;
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

/// Calls for every node of a tree, parents first.
pub(super) fn each<'t>(root: &'t Node, mut visit: impl FnMut(&'t Node)) {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        visit(node);
        open.extend(node.children.iter().rev());
    }
}

fn own(node: &Node) -> Option<u32> {
    let cell = |name: &str| node.property(name)?.try_into().ok().map(u32::from_be_bytes);
    cell("phandle").or_else(|| cell("linux,phandle")).filter(|phandle| !matches!(*phandle, 0 | u32::MAX))
}

pub(super) fn phandles(root: &Node) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    each(root, |node| found.extend(own(node)));
    found
}

/// The node's phandle; without one it gets the next number.
pub(super) fn phandle(tree: &mut DeviceTree, at: &[usize]) -> Result<u32, Error> {
    if let Some(phandle) = node(tree, at).and_then(own) {
        return Ok(phandle);
    }
    let next = phandles(tree.root()).last().map_or(1, |last| last.saturating_add(1));
    if next == u32::MAX {
        return refuse(path(tree, at), "there is no free phandle for it");
    }
    if let Some(node) = node_mut(tree, at) {
        node.set(Property::u32("phandle", next));
    }
    Ok(next)
}
