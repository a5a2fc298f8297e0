//! Compose v2: the one that is there, else built from its Go module into a cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::client::Client;
use crate::command::{output, program, root, run};
use crate::screen::say;
use crate::version::Version;

/// The oldest that knows `attach`, and merges as the file needs it.
const OLDEST: &str = "2.24";
/// The one that is built.
const PINNED: &str = "v2.40.3";
/// Its module's package of the program.
const PACKAGE: &str = "github.com/docker/compose/v2/cmd";

/// The words that begin every command of compose.
///
/// # Errors
/// Fails where there is none and none can be built.
pub(super) fn ensure(client: &Client) -> Result<Vec<String>> {
    let plugin = vec![client.program().display().to_string(), "compose".to_owned()];
    let alone = program("docker-compose").map(|file| vec![file.display().to_string()]);
    if let Some(found) = [Some(plugin), alone].into_iter().flatten().find(|words| is_new_enough(words)) {
        return Ok(found);
    }
    Ok(vec![built()?.display().to_string()])
}

fn is_new_enough(words: &[String]) -> bool {
    let said = output(Command::new(&words[0]).args(&words[1..]).args(["version", "--short"]));
    let said = said.ok().and_then(|said| Version::parse(said.trim_start_matches('v')));
    said >= Version::parse(OLDEST) && said.is_some()
}

fn built() -> Result<PathBuf> {
    let folder = root().join("target/docker/compose");
    let file = folder.join(format!("compose-{PINNED}"));
    if file.is_file() {
        return Ok(file);
    }
    let Some(go) =
        program("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.is_file()))
    else {
        bail!(
            "there is no compose of version {OLDEST} or newer: install Docker's compose plugin, or Go 1.21 or newer to build it"
        );
    };
    say(format!("    Compose {PINNED} is built from its Go module, once: some minutes"));
    fs::create_dir_all(&folder)?;
    // `go install` refuses a module that excludes others, so it is built as the dependency of an empty one.
    let _ = fs::remove_file(folder.join("go.mod"));
    let go = |args: &[&str]| run(Command::new(&go).current_dir(&folder).args(args));
    go(&["mod", "init", "compose"])?;
    go(&["get", &format!("{PACKAGE}@{PINNED}")])?;
    let part = folder.join("part");
    go(&["build", "-trimpath", "-ldflags", "-s -w", "-o", path(&part)?, PACKAGE])?;
    fs::rename(part, &file)?;
    Ok(file)
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().with_context(|| format!("{} is no text", file.display()))
}
