//! Embeds the dashboard that `cargo xtask ui` left in `web-ui/dist`, or a page that says how to build it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What `cargo xtask ui` writes last; its format is in `xtask/src/dist/manifest.rs`.
const MANIFEST: &str = "manifest.tsv";

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let ui = here.join("../web-ui");
    let dist = ui.join("dist");
    let manifest = fs::read_to_string(dist.join(MANIFEST)).ok();
    // A watched file that is not there means a new build each time; so, without a manifest, its folder's parent.
    let watched = if manifest.is_some() { dist.join(MANIFEST) } else { ui };
    writeln!(io::stdout(), "cargo::rerun-if-changed={}", watched.display())?;
    writeln!(io::stdout(), "cargo::rerun-if-changed=build.rs")?;
    let entries = match &manifest {
        Some(lines) => lines.lines().map(|line| entry(&dist, line)).collect::<io::Result<String>>()?,
        None => placeholder(&here.join("src/api/assets/placeholder.html")),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("dashboard.rs");
    fs::write(out, format!("static DASHBOARD: &[Asset] = &[\n{entries}];\n"))
}

/// Writes the entry for a line: route, file, content type, encodings, hash, cache.
fn entry(dist: &Path, line: &str) -> io::Result<String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [route, file, content_type, encodings, hash, cache] = fields[..] else {
        let advice = format!("{}: run `cargo xtask ui` again: {line:?}", dist.join(MANIFEST).display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, advice));
    };
    let form = |encoding: &str, extension: &str| {
        let is_there = encodings.split(',').any(|other| other == encoding);
        let path = dist.join(format!("{file}.{extension}"));
        if is_there { format!("Some(include_bytes!({path:?}))") } else { "None".to_owned() }
    };
    let forms = (form("br", "br"), form("gzip", "gz"));
    Ok(asset(route, content_type, hash, cache == "immutable", &dist.join(file), &forms))
}

fn placeholder(file: &Path) -> String {
    let forms = ("None".to_owned(), "None".to_owned());
    asset("/", "text/html; charset=utf-8", "placeholder", false, file, &forms)
}

fn asset(
    route: &str,
    content_type: &str,
    hash: &str,
    is_immutable: bool,
    plain: &Path,
    (brotli, gzip): &(String, String),
) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "    Asset {{ route: {route:?}, content_type: {content_type:?}, hash: {hash:?}, is_immutable: {is_immutable},\n\
         \x20       plain: include_bytes!({plain:?}),\n        brotli: {brotli},\n        gzip: {gzip} }},\n"
    );
    text
}
