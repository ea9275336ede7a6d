//! Image archives as a program that knows nothing of ours reads them: python's tarfile and json.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

/// Prints every layer of the image that `manifest.json` names: path, type, mode, times, size, digest of each entry.
const SCRIPT: &str = r"
import gzip, hashlib, io, json, sys, tarfile
archive = tarfile.open(sys.argv[1])
image = json.load(archive.extractfile('manifest.json'))[0]
layers = []
for name in image['Layers']:
    data = archive.extractfile(name).read()
    plain = gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data
    entries = {}
    for entry in tarfile.open(fileobj=io.BytesIO(plain)):
        content = entry.isfile() and archive and tarfile.open(fileobj=io.BytesIO(plain)).extractfile(entry.name)
        entries[entry.name] = dict(type=entry.type.decode(), mode=entry.mode, size=entry.size, mtime=entry.mtime,
            owner=[entry.uid, entry.gid, entry.uname, entry.gname],
            sha256=hashlib.sha256(content.read()).hexdigest() if entry.isfile() else None)
    layers.append(dict(diff_id='sha256:' + hashlib.sha256(plain).hexdigest(), entries=entries))
print(json.dumps(dict(config=json.load(archive.extractfile(image['Config'])), tags=image['RepoTags'], layers=layers)))
";

/// What python reads of an archive: `config`, `tags`, `layers`. `None` where there is no python.
#[track_caller]
pub fn read(archive: &Path) -> Option<Value> {
    let python = testkit::tool("python3")?;
    let text = testkit::run(Command::new(python).args(["-c", SCRIPT]).arg(archive));
    Some(serde_json::from_str(&text).unwrap())
}

/// Files of a layer and the digests of their bytes.
pub fn files(layer: &Value) -> BTreeMap<String, String> {
    let entries = layer["entries"].as_object().unwrap().iter();
    entries.filter_map(|(path, entry)| Some((path.clone(), entry["sha256"].as_str()?.to_owned()))).collect()
}

/// One file of an image, by `tar` and `gzip` in python.
#[track_caller]
pub fn file(archive: &Path, path: &str) -> Option<Vec<u8>> {
    const SCRIPT: &str = r"
import gzip, io, json, sys, tarfile
archive = tarfile.open(sys.argv[1])
image = json.load(archive.extractfile('manifest.json'))[0]
for name in image['Layers']:
    data = archive.extractfile(name).read()
    plain = gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data
    layer = tarfile.open(fileobj=io.BytesIO(plain))
    if sys.argv[2] in layer.getnames():
        sys.stdout.buffer.write(layer.extractfile(sys.argv[2]).read())
";
    let python = testkit::tool("python3")?;
    let output = Command::new(python).args(["-c", SCRIPT]).arg(archive).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}
