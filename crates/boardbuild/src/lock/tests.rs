use super::*;

fn locked(board: &str, name: &str) -> Locked {
    Locked {
        board: board.to_owned(),
        name: name.to_owned(),
        origin: format!("files/{name}"),
        sha256: Digest::of(name.as_bytes()),
        size: 3,
        licence: None,
        from: None,
    }
}

#[test]
fn a_lock_reads_back_what_it_wrote_sorted() {
    let home = tempfile::tempdir().unwrap();
    let mut lock = Lock::new(Epoch(5));
    for name in ["u-boot", "dtb", "u-boot"] {
        lock.set(locked("b", name));
    }
    lock.set(Locked {
        licence: Some("GPL-2.0+ \"U-Boot\" \\ \u{e4}".to_owned()),
        from: Some(Container {
            url: Some("https://h/p.deb".to_owned()),
            sha256: Digest::of(b"deb"),
            size: 9,
            unpacked: Some(90),
        }),
        ..locked("a", "x")
    });
    for tag in ["v2", "v1", "v2"] {
        lock.set_image(LockedImage {
            reference: format!("h/i:{tag}"),
            platform: "linux/arm64".to_owned(),
            digest: Digest::of(tag.as_bytes()),
            size: 7,
            unpacked: None,
        });
    }
    lock.set_unresolved(Unresolved::new("b", "z", "https://h/z", "no network"));
    lock.write(home.path()).unwrap();
    let back = Lock::read(home.path()).unwrap();
    assert_eq!(back, lock);
    let names: Vec<_> = back.sources.iter().map(|locked| (locked.board.as_str(), locked.name.as_str())).collect();
    assert_eq!(names, [("a", "x"), ("b", "dtb"), ("b", "u-boot")]);
    assert_eq!(back.find("b", "dtb").map(|locked| locked.size), Some(3));
    assert_eq!(back.find_image("h/i:v1", "linux/arm64").map(|image| image.size), Some(7));
    assert_eq!(back.epoch, Some(5));
}

#[test]
fn a_lock_that_would_not_be_read_is_not_written() {
    let home = tempfile::tempdir().unwrap();
    let mut lock = Lock::new(Epoch(5));
    lock.set(locked("b", "x"));
    lock.write(home.path()).unwrap();
    let good = lock.clone();
    let from = Container { url: None, sha256: Digest::of(b"m"), size: 0, unpacked: None };
    for bad in [
        Locked { size: 0, ..locked("b", "y") },
        Locked { from: Some(from), ..locked("b", "y") },
        Locked { licence: Some("a\u{0}".to_owned()), ..locked("b", "y") },
    ] {
        let mut lock = good.clone();
        lock.set(bad);
        let error = lock.write(home.path()).unwrap_err();
        assert!(error.to_string().contains("internal error"), "{error}");
        assert_eq!(error.exit_code(), 4);
        assert_eq!(Lock::read(home.path()).unwrap(), good);
    }
}

#[test]
fn an_input_is_locked_or_unresolved_never_both() {
    let mut lock = Lock::new(Epoch(0));
    lock.set_unresolved(Unresolved::new("b", "x", "https://h/x", "no network"));
    lock.set(locked("b", "x"));
    assert!(lock.find_unresolved("b", "x").is_none() && lock.find("b", "x").is_some());
    lock.set_unresolved(Unresolved::new("b", "x", "https://h/x", "gone"));
    assert!(lock.find_unresolved("b", "x").is_some() && lock.find("b", "x").is_none());
}

#[test]
fn a_lock_of_the_first_shape_is_read() {
    let text = "version = 1\nepoch = 1763769600\n\n[[source]]\nboard = \"demo\"\nname = \"dtb\"\norigin = \"../f\"\nsha256 = \
                \"sha256:4349b3b4e81c597a9eafa11930cd02f4313febd86b5da5e73dddbee5e3c4eb5a\"\nsize = 817\n";
    let lock = Lock::parse("l", text).unwrap();
    assert_eq!((lock.epoch, lock.sources.len(), lock.images.len()), (Some(1_763_769_600), 1, 0));
    assert!(lock.to_text().ends_with(text));
    assert_eq!(Lock::parse("l", "version = 1").unwrap().epoch(Path::new("x")).unwrap_err().exit_code(), 2);
}

#[test]
fn bad_locks_say_where_and_what() {
    let entry = "board = \"b\"\nname = \"x\"\norigin = \"o\"\n";
    let digest = format!("sha256 = \"{}\"\nsize = 1\n", Digest::of(b""));
    let source = format!("[[source]]\n{entry}{digest}");
    let open = format!("[[unresolved]]\n{entry}why = \"w\"\n");
    let image = format!(
        "[[image]]\nreference = \"h/i:t\"\nplatform = \"linux/arm64\"\ndigest = \"{}\"\nsize = 1\n",
        Digest::of(b"")
    );
    for (text, expected, line) in [
        (format!("{source}{source}"), "the input x of b is there twice, first in line 2", 8),
        (format!("{source}{open}"), "is there twice, first in line 2", 8),
        (format!("{image}{image}"), "h/i:t for linux/arm64 is there twice, first in line 2", 7),
        (format!("[[source]]\n{entry}sha256 = \"sha256:12\"\nsize = 1"), "not a SHA-256 digest", 6),
        (source.replace("size = 1", "size = 0"), "0 bytes", 2),
        (source.replace("size = 1", "size = -1"), "invalid value", 7),
        (source.replace("\"b\"", "\"../b\""), "`board` is no name", 2),
        (source.replace("\"o\"", "\" \""), "`origin` is empty", 2),
        (format!("{source}orgin = 1\n"), "did you mean `origin`?", 8),
        (format!("{source}from = {{ sha256 = \"{}\", size = 0 }}\n", Digest::of(b"")), "`from` has 0 bytes", 2),
        (open.replace("\"w\"", "\"\""), "`why` is empty", 2),
        (image.replace("linux/arm64", "arm"), "`platform` is none", 2),
        ("[[sources]]\n".to_owned(), "did you mean `source`?", 2),
    ] {
        let text = format!("version = 1\n{text}");
        let error = Lock::parse("b/sources.lock", &text).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}\n{error}");
        assert!(error.to_string().contains(&format!("--> b/sources.lock:{line}:")), "{text}\n{error}");
        assert_eq!(error.exit_code(), 2);
    }
    assert!(Lock::parse("l", "version = 2").unwrap_err().to_string().contains("version 2"));
}
