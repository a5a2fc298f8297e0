//! Names files by their content, and rewrites the names wherever other files mention them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Result, bail};
use sha2::{Digest as _, Sha256};

/// Files by path, relative to the page.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A file under its final name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The final path, relative to the page.
    pub(crate) path: String,
    /// The content, with the names of other files rewritten.
    pub(crate) content: Vec<u8>,
    /// The first 16 hex digits of the content's SHA-256.
    pub(crate) hash: String,
    /// Whether the path holds the hash, so that the content under it never changes.
    pub(crate) is_hashed: bool,
}

/// Names all files: one that another file mentions gets its hash into its name, any other keeps its own,
/// as people and browsers ask for it (`index.html`, `robots.txt`).
///
/// # Errors
/// Fails where files mention each other in a circle, so that no order of hashing exists.
pub(crate) fn name_all(mut files: Files) -> Result<Vec<Named>> {
    let paths: Vec<String> = files.keys().cloned().collect();
    let mentions: BTreeMap<String, BTreeSet<String>> =
        files.iter().map(|(path, content)| (path.clone(), mentioned(path, content, &paths))).collect();
    let is_mentioned = |path: &String| mentions.values().any(|others| others.contains(path));
    let mut finals: BTreeMap<String, String> = BTreeMap::new();
    let mut named = Vec::new();
    while !files.is_empty() {
        let ready = |path: &String| mentions[path].iter().all(|other| finals.contains_key(other));
        let Some(path) = files.keys().find(|path| ready(path)).cloned() else {
            let circle: Vec<&str> = files.keys().map(String::as_str).collect();
            bail!("these files of the dashboard name each other in a circle: {}", circle.join(", "));
        };
        let content = rewritten(&path, files.remove(&path).unwrap_or_default(), &finals);
        let hash = hash(&content);
        let is_hashed = is_mentioned(&path);
        let target = if is_hashed { with_hash(&path, &hash) } else { path.clone() };
        finals.insert(path, target.clone());
        named.push(Named { path: target, content, hash, is_hashed });
    }
    named.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(named)
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `js/a.min.js` → `js/a.min-0123456789abcdef.js`.
fn with_hash(path: &str, hash: &str) -> String {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[name..].rfind('.') {
        Some(dot) if dot > 0 => format!("{}-{hash}{}", &path[..name + dot], &path[name + dot..]),
        _ => format!("{path}-{hash}"),
    }
}

/// The text of a file that may mention others.
fn text<'content>(path: &str, content: &'content [u8]) -> Option<&'content str> {
    let kinds = [".html", ".js", ".css", ".svg", ".json", ".webmanifest"];
    if kinds.iter().any(|kind| path.ends_with(kind)) { std::str::from_utf8(content).ok() } else { None }
}

fn mentioned(path: &str, content: &[u8], paths: &[String]) -> BTreeSet<String> {
    let text = text(path, content).unwrap_or_default();
    let others = paths.iter().filter(|other| *other != path);
    places(text, others.map(String::as_str)).into_iter().map(|(_, other)| other.to_owned()).collect()
}

fn rewritten(path: &str, content: Vec<u8>, finals: &BTreeMap<String, String>) -> Vec<u8> {
    let Some(text) = text(path, &content) else { return content };
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (place, other) in places(text, finals.keys().map(String::as_str)) {
        out.push_str(&text[done..place.start]);
        out.push_str(&finals[other]);
        done = place.end;
    }
    out.push_str(&text[done..]);
    out.into_bytes()
}

/// Finds where a text mentions one of the paths as a whole word, from left to right, the longest first.
fn places<'path>(text: &str, paths: impl Iterator<Item = &'path str>) -> Vec<(Range<usize>, &'path str)> {
    let part_of_a_name = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || [b'_', b'-', b'.'].contains(byte))
    };
    let bytes = text.as_bytes();
    let mut found: Vec<(Range<usize>, &str)> = paths
        .flat_map(|path| text.match_indices(path).map(move |(at, _)| (at..at + path.len(), path)))
        .filter(|(place, _)| {
            let before = place.start.checked_sub(1).and_then(|at| bytes.get(at));
            !part_of_a_name(before) && !part_of_a_name(bytes.get(place.end))
        })
        .collect();
    found.sort_by_key(|(place, _)| (place.start, usize::MAX - place.end));
    let mut end = 0;
    found.retain(|(place, _)| {
        let free = place.start >= end;
        end = if free { place.end } else { end };
        free
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect()
    }

    fn page(module: &str) -> Vec<Named> {
        name_all(files(&[
            ("index.html", r#"<script type="module" src="/boot.js"></script><link href="app.css">"#),
            ("boot.js", "import init from './web_ui.js'; init({ module_or_path: 'web_ui_bg.wasm' });"),
            ("web_ui.js", "new URL('web_ui_bg.wasm', import.meta.url); import './snippets/a/inline0.js'"),
            ("web_ui_bg.wasm", module),
            ("snippets/a/inline0.js", "// not web_ui.json, xweb_ui.js or boot.js.map"),
            ("app.css", "body { color: red }"),
            ("robots.txt", "boot.js"),
        ]))
        .unwrap()
    }

    fn content<'named>(named: &'named [Named], prefix: &str) -> (&'named str, &'named str) {
        let found = named.iter().find(|named| named.path.starts_with(prefix)).unwrap();
        (&found.path, std::str::from_utf8(&found.content).unwrap())
    }

    #[test]
    fn it_names_files_by_content_and_rewrites_every_mention() {
        let named = page("one");
        let (wasm, _) = content(&named, "web_ui_bg-");
        let (script, glue) = content(&named, "web_ui-");
        let (boot, start) = content(&named, "boot-");
        let (inline, untouched) = content(&named, "snippets/a/inline0-");
        let (css, _) = content(&named, "app-");
        assert_eq!(wasm, format!("web_ui_bg-{}.wasm", hash(b"one")));
        assert_eq!(glue, format!("new URL('{wasm}', import.meta.url); import './{inline}'"));
        assert_eq!(start, format!("import init from './{script}'; init({{ module_or_path: '{wasm}' }});"));
        assert_eq!(untouched, "// not web_ui.json, xweb_ui.js or boot.js.map");
        let index = format!(r#"<script type="module" src="/{boot}"></script><link href="{css}">"#);
        assert_eq!(content(&named, "index.html"), ("index.html", index.as_str()));
        assert_eq!(content(&named, "robots.txt"), ("robots.txt", "boot.js"));
        assert_eq!(named.iter().filter(|named| !named.is_hashed).count(), 2);
    }

    #[test]
    fn it_changes_the_names_of_all_files_above_a_changed_one() {
        let (one, two) = (page("one"), page("two"));
        let same: Vec<&str> =
            one.iter().zip(&two).filter(|(a, b)| a == b).map(|(a, _)| a.path.as_str()).collect();
        assert_eq!(same.len(), 3, "{same:?}");
        assert!(same[0].starts_with("app-") && same[1] == "robots.txt" && same[2].starts_with("snippets/"));
    }

    #[test]
    fn it_refuses_circles() {
        let error = name_all(files(&[("a.js", "import 'b.js'"), ("b.js", "import 'a.js'"), ("c.txt", "")]));
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("in a circle: a.js, b.js"), "{error}");
    }

    #[test]
    fn it_puts_hashes_before_the_extension() {
        for (path, expected) in [
            ("a.js", "a-h.js"),
            ("b/a.min.js", "b/a.min-h.js"),
            ("x.y/LICENSE", "x.y/LICENSE-h"),
            (".x", ".x-h"),
        ] {
            assert_eq!(with_hash(path, "h"), expected);
        }
    }
}
