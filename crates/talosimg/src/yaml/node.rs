//! YAML as a tree that still knows what was quoted, for texts of any shape.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

use crate::error::{ErrorKind, Result};

/// A node of a document, with the line on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Line, counted from 1.
    pub line: usize,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A scalar: its text, and whether it stands without quotes, so that it may be something else than a text.
    Scalar(String, bool),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the text. No key is there twice; merged maps (`<<`) are part of it.
    Map(Vec<(String, Node)>),
}

/// The largest text: a node takes no larger machine configuration over its API.
const TEXT_BUDGET: usize = 4 << 20;
/// Nodes of all documents together, those of aliases counted at each place.
const NODE_BUDGET: usize = 250_000;
/// Levels below each other.
const DEPTH: usize = 64;

impl Node {
    /// The value of a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Entries of a map; nothing for everything else.
    pub fn entries(&self) -> &[(String, Self)] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Items of a list; nothing for everything else.
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            NodeKind::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar that is not `null`.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar(text, plain) if !(*plain && is_null(text)) => Some(text),
            _ => None,
        }
    }

    /// `null` in one of its spellings.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar(text, true) if is_null(text))
    }

    fn count(&self) -> usize {
        let below = match &self.kind {
            NodeKind::Scalar(..) => 0,
            NodeKind::List(items) => items.iter().map(Self::count).fold(0, usize::saturating_add),
            NodeKind::Map(entries) => entries.iter().map(|(_, node)| node.count()).fold(0, usize::saturating_add),
        };
        below.saturating_add(1)
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Reads every document of a text. An empty one is `null`.
///
/// `what` names the text in errors.
pub fn nodes(what: &str, text: &str) -> Result<Vec<Node>> {
    let refuse = |message: String| ErrorKind::Yaml { what: what.to_owned(), message }.into();
    if text.len() > TEXT_BUDGET {
        return Err(refuse(format!("{} bytes of YAML, at most {TEXT_BUDGET} are read", text.len())));
    }
    let mut reader = Reader { open: Vec::new(), anchors: BTreeMap::new(), documents: Vec::new(), budget: NODE_BUDGET };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| refuse(error.to_string()))?;
        let line = span.start.line();
        reader.take(event, line).map_err(|problem| refuse(format!("line {line}: {problem}")))?;
    }
    Ok(reader.documents)
}

/// What an event can be refused for; the line is known outside.
type Taken = std::result::Result<(), String>;

/// A collection that has not ended.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<String>,
    keys: BTreeSet<String>,
    merged: Vec<(String, Node)>,
}

struct Reader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    documents: Vec<Node>,
    budget: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Taken {
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.put(Node { kind: NodeKind::Scalar(text.into_owned(), plain), line }, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => self.start(NodeKind::List(Vec::new()), anchor, line)?,
            Event::MappingStart(_, anchor, _) => self.start(NodeKind::Map(Vec::new()), anchor, line)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { mut node, anchor, merged, mut keys, .. }) = self.open.pop() {
                    if let NodeKind::Map(entries) = &mut node.kind {
                        for (key, value) in merged {
                            if keys.insert(key.clone()) {
                                entries.push((key, value));
                            }
                        }
                    }
                    self.put(node, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).ok_or("an alias stands inside of what it names")?.clone();
                self.spend(node.count())?;
                self.put(node, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn spend(&mut self, count: usize) -> Taken {
        self.budget =
            self.budget.checked_sub(count).ok_or_else(|| format!("more than {NODE_BUDGET} values, aliases counted"))?;
        Ok(())
    }

    fn start(&mut self, kind: NodeKind, anchor: usize, line: usize) -> Taken {
        if self.open.len() >= DEPTH {
            return Err(format!("more than {DEPTH} levels"));
        }
        self.open.push(Open {
            node: Node { kind, line },
            anchor,
            key: None,
            keys: BTreeSet::new(),
            merged: Vec::new(),
        });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Taken {
        self.spend(1)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut parent.node.kind, parent.key.take()) {
            (NodeKind::List(items), _) => items.push(node),
            (NodeKind::Map(_), None) => {
                let NodeKind::Scalar(key, plain) = node.kind else {
                    return Err("a key of a map is a list or a map".to_owned());
                };
                // What a quoted << is, is a key like others; the mark tells them apart until the value comes.
                parent.key = Some(if plain && key == "<<" { "\0<<".to_owned() } else { key });
            }
            (NodeKind::Map(_), Some(key)) if key == "\0<<" => {
                let maps = if node.items().is_empty() { vec![node] } else { node.items().to_vec() };
                for map in maps {
                    let NodeKind::Map(entries) = map.kind else {
                        return Err("`<<` takes a map or a list of maps".to_owned());
                    };
                    parent.merged.extend(entries);
                }
            }
            (NodeKind::Map(entries), Some(key)) => {
                if !parent.keys.insert(key.clone()) {
                    return Err(format!("the key {key:?} is there twice"));
                }
                entries.push((key, node));
            }
            (NodeKind::Scalar(..), _) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(node: &Node, path: &str, out: &mut Vec<String>) {
        match &node.kind {
            NodeKind::Scalar(text, plain) => {
                out.push(format!("{path}={text:?}{}", if *plain { "" } else { " quoted" }));
            }
            NodeKind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    paths(item, &format!("{path}[{index}]"), out);
                }
            }
            NodeKind::Map(entries) => {
                for (key, node) in entries {
                    paths(node, &format!("{path}.{key}"), out);
                }
            }
        }
    }

    #[test]
    fn trees_know_what_was_quoted() {
        let text = "a: &x {b: 1, c: \"1\"}\nd:\n  <<: *x\n  b: 2\n  '<<': 3\ne: [~, '~', *x, !!str 5]\nf: |\n  t\n---\n- y\n---\n";
        let mut found = Vec::new();
        for node in nodes("t", text).unwrap() {
            paths(&node, "", &mut found);
        }
        assert_eq!(
            found,
            [
                ".a.b=\"1\"",
                ".a.c=\"1\" quoted",
                ".d.b=\"2\"",
                ".d.<<=\"3\"",
                ".d.c=\"1\" quoted",
                ".e[0]=\"~\"",
                ".e[1]=\"~\" quoted",
                ".e[2].b=\"1\"",
                ".e[2].c=\"1\" quoted",
                ".e[3]=\"5\" quoted",
                ".f=\"t\\n\" quoted",
                "[0]=\"y\"",
                "=\"~\"",
            ]
        );
    }

    #[test]
    fn what_is_no_tree_is_refused_with_its_line() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            let line = format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(","));
            bomb.push_str(&line);
        }
        for (text, word) in [
            ("a: 1\na: 2\n", "line 2"),
            ("a: [\n", "line"),
            ("? [a]\n: b\n", "key of a map"),
            ("a: &x [*x]\n", "an alias"),
            ("<<: a\n", "takes a map"),
            (deep.as_str(), "levels"),
            (bomb.as_str(), "more than"),
            ("a: *nobody\n", ""),
        ] {
            let error = nodes("the text", text).unwrap_err().to_string();
            assert!(error.starts_with("the text: ") && error.contains(word), "{text}: {error}");
        }
    }
}
