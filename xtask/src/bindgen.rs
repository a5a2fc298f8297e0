//! Makes the JavaScript that loads the dashboard's WASM.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

use crate::command::root;
use crate::dist::glue;
use crate::version::check_bindgen;

/// Writes `web_ui.js` and `web_ui_bg.wasm`, and what they import, into an emptied folder.
///
/// # Errors
/// Fails where the versions of generator and crate differ, or the module is none that it knows.
pub(crate) fn generate(module: &Path, folder: &Path) -> Result<()> {
    let lock = root().join("Cargo.lock");
    check_bindgen(&fs::read_to_string(&lock).with_context(|| lock.display().to_string())?)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Bindgen::new()
        .input_path(module)
        .out_name("web_ui")
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)?;
    let [script, binary] = ["web_ui.js", "web_ui_bg.wasm"].map(|name| folder.join(name));
    let (shorter, smaller) = glue::shrink(&fs::read_to_string(&script)?, &fs::read(&binary)?)?;
    fs::write(script, shorter)?;
    Ok(fs::write(binary, smaller)?)
}
