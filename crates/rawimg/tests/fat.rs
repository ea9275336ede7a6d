//! FAT32 against the specification and against tools that are not ours.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

mod common;

use std::{
    io::{self, Read as _},
    path::Path,
    process::Command,
    sync::Arc,
};

use common::{FileAt, Patched, bytes_at, check_rules, codes, index, write_sparse};
use imgcore::{Blob, Digest, Epoch, ReadAt, ReadAtCursor, SectorSize};
use proptest::prelude::*;
use rawimg::{Content, ErrorKind, fat};

const MIB: u64 = 1 << 20;
/// What `mkfs.fat --invariant` takes for the time of the label.
const INVARIANT: Epoch = Epoch(1_426_325_213);

fn options(size: u64, sector: SectorSize) -> fat::Options {
    fat::Options { size, sector, label: "EFI".to_owned(), time: INVARIANT, ..Default::default() }
}

/// Formats a sparse file with the oracle and compares every byte of an empty file system but the boot code and the end
/// mark of the root's chain, of which there are eight.
fn compare_with_mkfs(mkfs: &Path, path: &Path, size: u64, sector: SectorSize) {
    std::fs::File::create(path).unwrap().set_len(size).unwrap();
    let said = testkit::run(
        Command::new(mkfs).args(["-F", "32", "-n", "EFI", "--invariant", "-S", &sector.bytes().to_string()]).arg(path),
    );
    assert!(said.starts_with("mkfs.fat 4.2 "), "the rules are those of 4.2: {said}");
    let theirs = FileAt::open(path);
    let plan = match fat::plan(&fat::Tree::new(), &options(size, sector)) {
        Ok(plan) => plan,
        Err(error) => {
            // The one thing that mkfs.fat does with a warning and this refuses.
            assert!(matches!(error.kind(), ErrorKind::FatTooFewClusters { .. }), "{size}: {error}");
            let (_, report) = fat::read(&theirs);
            assert!(codes(&report).contains(&"FAT004"), "{size}: {report:?}");
            return;
        }
    };
    let what = format!("{size} bytes in sectors of {}", sector.bytes());
    let (volume, report) = fat::read(&theirs);
    assert!(report.is_empty(), "{what}: {report:?}");
    assert_eq!(volume, fat::read(&plan.extents).0, "{what}");
    assert_eq!(volume.unwrap().free_clusters, plan.free_clusters, "{what}");

    let system = plan.geometry.data_offset() + plan.geometry.cluster_bytes();
    let (ours, theirs) = (bytes_at(&plan.extents, 0, index(system)), bytes_at(&theirs, 0, index(system)));
    let bytes = index(sector.bytes());
    let fats = index(plan.geometry.fat_offset()) + 8;
    let second = fats + index(plan.geometry.fat_bytes());
    let allowed = |at: usize| {
        [0, 6 * bytes].iter().any(|boot| (boot + 90..boot + 510).contains(&at)) || at == fats || at == second
    };
    // By pieces, because comparing single bytes is slow without optimisation.
    for ((start, ours), theirs) in (0..).step_by(4096).zip(ours.chunks(4096)).zip(theirs.chunks(4096)) {
        if ours == theirs {
            continue;
        }
        for ((at, ours), theirs) in (start..).zip(ours).zip(theirs).filter(|((_, ours), theirs)| ours != theirs) {
            assert!(allowed(at), "{what}: byte {at} is {ours:02x}, mkfs.fat writes {theirs:02x}");
        }
    }
}

#[test]
fn an_empty_file_system_is_that_of_mkfs() {
    let Some(mkfs) = testkit::tool("mkfs.fat") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fat.img");
    for mib in [
        32, 33, 34, 64, 100, 128, 129, 256, 257, 260, 261, 300, 504, 505, 1008, 1009, 1101, 2016, 2017, 2101, 4032,
        4033, 4096,
    ] {
        compare_with_mkfs(&mkfs, &path, mib * MIB, SectorSize::B512);
    }
    for mib in [100, 257, 300, 1101, 2079, 2080, 2081, 2101, 4095, 4096] {
        compare_with_mkfs(&mkfs, &path, mib * MIB, SectorSize::B4096);
    }
    for gib in [8, 9, 16, 17, 32, 33] {
        compare_with_mkfs(&mkfs, &path, gib * 1024 * MIB, SectorSize::B512);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_size_gives_the_geometry_of_mkfs(size in 33 * MIB..4096 * MIB, large in any::<bool>()) {
        if let Some(mkfs) = testkit::tool("mkfs.fat") {
            let sector = if large { SectorSize::B4096 } else { SectorSize::B512 };
            let dir = tempfile::tempdir().unwrap();
            compare_with_mkfs(&mkfs, &dir.path().join("fat.img"), size / sector.bytes() * sector.bytes(), sector);
        }
    }
}

/// Bytes that differ from file to file and compress to nothing, so that mixed-up clusters show.
fn data(seed: u64, len: usize) -> Vec<u8> {
    testkit::Rng::new(seed).bytes(len)
}

fn rich_tree() -> (fat::Tree, Vec<(String, Vec<u8>)>) {
    let mut files: Vec<(String, usize)> = [
        ("EFI/boot/BOOTAA64.efi", 114_688),
        ("EFI/Linux/Talos-v1.10.6.efi", 3_000_001),
        ("loader/loader.conf", 41),
        ("dtb/rockchip/rk3588s-nanopi-m6.dtb", 262_417),
        ("UPPER.TXT", 511),
        ("lower.txt", 512),
        ("Mixed.Txt", 513),
        ("empty", 0),
        ("no.ext.but.dots", 4096),
        ("with space and ünïcödé – 😀.bin", 4097),
        ("a+b,c;d=e[f].x", 1),
        (".hidden", 2),
        ("LONGNA~1.TXT", 3),
        ("long name number one.txt", 4),
        ("long name number two.txt", 5),
        ("deep/d/e/e/p/e/r/file", 6),
    ]
    .map(|(path, len)| (path.to_owned(), len))
    .to_vec();
    files.push((format!("names/{}", "x".repeat(255)), 7));
    files.extend((0..300).map(|i| (format!("many/a file with a long name, number {i:04}"), i)));
    let mut tree = fat::Tree::new();
    tree.add_dir("empty dir/inside").unwrap();
    let mut expected = Vec::new();
    for (seed, (path, len)) in (1..).zip(files) {
        let bytes = data(seed, len);
        tree.add_file(&path, bytes.clone().into()).unwrap();
        expected.push((path, bytes));
    }
    expected.sort();
    (tree, expected)
}

fn check_by_reader(image: &dyn ReadAt, expected: &[(String, Vec<u8>)]) {
    let (volume, report) = fat::read(image);
    assert!(report.is_empty(), "{report:?}");
    let volume = volume.unwrap();
    let mut files: Vec<_> = volume.files().iter().filter(|entry| !entry.is_dir).map(|entry| &entry.path).collect();
    files.sort();
    assert_eq!(files, expected.iter().map(|(path, _)| path).collect::<Vec<_>>());
    for (path, bytes) in expected {
        let entry = volume.entry(path).unwrap();
        assert_eq!(entry.size, bytes.len() as u64);
        assert!(entry.extents.len() <= 1, "{path} is fragmented");
        let file = volume.open(image, path).unwrap();
        assert!(bytes_at(&file, 0, bytes.len()) == *bytes, "{path}");
    }
    assert_eq!(volume.fragmented, 0);
}

fn fsck(path: &Path) {
    if let Some(fsck) = testkit::tool("fsck.fat") {
        testkit::run(Command::new(fsck).arg("-n").arg("-V").arg(path));
    }
}

/// The device that the `fatfs` crate wants; it is not told to write.
struct Device<R>(ReadAtCursor<R>);

impl<R: ReadAt> io::Read for Device<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: ReadAt> io::Seek for Device<R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl<R> io::Write for Device<R> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check_by_fatfs(image: &dyn ReadAt, expected: &[(String, Vec<u8>)]) {
    let system = fatfs::FileSystem::new(Device(ReadAtCursor::new(image)), fatfs::FsOptions::new()).unwrap();
    assert_eq!(system.volume_label(), "EFI");
    for (path, bytes) in expected {
        let mut found = Vec::new();
        system.root_dir().open_file(path).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == *bytes, "{path}");
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let root = system.root_dir();
        let parent = if parent.is_empty() { root } else { root.open_dir(parent).unwrap() };
        assert!(parent.iter().any(|entry| entry.unwrap().file_name() == name), "{path}: spelled differently");
    }
}

#[test]
fn other_programs_read_every_file() {
    let (tree, expected) = rich_tree();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fat.img");
    for (size, sector) in
        [(34, SectorSize::B512), (100, SectorSize::B512), (1101, SectorSize::B512), (300, SectorSize::B4096)]
    {
        let plan = fat::plan(&tree, &options(size * MIB, sector)).unwrap();
        check_by_reader(&plan.extents, &expected);
        write_sparse(&path, &plan.extents);
        fsck(&path);
        if sector == SectorSize::B512 {
            check_by_fatfs(&plan.extents, &expected);
        }
        if let Some(mcopy) = testkit::tool("mcopy") {
            let out = dir.path().join(format!("out{size}"));
            std::fs::create_dir(&out).unwrap();
            let mut command = Command::new(mcopy);
            command.env("LC_ALL", "C.UTF-8").arg("-s").arg("-n").arg("-i").arg(&path).arg("::/").arg(&out);
            testkit::run(&mut command);
            // mtools knows no characters beyond 16 bits.
            for (path, bytes) in expected.iter().filter(|(path, _)| path.chars().all(|c| u32::from(c) < 0x1_0000)) {
                assert!(testkit::read(out.join(path)) == *bytes, "{path}");
            }
            assert!(out.join("empty dir/inside").is_dir());
        }
        if let Some(mdir) = testkit::tool("mdir") {
            let said = testkit::run(Command::new(mdir).arg("-i").arg(&path).arg("::/EFI/boot"));
            assert!(said.contains("BOOTAA64.efi") && said.contains("2015-03-14"), "{said}");
        }
    }
}

#[test]
fn names_times_and_places_are_a_function_of_the_tree() {
    let mut tree = fat::Tree::new();
    for path in ["b/z", "b/A", "B.TXT", "a", "b/y/x"] {
        tree.add_file(path, vec![1; 600].into()).unwrap();
    }
    tree.add_file("0-empty", vec![].into()).unwrap();
    let plan = fat::plan(
        &tree,
        &fat::Options { hidden_sectors: 22_528, volume_id: 7, ..options(100 * MIB, SectorSize::B512) },
    )
    .unwrap();
    let data = plan.geometry.data_offset();
    let places: Vec<_> =
        plan.files.iter().map(|file| (file.path.as_str(), file.offset.map(|at| (at - data) / 512 + 2))).collect();
    assert_eq!(
        places,
        [
            ("0-empty", None),
            ("B.TXT", Some(5)),
            ("a", Some(7)),
            ("b/A", Some(9)),
            ("b/z", Some(11)),
            ("b/y/x", Some(13))
        ]
    );
    assert_eq!((plan.used_clusters, plan.free_clusters), (13, plan.geometry.clusters - 13));
    let labels: Vec<_> = plan.extents.leaves().map(|leaf| leaf.label).collect();
    assert_eq!(
        labels[..8],
        [
            "boot sector",
            "file system information",
            "backup boot sector",
            "backup file system information",
            "FAT 1",
            "FAT 2",
            "/",
            "b/"
        ]
    );
    let (volume, report) = fat::read(&plan.extents);
    assert!(report.is_empty(), "{report:?}");
    let volume = volume.unwrap();
    assert_eq!((volume.parameters.hidden_sectors, volume.parameters.volume_id), (22_528, 7));
    let found: Vec<_> =
        volume.files().iter().map(|entry| (entry.path.as_str(), entry.short_name.as_str(), entry.attributes)).collect();
    assert_eq!(
        found,
        [
            ("0-empty", "0-EMPTY", 0x20),
            ("B.TXT", "B.TXT", 0x20),
            ("a", "A", 0x20),
            ("b", "B", 0x10),
            ("b/A", "A", 0x20),
            ("b/y", "Y", 0x10),
            ("b/z", "Z", 0x20),
            ("b/y/x", "X", 0x20),
        ]
    );
    let times: std::collections::BTreeSet<_> = volume.files().iter().map(|entry| entry.modified).collect();
    assert_eq!(times.into_iter().collect::<Vec<_>>(), [Epoch(1_426_325_212).civil()]);
}

/// A medium that fails when it is read.
struct Unreadable(u64);

impl ReadAt for Unreadable {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("read"))
    }
}

#[test]
fn planning_reads_no_file() {
    let mut tree = fat::Tree::new();
    let huge = Blob::new("huge", Arc::new(Unreadable(u64::from(u32::MAX))), None);
    tree.add_file("huge", huge.into()).unwrap();
    let plan = fat::plan(&tree, &options(5000 * MIB, SectorSize::B512)).unwrap();
    assert_eq!(plan.files[0].size, u64::from(u32::MAX));
    let (volume, report) = fat::read(&plan.extents);
    assert!(report.is_empty());
    let volume = volume.unwrap();
    let file = volume.open(&plan.extents, "huge").unwrap();
    assert!(file.read_exact_at(1 << 31, &mut [0; 4]).is_err());
}

#[test]
fn what_does_not_fit_says_what_would() {
    let mut tree = fat::Tree::new();
    tree.add_file("big", Content::Zero(150 * MIB)).unwrap();
    for (size, sector, needed) in [(100, SectorSize::B512, 153), (1, SectorSize::B4096, 257)] {
        let error = fat::plan(&tree, &options(size * MIB, sector)).unwrap_err();
        let (ErrorKind::FatTooSmall { needed: found, given }
        | ErrorKind::FatTooFewClusters { needed: found, given, .. }) = error.kind()
        else {
            panic!("{error}")
        };
        assert_eq!((*found, *given), (needed * MIB, size * MIB), "{error}");
        assert!(fat::plan(&tree, &options(*found, sector)).is_ok());
        assert!(fat::plan(&tree, &options(*found - MIB, sector)).is_err());
    }
    let error = fat::plan(&tree, &options(100 * MIB, SectorSize::B512)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "FAT32: the files need a file system of 153 MiB (160432128 bytes), but it has 100 MiB (104857600 bytes): enlarge \
         the partition or remove files"
    );
    let error = fat::plan(&fat::Tree::new(), &options(20 * MIB, SectorSize::B512)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "FAT32: 20 MiB (20971520 bytes) give 40298 clusters, fewer than the 65525 below which readers see FAT16: at \
         least 33 MiB (34603008 bytes) are needed"
    );
    let full = fat::plan(&fat::Tree::new(), &options(100 * MIB, SectorSize::B512)).unwrap();
    let mut tree = fat::Tree::new();
    tree.add_file("all", Content::Zero(u64::from(full.free_clusters) * 512)).unwrap();
    assert_eq!(fat::plan(&tree, &options(100 * MIB, SectorSize::B512)).unwrap().free_clusters, 0);
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (label, problem) in [
        ("TWELVE CHARS", "at most 11 characters fit"),
        ("efi", "use upper-case ASCII letters, digits and -_#$%&'()@^`{}~!"),
        ("A.B", "use upper-case ASCII letters, digits and -_#$%&'()@^`{}~!"),
        (" A", "it begins or ends with a space"),
    ] {
        let error = fat::plan(
            &fat::Tree::new(),
            &fat::Options { label: label.to_owned(), ..options(100 * MIB, SectorSize::B512) },
        );
        assert_eq!(error.unwrap_err().to_string(), format!("FAT32: label {label:?}: {problem}"));
    }
    let error = fat::plan(&fat::Tree::new(), &options(100 * MIB + 1, SectorSize::B512)).unwrap_err();
    assert_eq!(error.to_string(), "FAT32: the size 104857601 is not a multiple of the sector size");
    let mut crowded = fat::Tree::new();
    for i in 0..40_000 {
        crowded.add_file(&format!("dir/name that needs two {i:05}"), Content::Zero(0)).unwrap();
    }
    let error = fat::plan(&crowded, &options(100 * MIB, SectorSize::B512)).unwrap_err();
    assert_eq!(error.to_string(), "FAT32: \"dir\": the directory needs 120002 entries, at most 65536 fit");
    let unlabelled =
        fat::plan(&fat::Tree::new(), &fat::Options { label: String::new(), ..options(100 * MIB, SectorSize::B512) })
            .unwrap();
    let (volume, report) = fat::read(&unlabelled.extents);
    assert!(report.is_empty());
    let volume = volume.unwrap();
    assert_eq!((volume.label.as_str(), volume.parameters.boot_label.as_str()), ("", "NO NAME"));
}

fn any_tree() -> impl Strategy<Value = Vec<(String, usize)>> {
    let name = prop_oneof![
        "[A-Z]{1,8}(\\.[A-Z]{1,3})?",
        "[a-z~.]{1,12}[a-z0-9]",
        "[a-zA-Zäöüßéλж漢😀 +,;=\\[\\]-]{0,40}[a-zA-Z0-9]",
    ];
    let path = prop::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::vec((path, 0_usize..20_000), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_written_is_read(files in any_tree(), size in 66_000_u64..120_000) {
        let mut tree = fat::Tree::new();
        let mut expected = Vec::new();
        for (seed, (path, len)) in (1..).zip(files) {
            let bytes = data(seed, len);
            if tree.add_file(&path, bytes.clone().into()).is_ok() {
                expected.push((path, bytes));
            }
        }
        expected.sort();
        let plan = fat::plan(&tree, &options(size * 1024, SectorSize::B512)).unwrap();
        check_by_reader(&plan.extents, &expected);
        prop_assert_eq!(tree.files().len(), expected.len());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fat.img");
        write_sparse(&path, &plan.extents);
        fsck(&path);
        check_by_fatfs(&plan.extents, &expected);
    }
}

struct Sample {
    plan: fat::Plan,
    /// Offsets of FAT 1, FAT 2, the root directory and `dir`.
    fat1: u64,
    fat2: u64,
    root: u64,
    dir: u64,
}

fn sample() -> Sample {
    let mut tree = fat::Tree::new();
    tree.add_file("A.BIN", data(1, 2000).into()).unwrap();
    tree.add_file("B.BIN", data(2, 1000).into()).unwrap();
    tree.add_file("dir/a long name.txt", data(3, 100).into()).unwrap();
    let plan = fat::plan(&tree, &options(40 * MIB, SectorSize::B512)).unwrap();
    let g = plan.geometry;
    Sample {
        fat1: g.fat_offset(),
        fat2: g.fat_offset() + g.fat_bytes(),
        root: g.data_offset(),
        dir: g.data_offset() + 512,
        plan,
    }
}

/// Each row damages a sound file system. Clusters: root 2, dir 3, A.BIN 4 to 7, B.BIN 8 and 9, the long name 10. Root
/// entries: label, A.BIN, B.BIN, long part and short entry of `dir`.
#[test]
fn damage_is_found_and_named() {
    let Sample { plan, fat1, fat2, root, dir } = sample();
    let both = |cluster: u64, value: u32| {
        vec![(fat1 + cluster * 4, value.to_le_bytes().to_vec()), (fat2 + cluster * 4, value.to_le_bytes().to_vec())]
    };
    let boot = |at: u64, bytes: &[u8]| vec![(at, bytes.to_vec()), (6 * 512 + at, bytes.to_vec())];
    let one = |at: u64, bytes: &[u8]| vec![(at, bytes.to_vec())];
    type Row<'a> = (&'a str, Vec<(u64, Vec<u8>)>, &'a [&'a str]);
    let rows: Vec<Row<'_>> = vec![
        ("nothing", vec![], &[]),
        ("signature", one(510, &[0]), &["FAT001"]),
        ("sector size", boot(11, &[0, 3]), &["FAT002"]),
        ("cluster size", boot(13, &[3]), &["FAT002"]),
        ("FAT16", boot(22, &[1]), &["FAT001"]),
        ("no FATs", boot(16, &[0]), &["FAT002"]),
        ("FATs longer than everything", boot(36, &[0xff; 4]), &["FAT002"]),
        ("type text", boot(82, b"FAT16"), &["FAT002"]),
        ("media", boot(21, &[0xf1]), &["FAT002"]),
        ("larger than the partition", boot(34, &[0xff]), &["FAT003", "FAT005"]),
        ("backup differs", one(6 * 512 + 3, b"x"), &["FAT006"]),
        ("backup outside", boot(50, &[99]), &["FAT006"]),
        ("no backup", boot(50, &[0, 0]), &["FAT006"]),
        ("mounted", one(65, &[1]), &["FAT021"]),
        ("information", one(512, b"x"), &["FAT007"]),
        ("free count", one(512 + 488, &[1]), &["FAT008"]),
        ("unknown free count", one(512 + 488, &[0xff; 4]), &[]),
        ("search hint", one(512 + 492, &[0xfe, 0xff, 0xff]), &["FAT008"]),
        ("FATs differ", one(fat2 + 4 * 4, &[9]), &["FAT009"]),
        ("loop", both(7, 4), &["FAT010"]),
        ("loop to itself", both(4, 4), &["FAT010", "FAT013", "FAT014"]),
        ("crossed", both(7, 8), &["FAT011", "FAT013"]),
        ("free in a chain", both(5, 0), &["FAT008", "FAT012", "FAT013", "FAT014"]),
        ("bad in a chain", both(5, 0x0fff_fff7), &["FAT012", "FAT013", "FAT014", "FAT022"]),
        ("beyond the end", both(5, 0x00ff_ffff), &["FAT012", "FAT013", "FAT014"]),
        ("lost", both(20, 0x0fff_ffff), &["FAT008", "FAT014"]),
        ("chain too short", both(4, 0x0fff_ffff), &["FAT013", "FAT014"]),
        ("file too short", one(root + 32 + 28, &[1, 0]), &["FAT013"]),
        ("empty with cluster", one(root + 32 + 28, &[0, 0]), &["FAT013"]),
        ("file without cluster", one(root + 32 + 26, &[0, 0]), &["FAT013", "FAT014"]),
        ("two files in one", one(root + 64 + 26, &[4]), &["FAT011", "FAT013", "FAT014"]),
        ("directory is the root", one(root + 128 + 26, &[2]), &["FAT011", "FAT014"]),
        ("name twice", one(root + 64, b"A"), &["FAT017"]),
        ("lower case", one(root + 64, b"b"), &["FAT016"]),
        ("checksum of a long name", one(dir + 64 + 13, &[1]), &["FAT015"]),
        ("order of a long name", one(dir + 64, &[0x43]), &["FAT015"]),
        ("long name without its file", one(dir + 128, &[0]), &["FAT014", "FAT015"]),
        ("deleted", one(dir + 128, &[0xe5]), &["FAT014"]),
        ("dot", one(dir + 26, &[9]), &["FAT016"]),
        ("dot dot", one(dir + 32 + 26, &[9]), &["FAT016"]),
        ("no dots", one(dir, &[0xe5]), &["FAT016"]),
        ("label", one(root, b"X"), &["FAT018"]),
        ("second label", one(root + 32 + 11, &[8]), &["FAT014", "FAT016"]),
        ("first FAT entry", both(0, 0x0fff_fff0), &["FAT002"]),
        ("second FAT entry", both(1, 0x07ff_ffff), &["FAT021"]),
    ];
    let mut wrong = Vec::new();
    for (what, patches, expected) in rows {
        let image = Patched { image: &plan.extents, patches };
        let (volume, report) = fat::read(&image);
        check_rules(&report);
        let found = codes(&report);
        if found != expected {
            wrong.push(format!("{what}: {found:?}, expected {expected:?}: {report:?}"));
        }
        if !report.has_errors() {
            assert!(volume.is_some(), "{what}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_missing_part_of_the_medium_is_an_error_not_a_panic() {
    let plan = sample().plan;
    for size in [0, 1, 511, 512, 513, 4096, 100_000, MIB, 39 * MIB] {
        let (_, report) = fat::read(&rawimg::Window::new(&plan.extents, 0..size));
        assert!(report.has_errors(), "{size}");
        check_rules(&report);
    }
    let (volume, report) = fat::read(&Unreadable(MIB));
    assert_eq!((volume, codes(&report)), (None, vec!["FAT020"]));
}

#[test]
fn fragmented_files_are_read_in_order() {
    let Sample { plan, fat1, fat2, root, .. } = sample();
    // A.BIN: 4 → 8 → 5 → 9, B.BIN: 6 → 7.
    let patches = [(4_u64, 8_u32), (8, 5), (5, 9), (9, 0x0fff_ffff), (6, 7), (7, 0x0fff_fff8)]
        .into_iter()
        .flat_map(|(cluster, value)| [fat1, fat2].map(|fat| (fat + cluster * 4, value.to_le_bytes().to_vec())))
        .chain([(root + 64 + 26, vec![6])])
        .collect();
    let image = Patched { image: &plan.extents, patches };
    let (volume, report) = fat::read(&image);
    assert!(report.is_empty(), "{report:?}");
    let volume = volume.unwrap();
    assert_eq!(volume.fragmented, 1);
    let (mut a, mut b) = (data(1, 2000), data(2, 1000));
    a.resize(2048, 0);
    b.resize(1024, 0);
    let expected = [&a[..512], &b[..512], &a[512..1024], &b[512..]].concat();
    let mut found = Vec::new();
    ReadAtCursor::new(volume.open(&image, "A.BIN").unwrap()).read_to_end(&mut found).unwrap();
    assert_eq!(Digest::of(&found), Digest::of(&expected[..2000]));
}
