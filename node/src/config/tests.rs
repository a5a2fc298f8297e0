use super::*;

/// Reads a file's text and a command line, without the process's environment.
fn load(toml: &str, line: &[&str]) -> Result<(Config, Vec<Setting>), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("anode.toml");
    std::fs::write(&path, toml).unwrap();
    let file = File::load(&path, &options_command())
        .map_err(|error| format!("{error:#}").replace(&path.display().to_string(), "anode.toml"))?;
    let plain = options_command().mut_args(|arg| arg.env(None::<&'static str>));
    let matches = file
        .defaults(plain)
        .try_get_matches_from([&["run"], line].concat())
        .map_err(|error| error.to_string())?;
    let config = Config::from_matches(&matches, Some(&file)).map_err(|error| error.to_string())?;
    Ok((config, settings(&matches, Some(&file))))
}

#[test]
fn it_runs_with_nothing_said() {
    let (config, settings) = load("", &[]).unwrap();
    assert_eq!(config.http.address.to_string(), "127.0.0.1:8080");
    assert!(!config.http.address_given && !config.http.open_publish && config.http.allow_origins.is_empty());
    assert_eq!((config.network.as_str(), config.store.retain_bytes), ("local", 10 << 30));
    assert!(settings.iter().all(|setting| setting.source == Source::Default));
}

#[test]
fn it_puts_options_over_the_file_over_defaults() {
    let toml = "http = \"127.0.0.1:1\"\nretain-age = \"2h\"\nopen-publish = true\nretain_bytes = 5\n\
                allow-origin = [\"http://a\", \"http://b\"]\nlog-format = \"json\"\n";
    let (config, settings) = load(toml, &["--retain-age", "3h", "--open-publish=false"]).unwrap();
    assert!(config.http.address_given && !config.http.open_publish);
    assert_eq!(config.store.retain_age, Duration::from_secs(3 * 3_600));
    assert_eq!((config.store.retain_bytes, config.log_format), (5, LogFormat::Json));
    assert_eq!(config.http.allow_origins, ["http://a", "http://b"]);
    let of = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap();
    assert_eq!(of("retain-age").source, Source::Option);
    assert!(matches!(of("http").source, Source::File(_)));
    assert_eq!(of("network").source, Source::Default);
    assert_eq!(of("allow-origin").values, ["http://a", "http://b"]);
    assert!(load("", &["--open-publish"]).unwrap().0.http.open_publish);
}

#[test]
fn it_says_which_line_and_key_are_wrong_and_what_is_accepted() {
    for (toml, words) in [
        ("\ndata_dri = \"x\"", &["anode.toml:2", "unknown key `data_dri`", "`data-dir`"][..]),
        ("retain_age = 5", &["anode.toml:1", "`retain_age = 5`", "accepted is a string"]),
        ("retain-age = \"1h\"\nretain_age = \"1h\"", &["is set twice"]),
        ("zzz = 1", &["unknown key `zzz`", "known are data-dir, http"]),
        ("config = \"x\"", &["unknown key `config`"]),
        ("retain-age = \"7\"", &["anode.toml:1", "`retain-age = \"7\"`", "with ms, s, m, h, d or w"]),
        ("retain-age = 7", &["`retain-age = 7`", "accepted is a string"]),
        ("retain-bytes = -1", &["`retain-bytes = -1`", "whole number of bytes"]),
        ("retain-bytes = 1.5", &["a whole number of bytes"]),
        ("open-publish = \"true\"", &["true and false, without quotes"]),
        ("allow-origin = [1]", &["a list of strings"]),
        ("allow-origin = [\"https://a/\"]", &["without a path"]),
        ("http = \"8080\"", &["`http = \"8080\"`", "IP:PORT"]),
        ("log-format = \"xml\"", &["accepted are text, json"]),
        ("name = \"\"", &["`name", "1 to 64 bytes"]),
        ("[http]\naddress = 1", &["accepted is a string"]),
        ("http = ", &["anode.toml:1", "not TOML"]),
        ("http = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"", &["anode.toml:2", "duplicate"]),
    ] {
        let error = load(toml, &[]).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{toml:?} gave {error:?}, without {word:?}");
        }
    }
}

#[test]
fn it_refuses_malformed_options_with_what_is_accepted() {
    for (line, words) in [
        (["--http", "x"], "IP:PORT"),
        (["--retain-age", "1 year"], "with ms, s, m, h, d or w"),
        (["--retain-bytes", "0"], "1 byte or more"),
        (["--retain-byte", "1"], "--retain-bytes"),
        (["--log-format", "xml"], "text, json"),
    ] {
        let error = load("", &line).unwrap_err();
        assert!(error.contains(words), "{line:?}: {error}");
    }
}
