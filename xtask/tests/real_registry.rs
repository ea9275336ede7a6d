//! Images between the program and a real registry, read again by programs that are not ours.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::{
    Inputs, World,
    transfers::{Image, board, damaged_blobs, files, holding, lock, said, well, xtask},
};
use fs_err as fs;
use serde_json::Value;
use testkit::registry::{Door, PASSWORD, Registry, base64, write_docker_config};

const DOORS: [Door; 4] = [Door::Plain, Door::Password, Door::Tls, Door::TlsPassword];

/// A home with the credentials that the registry's door asks for.
fn home(registry: &Registry) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    if registry.door().has_password() {
        write_docker_config(&home.path().join("docker"), &registry.host(), testkit::registry::USER, PASSWORD);
    }
    home
}

/// The program, with the options that the registry's door asks for.
fn ours(registry: &Registry, home: &Path, arguments: &[&str]) -> Command {
    let mut command = xtask(home);
    command.args(arguments);
    if registry.door().has_tls() {
        command.arg("--ca-file").arg(registry.ca_file());
    } else {
        command.args(["--plain-http", &registry.host()]);
    }
    command
}

/// `skopeo copy` between two places, either of which may be in the registry.
fn skopeo(registry: &Registry, more: &[&str], from: &str, to: &str) {
    let Some(skopeo) = testkit::tool("skopeo") else { return };
    let mut command = Command::new(skopeo);
    command.args(["--insecure-policy", "copy", "--quiet"]).args(more);
    for (side, place) in [("src", from), ("dest", to)] {
        if !place.starts_with("docker://") {
            continue;
        }
        if registry.door().has_tls() {
            command.arg(format!("--{side}-cert-dir={}", registry.certificates().display()));
        } else {
            command.arg(format!("--{side}-tls-verify=false"));
        }
        if registry.door().has_password() {
            command.arg(format!("--{side}-creds={}:{PASSWORD}", testkit::registry::USER));
        }
    }
    testkit::run(command.arg(from).arg(to));
}

/// The documents and blobs of an OCI layout, by digest.
fn blobs(layout: &Path) -> Vec<(String, Vec<u8>)> {
    let found = files(&layout.join("blobs"));
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    found.into_iter().map(|(path, bytes)| (name(path), bytes)).collect()
}

/// The manifest or index under a reference, as skopeo sees it.
fn raw(registry: &Registry, reference: &str) -> Option<Value> {
    let mut command = Command::new(testkit::tool("skopeo")?);
    command.args(["inspect", "--raw"]);
    if registry.door().has_tls() {
        command.arg(format!("--cert-dir={}", registry.certificates().display()));
    } else {
        command.arg("--tls-verify=false");
    }
    if registry.door().has_password() {
        command.arg(format!("--creds={}:{PASSWORD}", testkit::registry::USER));
    }
    let text = testkit::run(command.arg(format!("docker://{reference}")));
    Some(serde_json::from_str(&text).unwrap())
}

/// The demo's overlay, built by the program.
fn overlay(world: &World) -> PathBuf {
    let mut command = common::xtask();
    command.args(["overlay", "demo", "-o"]).arg(world.path("out")).arg("--cache-dir").arg(world.path("cache"));
    world.stand_ins(&mut command);
    well(&mut command);
    world.path("out/overlay.tar")
}

/// Neither the password nor a form of it stands in what was said or in what was written.
#[track_caller]
fn keeps_silent(home: &Path, outputs: &[Output]) {
    for secret in [PASSWORD.to_owned(), base64(&format!("{}:{PASSWORD}", testkit::registry::USER))] {
        for output in outputs {
            assert!(!said(output).contains(&secret), "{}", said(output));
        }
        let config = home.join("docker/config.json");
        let found: Vec<_> = holding(home, &secret).into_iter().filter(|path| *path != config).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn an_index_of_both_platforms_arrives_through_every_door() {
    let world = World::new(Inputs::demo());
    let archive = overlay(&world);
    let archive = archive.to_str().unwrap();
    for door in DOORS {
        let Some(registry) = Registry::start(door) else { return };
        let home = home(&registry);
        let reference = format!("{}/demo/overlay:v1", registry.host());
        let pushed = ours(&registry, home.path(), &["push", archive, &reference]).output().unwrap();
        assert!(pushed.status.success(), "{door:?}: {}", said(&pushed));
        // `skopeo copy --all` of the same archive: the same index, byte for byte.
        let copied = format!("{}/demo/copied:v1", registry.host());
        skopeo(&registry, &["--all"], &format!("oci-archive:{archive}"), &format!("docker://{copied}"));
        let (Some(index), Some(other)) = (raw(&registry, &reference), raw(&registry, &copied)) else { return };
        assert_eq!(index, other, "{door:?}");
        let platforms: Vec<_> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                format!(
                    "{}/{}",
                    entry["platform"]["os"].as_str().unwrap(),
                    entry["platform"]["architecture"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"], "{door:?}");

        // Pulled by ours is what skopeo pulls: the same blobs and documents.
        let out = home.path().join("pulled.tar");
        let pulled = ours(&registry, home.path(), &["pull", &reference, "-o", out.to_str().unwrap()]).output().unwrap();
        assert!(pulled.status.success(), "{door:?}: {}", said(&pulled));
        let (ours_at, theirs_at) = (home.path().join("ours"), home.path().join("theirs"));
        fs::create_dir(&ours_at).unwrap();
        testkit::run(Command::new("tar").arg("-xf").arg(&out).arg("-C").arg(&ours_at));
        skopeo(&registry, &["--all"], &format!("docker://{reference}"), &format!("oci:{}:v1", theirs_at.display()));
        assert_eq!(blobs(&ours_at), blobs(&theirs_at), "{door:?}");
        assert_eq!(damaged_blobs(&home.path().join("cache")), Vec::<PathBuf>::new());
        keeps_silent(home.path(), &[pushed, pulled]);
    }
}

#[test]
fn umoci_unpacks_what_was_pulled() {
    let (Some(registry), Some(umoci)) = (Registry::start(Door::Plain), testkit::tool("umoci")) else { return };
    let world = World::new(Inputs::demo());
    let archive = overlay(&world);
    let home = home(&registry);
    let reference = format!("{}/demo/overlay:v1", registry.host());
    well(&mut ours(&registry, home.path(), &["push", archive.to_str().unwrap(), &reference]));
    let out = home.path().join("pulled.tar");
    well(&mut ours(&registry, home.path(), &["pull", &reference, "-o", out.to_str().unwrap()]));
    let layout = home.path().join("layout");
    skopeo(
        &registry,
        &["--override-arch=arm64"],
        &format!("oci-archive:{}", out.display()),
        &format!("oci:{}:v1", layout.display()),
    );
    testkit::run(
        Command::new(umoci)
            .args(["unpack", "--rootless", "--image"])
            .arg(format!("{}:v1", layout.display()))
            .arg(home.path().join("bundle")),
    );
    let unpacked = files(&home.path().join("bundle/rootfs"));
    assert!(unpacked.keys().any(|path| path.ends_with("artifacts/overlay.json")), "{:?}", unpacked.keys());
}

#[test]
fn wrong_credentials_and_strange_certificates_are_refused_by_name() {
    let (Some(locked), Some(tls)) = (Registry::start(Door::Password), Registry::start(Door::Tls)) else { return };
    let home = home(&locked);
    write_docker_config(
        &home.path().join("docker"),
        &locked.host(),
        testkit::registry::USER,
        &format!("{PASSWORD}-wrong"),
    );
    let reference = format!("{}/demo/image:v1", locked.host());
    let refused = ours(&locked, home.path(), &["pull", &reference, "-o", "x.tar"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(said(&refused).contains("NET002"), "{}", said(&refused));
    keeps_silent(home.path(), &[refused]);

    let reference = format!("{}/demo/image:v1", tls.host());
    let strange = xtask(home.path()).args(["pull", &reference, "-o", "x.tar"]).output().unwrap();
    assert_eq!(strange.status.code(), Some(4), "{}", said(&strange));
    assert!(said(&strange).contains("NET006"), "{}", said(&strange));

    // Loopback is no exception: without `--plain-http` nobody speaks without TLS.
    let reference = format!("{}/demo/image:v1", locked.host());
    let plain = xtask(home.path()).args(["pull", &reference, "-o", "x.tar"]).output().unwrap();
    assert_eq!(plain.status.code(), Some(4), "{}", said(&plain));
    assert!(said(&plain).contains("NET006") || said(&plain).contains("NET001"), "{}", said(&plain));
}

#[test]
fn eight_pushes_at_once_give_one_result() {
    let Some(registry) = Registry::start(Door::Plain) else { return };
    let home = home(&registry);
    let same = Image::random(3, 2, 300_000);
    let path = home.path().join("same.tar");
    same.archive(&path, "v1");
    let reference = format!("{}/demo/same:v1", registry.host());
    // The same image under the same tag, from one store.
    let ends =
        at_once((0..8).map(|_| ours(&registry, home.path(), &["push", path.to_str().unwrap(), &reference])).collect());
    for end in &ends {
        assert!(end.status.success(), "{}", said(end));
        assert!(said(end).contains(&same.root()), "{}", said(end));
    }
    let Some(found) = raw(&registry, &reference) else { return };
    assert_eq!(found, serde_json::from_slice::<Value>(&same.index).unwrap());

    // Different images under the same tag: some are refused because the tag moved, and one is there, whole.
    let reference = format!("{}/demo/different:v1", registry.host());
    let images: Vec<_> = (0..8).map(|seed| Image::random(10 + seed, 2, 200_000)).collect();
    let commands = images.iter().enumerate().map(|(number, image)| {
        let path = home.path().join(format!("different-{number}.tar"));
        image.archive(&path, "v1");
        ours(&registry, home.path(), &["push", path.to_str().unwrap(), &reference])
    });
    let ends = at_once(commands.collect());
    let Some(found) = raw(&registry, &reference) else { return };
    let winner = images.iter().position(|image| serde_json::from_slice::<Value>(&image.index).unwrap() == found);
    let winner = winner.expect("the tag names one of the images");
    assert!(ends[winner].status.success(), "{}", said(&ends[winner]));
    for end in ends.iter().filter(|end| !end.status.success()) {
        assert!(said(end).contains("REG00"), "{}", said(end));
    }
    let good = ends.iter().filter(|end| end.status.success()).count();
    assert_eq!(
        good,
        1,
        "a push that was not refused has lost its tag: {:?}",
        ends.iter().map(said).collect::<Vec<_>>()
    );
    assert_eq!(damaged_blobs(&home.path().join("cache")), Vec::<PathBuf>::new());
    // What the tag names can be pulled.
    let out = home.path().join("winner.tar");
    well(&mut ours(&registry, home.path(), &["pull", &reference, "-o", out.to_str().unwrap()]));
}

/// Runs commands at the same time.
fn at_once(commands: Vec<Command>) -> Vec<Output> {
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            commands.into_iter().map(|mut command| scope.spawn(move || command.output().unwrap())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

#[test]
fn two_fetches_on_one_store_are_one() {
    use testkit::faulty::{At, Faulty, Setup};
    let server = Faulty::start(Setup { bytes_per_second: Some(16 << 20), ..Setup::default() });
    let bytes = testkit::Rng::new(5).bytes(8 << 20);
    server.add_file("u-boot.itb", &bytes);
    let home = tempfile::tempdir().unwrap();
    let host = server.host(At::Registry);
    let url = format!("http://{host}/files/u-boot.itb");
    board(home.path(), "pair", &format!("url = \"{url}\""));
    lock(home.path(), "pair", &url, &bytes);
    let command = || {
        let mut command = xtask(home.path());
        command.arg("fetch").arg(home.path().join("pair.toml")).args(["--plain-http", &host]);
        command
    };
    for end in at_once(vec![command(), command()]) {
        assert!(end.status.success(), "{}", said(&end));
    }
    assert_eq!(damaged_blobs(&home.path().join("cache")), Vec::<PathBuf>::new());
    let found = files(&home.path().join("cache/v1/blobs"));
    assert!(found.values().any(|found| *found == bytes));
    // The one that came second waits for the first and reads from the store.
    assert!(server.sent() < 2 * bytes.len() as u64, "{}", server.sent());
}

#[test]
fn a_large_image_needs_little_memory() {
    let (Some(registry), Some(time)) = (Registry::start(Door::Plain), testkit::tool("time")) else { return };
    let home = home(&registry);
    let image = Image::random(7, 1, 128 << 20);
    let path = home.path().join("large.tar");
    image.archive(&path, "v1");
    let reference = format!("{}/demo/large:v1", registry.host());
    let out = home.path().join("pulled.tar");
    let runs = [["push", path.to_str().unwrap(), &reference, ""], ["pull", &reference, "-o", out.to_str().unwrap()]];
    for run in runs {
        let run: Vec<_> = run.into_iter().filter(|word| !word.is_empty()).collect();
        let inner = ours(&registry, home.path(), &run);
        let mut command = Command::new(&time);
        command
            .args(["-f", "%M", "-o"])
            .arg(home.path().join("memory"))
            .arg(inner.get_program())
            .args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        well(&mut command);
        let memory: u64 = fs::read_to_string(home.path().join("memory")).unwrap().trim().parse().unwrap();
        println!("{}: {} MiB for {} MiB", run[0], memory >> 10, image.size() >> 20);
        assert!(memory < 64 << 10, "{run:?} needs {memory} KiB");
    }
}

/// A proxy of the environment is not asked for this machine itself: it would see the password.
#[test]
fn no_proxy_sees_what_is_meant_for_this_machine() {
    let Some(registry) = Registry::start(Door::Password) else { return };
    let home = home(&registry);
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let missing = format!("{}/a/b:v1", registry.host());
    let mut command = ours(&registry, home.path(), &["pull", &missing]);
    command.env("HTTP_PROXY", &address).env("http_proxy", &address).env_remove("NO_PROXY").env_remove("no_proxy");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "the registry itself says that there is none: {}", said(&output));
    proxy.set_nonblocking(true).unwrap();
    let connected = proxy.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock));
}
