#!/usr/bin/env bash
# How much memory `xtask push` and `xtask pull` need, and how long they take beside skopeo: one image of random bytes,
# one registry on loopback, whole commands, turn and turn about. Prints a table (docs/performance.md); fails over 64 MiB of
# memory or 1.5 times skopeo's time.
#   .ci/registry-speed.sh [MEBIBYTES [ROUNDS]]     XTASK=FILE takes a program that is there
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:-1024} rounds=${2:-3}
most_memory=65536 most_ratio=1.5

xtask=${XTASK:-}
if [ -z "$xtask" ]; then
    cargo build --quiet --release --package xtask
    xtask=${CARGO_TARGET_DIR:-target}/release/xtask
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/registry-speed.XXXXXX")
registry=
trap '[ -z "$registry" ] || kill "$registry"; rm -rf "$work"' EXIT

# A layer that no compressor shrinks, as an OCI archive: both programs then only move bytes.
python3 - "$work" "$size" <<'PYTHON'
import gzip, hashlib, io, json, os, sys, tarfile
work, size = sys.argv[1], int(sys.argv[2]) << 20
blobs = os.path.join(work, "image/blobs/sha256")
os.makedirs(blobs)
class Hash:
    def __init__(self, under):
        self.under, self.hash, self.size = under, hashlib.sha256(), 0
    def write(self, data):
        self.hash.update(data)
        self.size += len(data)
        return self.under.write(data) if self.under else len(data)
    def flush(self):
        pass
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open(os.path.join(blobs, digest), "wb").write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}
packed = Hash(open(os.path.join(work, "layer"), "wb"))
plain = Hash(gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=0, mtime=0))
with tarfile.open(fileobj=plain, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
    info = tarfile.TarInfo("random")
    info.size = size
    tar.addfile(info, open("/dev/urandom", "rb"))
plain.under.close()
packed.under.close()
os.rename(os.path.join(work, "layer"), os.path.join(blobs, packed.hash.hexdigest()))
kind = "application/vnd.oci.image."
layer = {"mediaType": kind + "layer.v1.tar+gzip", "digest": "sha256:" + packed.hash.hexdigest(), "size": packed.size}
config = {"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + plain.hash.hexdigest()]}}
config = dict(put(json.dumps(config).encode()), mediaType=kind + "config.v1+json")
manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "config": config, "layers": [layer]}
entry = dict(put(json.dumps(manifest).encode()), mediaType=kind + "manifest.v1+json")
entry["platform"] = {"architecture": "arm64", "os": "linux"}
entry["annotations"] = {"org.opencontainers.image.ref.name": "speed"}
index = {"schemaVersion": 2, "mediaType": kind + "index.v1+json", "manifests": [entry]}
json.dump(index, open(os.path.join(work, "image/index.json"), "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(os.path.join(work, "image/oci-layout"), "w"))
PYTHON
tar -C "$work/image" -cf "$work/image.tar" oci-layout index.json blobs
rm -r "$work/image"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/config.yml" <<YAML
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $work/storage } }
http: { addr: 127.0.0.1:$port, secret: speed }
YAML
docker-registry serve "$work/config.yml" >"$work/log" 2>&1 &
registry=$!
host=127.0.0.1:$port
python3 - "$port" <<'PYTHON'
import socket, sys, time
for _ in range(300):
    try:
        sys.exit(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close())
    except OSError:
        time.sleep(0.1)
sys.exit("docker-registry does not start")
PYTHON

# measure NAME COMMAND...: seconds and KiB of the largest resident set.
measure() {
    local name=$1
    shift
    sync
    /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
    cat "$work/time" >>"$work/$name"
    echo "$name: $(cat "$work/time")" >&2
}

for round in $(seq "$rounds"); do
    measure push-ours "$xtask" push "$work/image.tar" "$host/ours/r$round:speed" --plain-http "$host" --cache-dir "$work/cache"
    measure push-skopeo skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci-archive:$work/image.tar" "docker://$host/skopeo/r$round:speed"
    measure pull-ours "$xtask" pull "$host/ours/r$round:speed" -o "$work/pulled.tar" --plain-http "$host" --cache-dir "$work/cache-$round"
    rm -r "$work/pulled.tar" "$work/cache-$round"
    measure pull-skopeo skopeo --insecure-policy copy --quiet --src-tls-verify=false "docker://$host/skopeo/r$round:speed" "oci-archive:$work/pulled.tar"
    rm -r "$work/pulled.tar"
    rm -r "$work/storage"
done

python3 - "$work" "$size" "$most_memory" "$most_ratio" <<'PYTHON'
import statistics, sys
work, size, most_memory, most_ratio = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
def read(name):
    rows = [line.split() for line in open(f"{work}/{name}")]
    return statistics.median(float(row[0]) for row in rows), max(int(row[1]) for row in rows)
failed = []
print(f"| {size} MiB on loopback | ours | memory | skopeo | memory | ratio |\n|---|---|---|---|---|---|")
for what in ("push", "pull"):
    (ours, memory), (theirs, other) = read(f"{what}-ours"), read(f"{what}-skopeo")
    print(f"| {what} | {ours:.1f} s | {memory / 1024:.0f} MiB | {theirs:.1f} s | {other / 1024:.0f} MiB | {ours / theirs:.2f} |")
    if memory > most_memory:
        failed.append(f"{what} needs {memory} KiB, expected at most {most_memory}")
    if ours / theirs > most_ratio:
        failed.append(f"{what} takes {ours / theirs:.2f} times skopeo's time, expected at most {most_ratio}")
sys.exit("\n".join(failed))
PYTHON
