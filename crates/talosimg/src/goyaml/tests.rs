use super::*;

/// What `gopkg.in/yaml.v3` writes (`tests/data/goyaml_oracle.go`).
const CASES: &str = include_str!("../../tests/data/goyaml.tsv");

fn value(json: &serde_json::Value, float: bool) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) if !float => Value::Int(value),
            (None, Some(value)) if !float => Value::Uint(value),
            _ => Value::Float(number.as_f64().unwrap()),
        },
        serde_json::Value::String(text) => Value::Str(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(|item| value(item, float)).collect()),
        serde_json::Value::Object(map) => {
            Value::sorted(map.iter().map(|(key, item)| (key.clone(), value(item, float))))
        }
    }
}

#[test]
fn every_case_is_written_as_go_writes_it() {
    let mut wrong = Vec::new();
    for line in CASES.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let (kind, input): (_, serde_json::Value) = (fields[0], serde_json::from_str(fields[1]).unwrap());
        let expected: String = serde_json::from_str(fields[2]).unwrap();
        let value = value(&input, kind == "float");
        let text = || input.as_str().unwrap().to_owned();
        let document = match kind {
            "top" | "float" => Value::map([("k", value)]),
            "nested" => {
                let inner = Value::map([("text", value), ("next", "z".into())]);
                Value::List(vec![Value::map([("inner", inner)])])
            }
            "list" => Value::map([("k", Value::List(vec![value, "z".into()]))]),
            "key" => Value::Map(vec![(text(), Value::Int(1))]),
            "value" => value,
            other => panic!("{other}"),
        };
        let found = to_string(&document);
        if found != expected {
            wrong.push(format!("{kind} {}: {found:?}, expected {expected:?}", fields[1]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.lines().count(), wrong.join("\n"));
}

#[test]
fn what_is_written_reads_back() {
    for line in CASES.lines().filter(|line| line.starts_with("top\t")) {
        let input: String = serde_json::from_str(line.split('\t').nth(1).unwrap()).unwrap();
        // Go's own loss: the first of the line breaks that a block begins with, and what no parser takes for a text.
        if input.starts_with(['\n', '\u{2028}', '\u{85}'])
            || input.contains(['\u{2028}', '\u{2029}', '\u{85}'])
            || input == "<<"
        {
            continue;
        }
        let text = to_string(&Value::map([("k", input.as_str().into())]));
        let back: std::collections::BTreeMap<String, String> = yaml::from_str("t", &text).unwrap();
        assert_eq!(back["k"], input, "{text:?}");
    }
}
