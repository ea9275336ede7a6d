//! JSON schemas of what `--json` prints, for `docs/json/`.

use serde_json::{Value, json};

fn object(properties: &Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn nullable(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn string() -> Value {
    json!({ "type": "string" })
}

fn digest() -> Value {
    json!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn output() -> Value {
    object(&json!({ "name": string(), "sha256": digest(), "size": count() }))
}

fn answer() -> Value {
    json!({ "enum": ["yes", "no", "unknown"] })
}

fn range() -> Value {
    object(&json!({ "owner": string(), "start": count(), "end": count() }))
}

fn finding() -> Value {
    object(&json!({
        "severity": { "enum": ["info", "warning", "error"] },
        "code": { "type": "string", "pattern": "^[A-Z]{3}[0-9]{3}$" },
        "message": string(),
        "range": nullable(&object(&json!({ "start": count(), "end": count() }))),
        "owner": nullable(&string()),
        "help": nullable(&string()),
    }))
}

fn build() -> Value {
    let input = json!({
        "type": "object",
        "properties": {
            "name": string(), "sha256": digest(), "size": count(), "origin": string(), "licence": string(),
            "written": digest(),
            "place": { "type": "object", "properties": { "in": { "enum": ["disk", "esp", "uki", "stub", "spi", "tree", "installer", "extension"] } }, "required": ["in"] },
        },
        "required": ["name", "sha256", "size", "origin", "written", "place"],
        "additionalProperties": false,
    });
    object(&json!({
        "schema": { "const": 1 },
        "generator": string(),
        "board": string(),
        "boardFile": digest(),
        "boot": nullable(&string()),
        "talos": string(),
        "bootloader": { "enum": ["grub", "sd-boot"] },
        "arch": { "const": "arm64" },
        "epoch": count(),
        "commandLine": nullable(&string()),
        "kernelRelease": nullable(&string()),
        "meta": list(&object(&json!({ "key": count(), "sha256": digest() }))),
        "size": nullable(&count()),
        "plan": nullable(&digest()),
        "layout": list(&range()),
        "inputs": list(&input),
        "extensions": list(&object(&json!({ "image": string(), "name": string(), "version": string() }))),
        "schematic": object(&json!({
            "id": { "type": "string", "pattern": "^[0-9a-f]{64}$" }, "text": string(), "recorded": { "type": "boolean" },
        })),
        "omniUpgrade": object(&json!({
            "outcome": { "enum": ["loses-overlay", "invalid-schematic", "refused", "factory-build"] }, "sentence": string(),
        })),
        "overlay": nullable(&output()),
        "images": list(&output()),
        "installer": nullable(&output()),
        "spi": nullable(&output()),
        "bootFlow": nullable(&object(&json!({
            "scenario": nullable(&string()),
            "firstStage": nullable(&object(&json!({ "kind": string(), "version": nullable(&string()) }))),
            "secondStage": object(&json!({
                "kind": string(), "version": nullable(&string()), "efi": answer(), "extlinux": answer(),
                "bootScripts": answer(), "android": answer(), "efiVariables": string(), "fdtfile": nullable(&string()),
                "targets": list(&string()),
            })),
        }))),
        "allowed": list(&string()),
        "warnings": list(&string()),
    }))
}

fn fact() -> Value {
    object(&json!({ "kind": string(), "offset": count(), "field": string(), "value": string() }))
}

/// An input that `fetch` and `vendor` brought.
fn supplied() -> Value {
    object(&json!({
        "board": string(),
        "name": string(),
        "sha256": digest(),
        "size": count(),
        "origin": string(),
        "licence": nullable(&string()),
        "file": nullable(&string()),
    }))
}

/// What `boards` lists.
fn boards() -> Value {
    let row = object(&json!({
        "name": string(),
        "soc": nullable(&string()),
        "title": nullable(&string()),
        "vendor": nullable(&string()),
        "boot": list(&string()),
        "spi": nullable(&string()),
        "upstream": nullable(&string()),
    }));
    object(&json!({ "boards": list(&row) }))
}

/// What `boards show` says. `board` is the board file itself, its keys as docs/boards.md has them.
fn board() -> Value {
    let write = json!({ "type": "array", "prefixItems": [count(), string()], "minItems": 2, "maxItems": 2 });
    let installer = object(&json!({
        "name": string(),
        "kernelArgs": list(&string()),
        "partitionOffset": count(),
        "esp": list(&string()),
        "writes": list(&write),
    }));
    object(&json!({
        "board": { "type": "object", "required": ["name", "boot"] },
        "talos": string(),
        "bootloader": { "enum": ["grub", "sd-boot"] },
        "size": count(),
        "scenario": nullable(&string()),
        "layout": list(&range()),
        "inputs": list(&object(&json!({ "role": string(), "place": string(), "bytes": string() }))),
        "installer": nullable(&installer),
    }))
}

/// What `lock` says of each entry that it asked.
fn lock() -> Value {
    let from = json!({
        "type": "object",
        "properties": { "url": string(), "sha256": digest(), "size": count(), "unpacked": count() },
        "required": ["sha256", "size"],
        "additionalProperties": false,
    });
    let side = nullable(&object(&json!({
        "origin": string(), "sha256": digest(), "size": count(), "licence": nullable(&string()), "from": nullable(&from),
    })));
    let kinds = json!({ "enum": [
        "added", "resolved", "unchanged", "amended", "moved", "refused", "unchecked", "unresolved", "gone"
    ] });
    let change =
        object(&json!({ "name": string(), "kind": kinds, "old": side, "new": side, "why": nullable(&string()) }));
    object(&json!({ "changes": list(&change), "written": list(&string()), "dryRun": { "type": "boolean" } }))
}

/// What `push` did.
fn pushed() -> Value {
    let manifests = object(&json!({ "uploaded": count(), "skipped": count() }));
    object(&json!({
        "reference": string(),
        "target": string(),
        "digest": string(),
        "mediaType": string(),
        "nothingToDo": { "type": "boolean" },
        "before": nullable(&string()),
        "blobs": object(&json!({ "uploaded": count(), "mounted": count(), "skipped": count() })),
        "manifests": manifests,
        "bytes": count(),
        "machineInstallImage": nullable(&string()),
        "rateLimit": nullable(&string()),
    }))
}

/// What `pull` did.
fn pulled() -> Value {
    let file = object(&json!({ "path": string(), "sha256": string(), "size": count() }));
    object(&json!({
        "reference": string(),
        "digest": string(),
        "mediaType": string(),
        "platforms": list(&string()),
        "blobs": object(&json!({ "downloaded": count(), "skipped": count() })),
        "bytes": count(),
        "file": nullable(&file),
        "rateLimit": nullable(&string()),
    }))
}

/// File names and texts of the schemas: one for each command, one for `build.json`.
pub fn schemas() -> Vec<(String, String)> {
    let built = object(&json!({
        "folder": string(),
        "upToDate": { "type": "boolean" },
        "dryRun": { "type": "boolean" },
        "outputs": list(&output()),
        "notice": nullable(&string()),
        "installerSkipped": nullable(&string()),
        "explain": nullable(&list(&string())),
        "build": nullable(&json!({ "$ref": "build.schema.json" })),
    }));
    let results = [
        ("image", built.clone()),
        ("overlay", built.clone()),
        ("installer", built),
        ("boards", json!({ "anyOf": [boards(), board()] })),
        ("lock", lock()),
        (
            "verify",
            json!({ "type": "object", "required": ["kind"], "properties": { "kind": { "enum": ["disk", "oci"] }, "layout": list(&range()) } }),
        ),
        ("inspect", object(&json!({ "kind": string(), "size": count(), "facts": list(&fact()) }))),
        ("fetch", object(&json!({ "inputs": list(&supplied()), "skipped": list(&string()) }))),
        (
            "vendor",
            object(&json!({
                "folder": string(),
                "inputs": list(&supplied()),
                "written": list(&string()),
                "options": { "type": "object", "additionalProperties": list(&string()) },
            })),
        ),
        ("push", pushed()),
        ("pull", pulled()),
        ("cache", json!({ "type": "object", "required": ["root"] })),
        ("ci", object(&json!({ "steps": list(&string()) }))),
    ];
    let mut schemas = vec![("build.schema.json".to_owned(), build())];
    for (command, result) in results {
        // A command that failed has an empty result.
        let schema = object(&json!({
            "schema": { "const": 1 },
            "command": { "const": command },
            "ok": { "type": "boolean" },
            "findings": list(&finding()),
            "result": { "anyOf": [result, { "type": "object", "maxProperties": 0 }] },
        }));
        schemas.push((format!("{command}.schema.json"), schema));
    }
    // The two programs for boot files and device trees print the same object. What `result` holds depends on the file.
    let programs: [(&str, &[&str]); 2] = [
        ("rkboot", &["", "inspect", "verify", "flow", "ddr", "extract", "build"]),
        ("dtbtool", &["", "inspect", "check", "dts", "diff", "edit", "overlay apply", "overlay check"]),
    ];
    for (program, commands) in programs {
        let schema = object(&json!({
            "schema": { "const": 1 },
            "command": { "enum": commands },
            "ok": { "type": "boolean" },
            "findings": list(&finding()),
            "result": { "type": "object" },
        }));
        schemas.push((format!("{program}.schema.json"), schema));
    }
    schemas
        .into_iter()
        .map(|(name, mut schema)| {
            if let Some(map) = schema.as_object_mut() {
                map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
            }
            (name, String::from_utf8(crate::build::pretty_json(&schema)).unwrap_or_default())
        })
        .collect()
}
