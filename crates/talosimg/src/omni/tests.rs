use proptest::prelude::*;

use super::*;
use crate::schematic::{Overlay, Schematic};

const SINK: &str = "talos.events.sink=[fdae:41e4:649b:9303::1]:8091";
const LOG: &str = "talos.logging.kernel=tcp://[fdae:41e4:649b:9303::1]:8092";

/// Cases of Omni's own test (`client/pkg/siderolink/siderolink_test.go`) and of addresses that Talos takes.
#[test]
fn arguments_are_those_of_omni() {
    let signed = "v1:eyJleHRyYV9kYXRhIjp7Im9tbmkuc2lkZXJvLmRldi9pbmZyYS1wcm92aWRlci1pZCI6InRlc3QifSwic2lnbmF0dXJlIjoiWTNpZ285V2xJSVZOWWpXZmgyWlg5NnpnWW5UQjlwWTI3ZEJaVnJwNDJMZz0ifQ==";
    for (url, token, api) in [
        ("grpc://127.0.0.1:8099?grpc_tunnel=true", "abcd", "grpc://127.0.0.1:8099?grpc_tunnel=true&jointoken=abcd"),
        ("https://127.0.0.1:8099", "abcd", "https://127.0.0.1:8099?jointoken=abcd"),
        (
            "https://127.0.0.1:8099",
            signed,
            "https://127.0.0.1:8099?jointoken=v1%3AeyJleHRyYV9kYXRhIjp7Im9tbmkuc2lkZXJvLmRldi9pbmZyYS1wcm92aWRlci1pZCI6InRlc3QifSwic2lnbmF0dXJlIjoiWTNpZ285V2xJSVZOWWpXZmgyWlg5NnpnWW5UQjlwWTI3ZEJaVnJwNDJMZz0ifQ%3D%3D",
        ),
        ("https://me.siderolink.omni.siderolabs.io", "a\r\n", "https://me.siderolink.omni.siderolabs.io?jointoken=a"),
        ("https://siderolink.api/", "a~b_c-d.e+f", "https://siderolink.api/?jointoken=a~b_c-d.e%2Bf"),
        ("HTTPS://omni.example:443?grpc_tunnel=false", "a", "https://omni.example:443?jointoken=a"),
        ("grpc://[fdae::1]:8090?grpc_tunnel=y&", "a", "grpc://[fdae::1]:8090?grpc_tunnel=true&jointoken=a"),
        ("https://[::1]", "a", "https://[::1]?jointoken=a"),
    ] {
        let found = arguments(url, &Token::parse(token).unwrap()).unwrap();
        assert_eq!(found, [format!("siderolink.api={api}"), SINK.to_owned(), LOG.to_owned()], "{url}");
    }
}

#[test]
fn other_addresses_are_refused_without_showing_them() {
    let token = Token::parse("s3cret").unwrap();
    for (url, word) in [
        ("", "no scheme"),
        ("omni.example:8090", "no scheme"),
        ("http://omni.example:8090", "its scheme is http"),
        ("wss://omni.example", "its scheme is wss"),
        ("://omni.example", "scheme"),
        ("https://", "no host"),
        ("https://:8090", "no host"),
        ("grpc://omni.example", "grpc:// needs a port"),
        ("https://omni.example:0", "port"),
        ("https://omni.example:65536", "port"),
        ("https://omni.example:http", "port"),
        ("https://omni.example:", "port"),
        ("https://fdae::1:8090", "brackets"),
        ("https://[fdae::1:8090", "no ]"),
        ("https://[omni]:8090", "no IPv6"),
        ("https://[::1]8090", "behind the ]"),
        ("https://me:s3cret@omni.example", "user name"),
        ("https://s3cret@omni.example/", "user name"),
        ("https://omni.example/s3cret", "path"),
        ("https://omni.example?jointoken=s3cret", "given as a file"),
        ("https://omni.example?grpc_tunnel=true&a=s3cret", "its query"),
        ("https://omni.example#s3cret", "fragment"),
        ("https://omni.example s3cret", "character"),
        ("https://omni.exämple", "character"),
        ("https://omni.example\nb", "character"),
    ] {
        let error = arguments(url, &token).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("expected https://HOST"), "{url}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn tokens_are_one_word_and_never_shown() {
    for (text, word) in [
        ("", "empty"),
        ("\n", "empty"),
        ("s3cret\nmore", "several lines"),
        ("s3cret more", "white space"),
        (" s3cret", "white space"),
        ("s3cret\t", "white space"),
        ("siderolink.api=https://h?jointoken=s3cret", "behind `jointoken=`"),
        ("https://s3cret", "behind `jointoken=`"),
        ("s3cret\u{7}", "character"),
        ("s3crét", "character"),
        (&"s3cret".repeat(1000), "6000 bytes"),
    ] {
        let error = Token::parse(text).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("s3cr"), "{shown}");
        }
        assert!(error.to_string().contains(word), "{text:?}: {error}");
    }
    assert_eq!(format!("{:?}", Token::parse("\u{feff}s3cret\r\n").unwrap()), "Token(…)");
}

proptest! {
    #[test]
    fn arguments_never_hold_a_blank(url in "\\PC{0,40}", token in "\\PC{0,20}") {
        let found = Token::parse(&token).and_then(|token| arguments(&format!("https://{url}"), &token));
        for argument in found.unwrap_or_default() {
            prop_assert!(argument.bytes().all(|byte| byte.is_ascii_graphic()), "{argument}");
        }
    }
}

#[test]
fn an_upgrade_is_told_before_it_happens() {
    let overlay = |image: &str| Schematic {
        overlay: Overlay { image: image.to_owned(), name: "rk3588".to_owned(), options: vec![] },
        ..Schematic::default()
    };
    let (ours, official) = (overlay("ghcr.io/example/overlay"), overlay("siderolabs/sbc-rockchip"));
    let tagged = overlay("ghcr.io/siderolabs/sbc-rockchip:v0.1.9@sha256:00");
    let mut foreign = official.clone();
    foreign.customization.official_extensions = vec!["siderolabs/gvisor".to_owned(), "example/npu".to_owned()];
    let plain = Schematic::default();
    let npu = ["npu".to_owned()];
    let image = Image { overlay: true, ..Image::default() };
    for (image, outcome, words) in [
        (image, Upgrade::LosesOverlay, &["records no schematic", "without the overlay"][..]),
        (Image { other_extensions: &npu, ..image }, Upgrade::InvalidSchematic, &["(npu)", "invalid"]),
        (
            Image { overlay: false, other_extensions: &npu, ..image },
            Upgrade::InvalidSchematic,
            &["without the extensions"],
        ),
        (
            Image { schematic: Some(&ours), ..image },
            Upgrade::Refused,
            &["rk3588 (ghcr.io/example/overlay)", "goes on as it is"],
        ),
        (Image { schematic: Some(&foreign), ..image }, Upgrade::Refused, &["the extension example/npu"]),
        (Image { schematic: Some(&plain), ..image }, Upgrade::LosesOverlay, &["names no overlay"]),
        (
            Image { schematic: Some(&official), ..image },
            Upgrade::FactoryBuild,
            &["own build of siderolabs/sbc-rockchip"],
        ),
        (Image { schematic: Some(&tagged), ..image }, Upgrade::FactoryBuild, &["sbc-rockchip"]),
        (
            Image { schematic: Some(&official), other_extensions: &npu, other_kernel: true, ..image },
            Upgrade::FactoryBuild,
            &["without npu, the kernel of this build"],
        ),
        (Image { overlay: false, ..image }, Upgrade::FactoryBuild, &["plain installer"]),
    ] {
        let report = upgrade(&image);
        assert_eq!(report.outcome, outcome, "{report}");
        for word in words {
            assert!(report.sentence.contains(word), "{report}");
        }
        let lost = matches!(outcome, Upgrade::LosesOverlay | Upgrade::InvalidSchematic);
        assert_eq!(report.finding().code, if lost { "OMN001" } else { "OMN002" });
    }
    let json = serde_json::to_value(upgrade(&image)).unwrap();
    assert_eq!(json["outcome"], "loses-overlay");
}
