//! Builds the dashboard: WASM, the JavaScript that loads it, names by content, compressed forms.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::bindgen;
use crate::command::{root, run};
use crate::dist::budget::{self, Size};
use crate::dist::css;
use crate::dist::names::{Files, name_all};
use crate::dist::pack;
use crate::screen::say;
use crate::steps::{Step, run_all};
use crate::wasm::{TARGET, ensure_toolchain};

/// Leptos then gives all views one type instead of a type each, which makes the page a tenth smaller on the wire.
const FLAGS: &str = "--cfg erase_components";

/// `cargo xtask ui`.
///
/// # Errors
/// Fails with the step that does.
pub(crate) fn task() -> Result<()> {
    run_all(vec![step()])
}

/// The step that builds the dashboard and holds it to its budget.
pub(crate) fn step() -> Step {
    let advice = "Read the error above; `cargo xtask ui` repeats this step alone.";
    Step::new("dashboard", advice, || {
        let sizes = build()?;
        say(budget::report(&sizes));
        budget::check(&sizes)
    })
}

/// Builds `web-ui/dist` and says what its files weigh.
///
/// # Errors
/// Fails where there is no toolchain, the page does not compile, or a file cannot be written.
pub(crate) fn build() -> Result<Vec<Size>> {
    let module = compile()?;
    let generated = target().join("bindgen");
    bindgen::generate(&module, &generated)?;
    let mut files = Files::new();
    pack::read(&generated, "", &mut files)?;
    pack::read(&root().join("web-ui/static"), "", &mut files)
        .context("the page's own files (index.html, boot.js, app.css)")?;
    for (path, content) in &mut files {
        if path.ends_with(".css") {
            *content = css::shrink(&String::from_utf8_lossy(content)).into_bytes();
        }
    }
    let packed = pack::compress(name_all(files)?)?;
    pack::write(&packed, &root().join("web-ui/dist"))?;
    Ok(packed.iter().map(pack::Packed::size).collect())
}

/// A target folder of its own: other compilers and flags would evict what the node's build made.
fn target() -> PathBuf {
    root().join("target/ui")
}

fn compile() -> Result<PathBuf> {
    let toolchain = ensure_toolchain()?;
    let build = ["build", "--package", "web-ui", "--bin", "web-ui", "--profile", "wasm-release"];
    let mut cargo = toolchain.cargo(build);
    cargo.args(["--target", TARGET]).env("CARGO_TARGET_DIR", target());
    run(cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", FLAGS))?;
    Ok(target().join(TARGET).join("wasm-release/web-ui.wasm"))
}
