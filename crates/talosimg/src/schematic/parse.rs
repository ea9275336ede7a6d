//! A user's schematic.

use imgcore::nearest;

use super::{Customization, Overlay, Schematic, SecureBoot, refuse};
use crate::{
    error::Result,
    goyaml::{self, Value},
    yaml::{self, Node},
};

impl Schematic {
    /// Reads a schematic as the Image Factory does: YAML or JSON, unknown keys refused, the first document only.
    ///
    /// # Errors
    /// No YAML, another shape, a key that no schematic has, a value that Go would write in another form.
    pub fn parse(text: &str) -> Result<Self> {
        let document = yaml::nodes("schematic", text)?.into_iter().next();
        let Some(root) = document.filter(|root| !root.is_null()) else { return Ok(Self::default()) };
        let mut schematic = Self::default();
        for (key, node) in map(&root, "", &["owner", "overlay", "customization"])? {
            match key {
                "owner" => schematic.owner = text_of(node, key)?,
                "overlay" => schematic.overlay = overlay(node)?,
                _ => schematic.customization = customization(node)?,
            }
        }
        Ok(schematic)
    }
}

/// Entries of a map whose keys are known; `null` has none.
fn map<'a>(node: &'a Node, place: &str, known: &[&'static str]) -> Result<Vec<(&'static str, &'a Node)>> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    let named = if place.is_empty() { "the schematic" } else { place };
    if !matches!(node.kind, yaml::NodeKind::Map(_)) {
        return Err(refuse(format!("line {}: {named} is no map", node.line)));
    }
    node.entries()
        .iter()
        .map(|(key, value)| {
            if let Some(name) = known.iter().find(|name| *name == key) {
                return Ok((*name, value));
            }
            let near = nearest(key, known.iter().copied());
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let known = known.join(", ");
            Err(refuse(format!("line {}: {named} has no key {key:?}, only {known}{near}", value.line)))
        })
        .collect()
}

/// Any scalar is a text for Go; `null` is the empty one.
fn text_of(node: &Node, place: &str) -> Result<String> {
    match (node.text(), node.is_null()) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, true) => Ok(String::new()),
        (None, false) => Err(refuse(format!("line {}: {place} is no text", node.line))),
    }
}

fn texts_of(node: &Node, place: &str) -> Result<Vec<String>> {
    if !node.is_null() && !matches!(node.kind, yaml::NodeKind::List(_)) {
        return Err(refuse(format!("line {}: {place} is no list", node.line)));
    }
    node.items().iter().map(|item| text_of(item, place)).collect()
}

fn number_of(node: &Node, place: &str) -> Result<u64> {
    match goyaml::read(node).map_err(refuse)? {
        Value::Null => Ok(0),
        Value::Int(value) if value >= 0 => Ok(value.unsigned_abs()),
        Value::Uint(value) => Ok(value),
        _ => Err(refuse(format!("line {}: {place} is no number", node.line))),
    }
}

fn bool_of(node: &Node, place: &str) -> Result<bool> {
    match goyaml::read(node).map_err(refuse)? {
        Value::Null => Ok(false),
        Value::Bool(value) => Ok(value),
        // Where a boolean is wanted, Go takes the words of YAML 1.1 as well.
        Value::Str(word) if ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"].contains(&word.as_str()) => Ok(true),
        Value::Str(word) if ["n", "N", "no", "No", "NO", "off", "Off", "OFF"].contains(&word.as_str()) => Ok(false),
        _ => Err(refuse(format!("line {}: {place} is neither true nor false", node.line))),
    }
}

fn overlay(node: &Node) -> Result<Overlay> {
    let mut overlay = Overlay::default();
    for (key, node) in map(node, "overlay", &["image", "name", "options"])? {
        match key {
            "image" => overlay.image = text_of(node, "overlay.image")?,
            "name" => overlay.name = text_of(node, "overlay.name")?,
            _ => match goyaml::read(node).map_err(|problem| refuse(format!("overlay.options: {problem}")))? {
                Value::Null => {}
                Value::Map(options) => overlay.options = options,
                _ => return Err(refuse(format!("line {}: overlay.options is no map", node.line))),
            },
        }
    }
    Ok(overlay)
}

fn customization(node: &Node) -> Result<Customization> {
    const KEYS: &[&str] = &[
        "embeddedMachineConfiguration",
        "extraKernelArgs",
        "meta",
        "systemExtensions",
        "bootloader",
        "secureboot",
        "diskImage",
    ];
    let mut out = Customization::default();
    for (key, node) in map(node, "customization", KEYS)? {
        match key {
            "embeddedMachineConfiguration" => out.embedded_machine_configuration = text_of(node, key)?,
            "extraKernelArgs" => out.extra_kernel_args = texts_of(node, key)?,
            "meta" => {
                if !node.is_null() && !matches!(node.kind, yaml::NodeKind::List(_)) {
                    return Err(refuse(format!("line {}: meta is no list", node.line)));
                }
                out.meta = node.items().iter().map(meta).collect::<Result<_>>()?;
            }
            "systemExtensions" => {
                for (_, node) in map(node, key, &["officialExtensions"])? {
                    out.official_extensions = texts_of(node, "officialExtensions")?;
                }
            }
            "bootloader" => out.bootloader = bootloader(node)?,
            "secureboot" => out.secure_boot = secure_boot(node)?,
            _ => {
                for (_, node) in map(node, key, &["sectorSize"])? {
                    out.sector_size = number_of(node, "diskImage.sectorSize")?;
                }
            }
        }
    }
    Ok(out)
}

fn meta(node: &Node) -> Result<(u8, String)> {
    let (mut number, mut value) = (0, String::new());
    for (key, node) in map(node, "meta", &["key", "value"])? {
        if key == "key" {
            number = number_of(node, "meta.key")?;
        } else {
            value = text_of(node, "meta.value")?;
        }
    }
    let key = u8::try_from(number)
        .map_err(|_| refuse(format!("line {}: META has keys up to 255, not {number}", node.line)))?;
    Ok((key, value))
}

/// The Image Factory takes these words in any case and writes them in small letters; `none` is the same as nothing.
fn bootloader(node: &Node) -> Result<String> {
    let word = text_of(node, "bootloader")?.to_ascii_lowercase();
    match word.as_str() {
        "" | "none" => Ok(String::new()),
        "grub" | "sd-boot" | "dual-boot" => Ok(word),
        _ => Err(refuse(format!(
            "line {}: bootloader is one of none, dual-boot, sd-boot, grub, not {word:?}",
            node.line
        ))),
    }
}

fn secure_boot(node: &Node) -> Result<SecureBoot> {
    let mut out = SecureBoot::default();
    for (key, node) in map(node, "secureboot", &["enrollKeys", "includeWellKnownCertificates"])? {
        if key == "enrollKeys" {
            out.enroll_keys = text_of(node, key)?;
        } else {
            out.include_well_known_certificates = bool_of(node, key)?;
        }
    }
    Ok(out)
}
