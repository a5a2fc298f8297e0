//! Brings the JavaScript packages of tests, as the lock file beside them pins them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::command::{root, run};

/// Installs the packages of the programs in JavaScript, unless they are there as its lock file has them.
///
/// # Errors
/// Fails where npm does, as without a network or a registry.
pub(crate) fn ensure_packages() -> Result<()> {
    let folder = root().join("e2e/js");
    // npm writes this file last.
    if is_newer(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
        return Ok(());
    }
    let args = ["ci", "--omit=optional", "--no-audit", "--no-fund"];
    run(Command::new("npm").current_dir(&folder).args(args))
        .context("the JavaScript packages of tests; npm takes its registry from `npm config`")
}

fn is_newer(one: &Path, other: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    time(one).is_ok_and(|one| one >= time(other).unwrap_or(SystemTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_installs_again_only_what_changed() {
        let folder = std::env::temp_dir().join(format!("anode-npm-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (old, new) = (folder.join("old"), folder.join("new"));
        fs::write(&old, "").unwrap();
        fs::write(&new, "").unwrap();
        let hour = std::time::Duration::from_secs(3_600);
        let past = SystemTime::now() - hour;
        fs::File::options().write(true).open(&old).unwrap().set_modified(past).unwrap();
        assert!(is_newer(&new, &old) && !is_newer(&old, &new) && !is_newer(&folder.join("none"), &old));
        fs::remove_dir_all(&folder).unwrap();
    }
}
