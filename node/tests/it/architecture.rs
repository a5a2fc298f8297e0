//! The structure as the design has it: stages never see each other, pure files touch nothing.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file's code up to its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// All Rust files below a folder (and the file beside it of the same name), but for tests.
fn files(place: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![root().join(place)];
    let beside = root().join(format!("{place}.rs"));
    found.extend(beside.exists().then_some(beside));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" && name != "sim" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" && name != "sim.rs" {
                found.push(path);
            }
        }
    }
    found
}

/// What a file imports of the node's own modules.
fn imports(code: &str) -> Vec<String> {
    let parts = code.split("crate::").skip(1);
    parts.map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()).collect()
}

fn check(stage: &str, may_see: &[&str]) {
    let files = files(&format!("node/src/{stage}"));
    assert!(!files.is_empty(), "no files of {stage}");
    for file in files {
        for import in imports(&code(&file)).into_iter().filter(|import| import != stage) {
            assert!(
                may_see.contains(&import.as_str()),
                "{} sees `{import}`; {stage} may see {may_see:?}",
                file.display()
            );
        }
    }
}

#[test]
fn it_keeps_stages_apart() {
    check("store", &[]);
    check("source", &["pipeline", "store", "config"]);
    check("expression", &[]);
    check("pipeline", &["expression", "store"]);
    check("gossip", &["store"]);
    check("feed", &["store", "config", "expression"]);
    check("archive", &["store", "config"]);
    check("metrics", &["archive", "gossip", "source", "store", "feed"]);
    check("api", &["archive", "gossip", "source", "store", "feed", "metrics", "config"]);
    check("config", &[]);
    check("identity", &["config"]);
    check("telemetry", &["config"]);
    check("client", &["config", "identity", "source"]);
}

#[test]
fn it_keeps_pure_files_pure() {
    let store =
        ["order", "index", "own", "dedupe", "place", "entry", "acceptance", "tail", "topics", "replay"];
    let mut pure: Vec<PathBuf> =
        store.iter().map(|name| root().join(format!("node/src/store/{name}.rs"))).collect();
    let source = ["backoff", "state", "beats", "latency", "rate", "figures", "events", "flood"];
    pure.extend(source.iter().map(|name| root().join(format!("node/src/source/{name}.rs"))));
    for name in [
        "spans",
        "dice",
        "rates",
        "crowd",
        "conduct",
        "clock",
        "members",
        "presence",
        "runs",
        "repair",
        "news",
        "roster",
        "witnesses",
    ] {
        pure.extend(files(&format!("node/src/gossip/{name}")));
    }
    for name in ["plan", "owner", "rows", "seen", "latest", "board"] {
        pure.extend(files(&format!("node/src/archive/{name}")));
    }
    pure.extend(files("node/src/source/guard"));
    pure.extend(["shared/src", "node/src/expression", "node/src/pipeline"].into_iter().flat_map(files));
    let forbidden = [
        "tokio",
        "std::net",
        "std::fs",
        "SystemTime",
        "Instant::now",
        "rand::",
        "axum",
        "hyper",
        "std::thread",
    ];
    for file in pure {
        let code = code(&file);
        assert!(!code.is_empty(), "{} is gone", file.display());
        for name in forbidden {
            assert!(!code.contains(name), "{} is pure and names `{name}`", file.display());
        }
    }
}

#[test]
fn it_names_some_libraries_in_one_place_only() {
    for file in files("shared/src").into_iter().chain(files("node/src")).chain(files("web-ui/src")) {
        if !file.ends_with("codec.rs") {
            assert!(
                !code(&file).contains("serde_cbor"),
                "{} names serde_cbor; go through the codec",
                file.display()
            );
        }
    }
    let sockets = files("web-ui/src").into_iter().filter(|file| code(file).contains("WebSocket::new"));
    assert!(sockets.count() <= 1, "one file of the dashboard opens sockets");
}

#[test]
fn it_would_notice() {
    assert_eq!(imports("use crate::feed::Hub;\nlet x = crate::store::open();"), ["feed", "store"]);
}
