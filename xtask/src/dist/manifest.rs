//! The list of the dashboard's files by which the node's build script embeds them.

use anyhow::{Context as _, Result};

use crate::dist::names::Named;

/// The manifest's name in the folder.
pub(crate) const FILE: &str = "manifest.tsv";

/// Content types by extension.
const TYPES: [(&str, &str); 10] = [
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("woff2", "font/woff2"),
];

/// What the node must know of one file.
#[derive(Debug)]
pub(crate) struct Entry {
    route: String,
    file: String,
    content_type: &'static str,
    encodings: Vec<&'static str>,
    hash: String,
    cache: &'static str,
}

impl Entry {
    /// Describes a file that is there in `encodings` too.
    ///
    /// # Errors
    /// Fails where its extension is not known.
    pub(crate) fn new(named: &Named, encodings: Vec<&'static str>) -> Result<Self> {
        let file = named.path.clone();
        let route = if file == "index.html" { "/".to_owned() } else { format!("/{file}") };
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        let known = TYPES.iter().find(|(known, _)| *known == extension);
        let (_, content_type) =
            known.with_context(|| format!("{file}: no content type for this extension in {}", file!()))?;
        let cache = if named.is_hashed { "immutable" } else { "revalidate" };
        Ok(Self { route, file, content_type, encodings, hash: named.hash.clone(), cache })
    }
}

/// Writes a line a file, of fields parted by tabs: a build script reads that without a parser.
pub(crate) fn write(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let Entry { route, file, content_type, encodings, hash, cache } = entry;
        format!("{route}\t{file}\t{content_type}\t{}\t{hash}\t{cache}\n", encodings.join(","))
    };
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, is_hashed: bool) -> Named {
        Named { path: path.to_owned(), content: Vec::new(), hash: "0a".to_owned(), is_hashed }
    }

    #[test]
    fn it_writes_a_line_a_file() {
        let entries = [
            Entry::new(&named("index.html", false), vec!["br", "gzip"]).unwrap(),
            Entry::new(&named("a-0a.wasm", true), vec![]).unwrap(),
        ];
        assert_eq!(
            write(&entries),
            "/\tindex.html\ttext/html; charset=utf-8\tbr,gzip\t0a\trevalidate\n\
             /a-0a.wasm\ta-0a.wasm\tapplication/wasm\t\t0a\timmutable\n"
        );
        assert!(Entry::new(&named("a.exe", true), vec![]).is_err());
    }
}
