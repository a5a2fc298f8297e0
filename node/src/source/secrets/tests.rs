use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const CANARY: &str = "c4n4ry/+ \"wörd\\=&x";

fn secrets(toml: &str) -> (TempDir, Secrets) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), toml).unwrap();
    let environment = |name: &str| match name {
        "ANODE_SECRET_ENV" => Some("from-the-environment".to_owned()),
        "ANODE_SECRET_BOTH" => Some("environment".to_owned()),
        "ANODE_SECRET_CANARY" => Some(CANARY.to_owned()),
        _ => None,
    };
    let secrets = Secrets::with(dir.path(), environment);
    (dir, secrets)
}

#[test]
fn it_writes_out_references_from_both_places() {
    let (_dir, secrets) =
        secrets("FILE = \"from-the-file\"\nBOTH = \"file\"\nEMPTY = \"\"\nD = \"${secret:FILE}\"\n");
    for (text, expected, secret) in [
        ("plain", "plain", false),
        ("", "", false),
        ("${secret:FILE}", "from-the-file", true),
        ("a ${secret:ENV} b ${secret:FILE}.", "a from-the-environment b from-the-file.", true),
        ("${secret:BOTH}", "environment", true),
        ("x${secret:EMPTY}y", "xy", true),
        ("${secret:D}", "${secret:FILE}", true),
        ("$ {secret:FILE} ${other}", "$ {secret:FILE} ${other}", false),
    ] {
        let resolved = secrets.resolve(text).unwrap();
        assert_eq!((resolved.expose(), resolved.is_secret()), (expected, secret), "{text}");
        assert!(!secret || !format!("{resolved:?}").contains(expected) || expected.is_empty());
    }
}

#[test]
fn it_names_what_is_missing_and_where_it_could_be() {
    let (dir, secrets) = secrets("A = \"a\"\n");
    let missing = secrets.resolve("x ${secret:NO_SUCH} y").unwrap_err();
    let words = missing.to_string();
    assert!(words.contains("ANODE_SECRET_NO_SUCH") && words.contains("secrets.toml"), "{words}");
    assert!(words.contains(&dir.path().display().to_string()));
    for text in [
        "${secret:}",
        "${secret:a}",
        "${secret:A",
        "${secret:A B}",
        "${secret:Ä}",
        "${secret:../A}",
        &format!("${{secret:{}}}", "A".repeat(65)),
    ] {
        assert_eq!(secrets.resolve(text).unwrap_err(), Missing::Malformed, "{text}");
    }
}

#[test]
fn it_reads_the_file_again_when_it_changed_and_goes_without_it() {
    let (dir, secrets) = secrets("A = \"old\"\n");
    let value =
        |secrets: &Secrets| secrets.resolve("${secret:A}").map(|resolved| resolved.expose().to_owned());
    assert_eq!(value(&secrets).unwrap(), "old");
    fs::write(dir.path().join(FILE), "A = \"newer\"\n").unwrap();
    assert_eq!(value(&secrets).unwrap(), "newer");
    // The same length at the same moment: another file in its place.
    fs::write(dir.path().join("new"), "A = \"other\"\n").unwrap();
    fs::rename(dir.path().join("new"), dir.path().join(FILE)).unwrap();
    assert_eq!(value(&secrets).unwrap(), "other");
    assert_eq!(secrets.scrub("old newer other"), "${secret:A} ${secret:A} ${secret:A}");
    fs::remove_file(dir.path().join(FILE)).unwrap();
    assert!(matches!(value(&secrets), Err(Missing::Unknown { .. })));
}

#[test]
fn it_says_which_line_of_the_file_is_wrong_without_its_words() {
    for toml in [
        "A = \"a\"\nB = c4n4ry\n",
        "A = \"a\"\nc4n4ry\n",
        "A = \"a\"\nB = 4711\n",
        "A = \"a\"\nA = \"c4n4ry\"\n",
        "A = \"a\"\n[c4n4ry]\nx = 1\n",
    ] {
        let (_dir, secrets) = secrets(toml);
        let words = secrets.resolve("${secret:A}").unwrap_err().to_string();
        assert!(
            words.contains("secrets.toml:2:") && !words.contains("c4n4ry") && !words.contains("4711"),
            "{toml:?}: {words}"
        );
    }
    let (dir, secrets) = secrets("A = \"a\"\n");
    fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(secrets.resolve("${secret:A}").unwrap().expose(), "a");
}

#[test]
fn it_keeps_a_value_one_value_in_a_url() {
    let (_dir, secrets) =
        secrets("HOST = \"a.example\"\nODD = \"a/b?c#d&e%f g@h\"\nPLAIN = \"x-1._~\"\nSPACED = \"a b\"\n");
    for (text, expected) in [
        ("https://${secret:HOST}/x", "https://a.example/x"),
        ("https://a.example/${secret:PLAIN}/x", "https://a.example/x-1._~/x"),
        ("https://a.example/${secret:ODD}/x", "https://a.example/a/b%3Fc%23d%26e%25f%20g%40h/x"),
        ("https://a.example/?k=${secret:ODD}&l", "https://a.example/?k=a%2Fb%3Fc%23d%26e%25f%20g%40h&l"),
        ("https://a.example?k=${secret:ODD}", "https://a.example/?k=a%2Fb%3Fc%23d%26e%25f%20g%40h"),
        ("wss://u:${secret:ODD}@a.example/", "wss://u:a%2Fb%3Fc%23d%26e%25f%20g%40h@a.example/"),
        ("wss://${secret:ODD}@${secret:HOST}:99/", "wss://a%2Fb%3Fc%23d%26e%25f%20g%40h@a.example:99/"),
    ] {
        assert_eq!(secrets.resolve_url(text).unwrap().as_str(), expected, "{text}");
    }
    for text in ["https://${secret:SPACED}/", "https://${secret:NOPE}/", "no url"] {
        let failure = secrets.resolve_url(text).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("url"));
    }
}

#[test]
fn it_scrubs_every_form_in_which_a_value_may_be_quoted() {
    let (_dir, secrets) = secrets("SHORT = \"xyzzy\"\nLONGER = \"xyzzy-plugh\"\n");
    for name in ["CANARY", "SHORT", "LONGER"] {
        secrets.resolve(&format!("${{secret:{name}}}")).unwrap();
    }
    let basic = |user: &str| STANDARD.encode(format!("{user}:{CANARY}"));
    for (text, expected) in [
        ("", ""),
        ("nothing of it: xyzz.", "nothing of it: xyzz."),
        ("xyzzyxyzzy", "${secret:SHORT}${secret:SHORT}"),
        ("xyzzy-plugh, xyzzy-plug.", "${secret:LONGER}, ${secret:SHORT}-plug."),
        ("k=%78%79zzy&", "k=${secret:SHORT}&"),
        ("http://XYZZY-plugh.example/", "http://${secret:LONGER}.example/"),
        ("ä%", "ä%"),
        (&format!("at {CANARY}."), "at ${secret:CANARY}."),
        (&format!("at {}.", encode(CANARY, "")), "at ${secret:CANARY}."),
        (&format!("at {}.", encode(CANARY, "").to_lowercase()), "at ${secret:CANARY}."),
        (&format!("at {}.", encode(CANARY, "/&=")), "at ${secret:CANARY}."),
        (&format!("at {CANARY:?}."), "at \"${secret:CANARY}\"."),
        (&format!("at {}.", serde_json::to_string(CANARY).unwrap()), "at \"${secret:CANARY}\"."),
        (&url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect::<String>(), "${secret:CANARY}"),
    ] {
        assert_eq!(secrets.scrub(text), expected, "{text}");
    }
    for user in ["", "a", "ab", "abc"] {
        for form in [basic(user), URL_SAFE_NO_PAD.encode(format!("{user}:{CANARY}!"))] {
            let scrubbed = secrets.scrub(&format!("Basic {form}"));
            assert!(scrubbed.contains("${secret:CANARY}"), "{form}: {scrubbed}");
            assert!(scrubbed.len() < form.len() + 24 - CANARY.len() / 2, "{form}: {scrubbed}");
        }
    }
}

#[test]
fn it_shows_no_value_in_its_own_debug() {
    let (_dir, secrets) = secrets("");
    let resolved = secrets.resolve("${secret:CANARY}").unwrap();
    assert!(!format!("{secrets:?} {resolved:?}").contains("c4n4ry"));
}

proptest! {
    #[test]
    fn it_leaves_no_value_behind(before in ".{0,20}", value in "[ -~]{5,40}", after in ".{0,20}", upper in any::<bool>()) {
        let mut known = Known::default();
        known.add("X", &value);
        let percent = encode(&value, "");
        let percent = if upper { percent } else { percent.replace("%2F", "%2f").replace("%3A", "%3a") };
        for form in [value.clone(), percent, format!("{value:?}")] {
            let scrubbed = known.scrub(&format!("{before}{form}{after}"));
            // A value may happen to lie within the reference itself.
            prop_assert!(!scrubbed.replace("${secret:X}", "\u{0}").contains(&value), "{}", scrubbed);
        }
    }

    #[test]
    fn it_never_breaks_a_text(text in ".{0,60}", value in ".{1,8}") {
        let mut known = Known::default();
        known.add("X", &value);
        let _ = known.scrub(&text);
    }
}

#[test]
fn it_scrubs_what_a_cut_has_left() {
    let (_dir, secrets) = secrets("");
    assert!(secrets.resolve("${secret:CANARY} ${secret:ENV}").is_ok());
    let base64 = STANDARD.encode(CANARY);
    for (text, expected) in [
        ("key from-the-envi…", "key ${secret:ENV}…"),
        ("not \"from-the…\", and more", "not \"${secret:ENV}…\", and more"),
        ("key from", "key ${secret:ENV}"),
        ("key fro", "key fro"),
        ("key fro…", "key fro…"),
        ("from there", "from there"),
        ("from-the-envi, and more", "from-the-envi, and more"),
        ("c4n4ry%2", "${secret:CANARY}"),
        ("c4n4ry%…", "${secret:CANARY}…"),
        ("c4n4ry%2F+%20\\…", "${secret:CANARY}…"),
        ("c4n4ry/+ \\u00…", "${secret:CANARY}…"),
        (&format!("{}…", &base64[..9]), "${secret:CANARY}…"),
        (&base64[..5], &base64[..5]),
    ] {
        assert_eq!(secrets.scrub(text), expected, "{text}");
    }
}

#[test]
fn it_cuts_long_words_and_knows_a_secret_that_the_cut_broke() {
    let (_dir, secrets) = secrets("");
    secrets.resolve("${secret:ENV}").unwrap();
    assert_eq!(secrets.scrub_words("at from-the-environment."), "at ${secret:ENV}.");
    let before = "x".repeat(WORDS - 10);
    let scrubbed = secrets.scrub_words(&format!("{before}from-the-environment{before}"));
    assert_eq!(scrubbed, format!("{before}${{secret:ENV}}…"));
    assert!(secrets.scrub_words(&"ä".repeat(60_000)).len() <= WORDS);
}

#[test]
fn it_gives_secrets_while_a_long_text_is_looked_through() {
    let (_dir, secrets) = secrets("A = \"aaaaaaaaaaaaaab\"\n");
    secrets.resolve("${secret:A}").unwrap();
    let slow = secrets.clone();
    let scrubbing = std::thread::spawn(move || {
        let began = std::time::Instant::now();
        slow.scrub(&"a".repeat(400_000));
        began.elapsed()
    });
    let mut longest = std::time::Duration::ZERO;
    while !scrubbing.is_finished() {
        let began = std::time::Instant::now();
        secrets.resolve("${secret:A}").unwrap();
        longest = longest.max(began.elapsed());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let whole = scrubbing.join().unwrap();
    assert!(longest < whole / 2, "{longest:?} of {whole:?}");
}
