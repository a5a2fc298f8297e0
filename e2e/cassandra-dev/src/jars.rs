//! Brings the jars that `jars.lock` pins from Maven's central repository into the user's cache.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::say;

/// The version of Cassandra in `jars.lock`.
pub const VERSION: &str = "5.0.9";

/// Maven's central repository; `ANODE_MAVEN` names a mirror with the same paths.
const CENTRAL: &str = "https://repo1.maven.org/maven2";
const LOCK: &str = include_str!("../jars.lock");

/// One jar of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Jar<'lock> {
    hash: &'lock str,
    path: &'lock str,
}

impl Jar<'_> {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// Fails where the file is not there or is another than the lock's.
    fn check(&self, file: &Path) -> Result<()> {
        let content = fs::read(file).with_context(|| file.display().to_string())?;
        let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(hash == self.hash, "{} has SHA-256 {hash}, jars.lock says {}", self.path, self.hash);
        Ok(())
    }
}

fn parse(lock: &str) -> Vec<Jar<'_>> {
    let lines = lock.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once("  ")).map(|(hash, path)| Jar { hash, path }).collect()
}

/// The folder of the jars: one for all work trees and clones of this user, else in `target/`.
fn folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    cache.join(format!("anode/cassandra-{VERSION}"))
}

/// Fetches what is missing or damaged, checks all, and gives their files in the lock's order.
///
/// # Errors
/// Fails where a jar cannot be fetched or is not the one that is pinned.
pub fn ensure() -> Result<Vec<PathBuf>> {
    let repository = env::var("ANODE_MAVEN").unwrap_or_else(|_| CENTRAL.to_owned());
    ensure_all(&parse(LOCK), &folder(), repository.trim_end_matches('/'))
}

fn ensure_all(jars: &[Jar<'_>], folder: &Path, repository: &str) -> Result<Vec<PathBuf>> {
    let missing: Vec<Jar<'_>> =
        jars.iter().filter(|jar| jar.check(&folder.join(jar.name())).is_err()).copied().collect();
    if !missing.is_empty() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fetch(&missing, folder, repository)?;
    }
    Ok(jars.iter().map(|jar| folder.join(jar.name())).collect())
}

/// Fetches into a folder beside, so that nobody sees half a jar, and moves what is right.
fn fetch(jars: &[Jar<'_>], folder: &Path, repository: &str) -> Result<()> {
    let part = tempfile::Builder::new().prefix("part-").tempdir_in(folder)?;
    let count = jars.len();
    say(&format!(
        "    $ curl … ({count} jars of Cassandra {VERSION} from {repository} to {})",
        folder.display()
    ));
    let curled = curl(jars, part.path(), repository);
    for jar in jars {
        let file = part.path().join(jar.name());
        if let Err(error) = jar.check(&file) {
            // The reason why a file is missing is curl's.
            return Err(if file.exists() { error } else { curled.err().unwrap_or(error) });
        }
        fs::rename(file, folder.join(jar.name()))?;
    }
    Ok(())
}

/// curl obeys the proxies of the environment and of `~/.curlrc`.
fn curl(jars: &[Jar<'_>], to: &Path, repository: &str) -> Result<()> {
    let args = ["--parallel", "--parallel-max", "8", "--fail", "--location", "--no-progress-meter"];
    let patience = ["--retry", "3", "--connect-timeout", "20", "--speed-limit", "1000", "--speed-time", "60"];
    let mut command = Command::new("curl");
    command.args(args).args(patience).args(["--config", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().context("curl, which fetches Cassandra's jars, could not be started")?;
    let mut input = child.stdin.take().context("curl has no standard input")?;
    for jar in jars {
        let file = to.join(jar.name());
        writeln!(input, "url = \"{repository}/{}\"\noutput = \"{}\"", jar.path, file.display())?;
    }
    drop(input);
    let status = child.wait()?;
    if !status.success() {
        bail!("curl ended with {status}: the jars of Cassandra could not be fetched from {repository}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_pins_every_jar_once() {
        let jars = parse(LOCK);
        let names: BTreeSet<&str> = jars.iter().map(Jar::name).collect();
        assert!(jars.len() > 90 && names.len() == jars.len(), "{}", jars.len());
        assert!(names.contains(format!("cassandra-all-{VERSION}.jar").as_str()));
        assert!(jars.iter().all(|jar| jar.hash.len() == 64 && jar.path.ends_with(".jar")));
    }

    #[test]
    fn it_fetches_what_is_missing_or_damaged_and_refuses_what_is_not_pinned() {
        let place = tempfile::tempdir().unwrap();
        let (there, here) = (place.path().join("there"), place.path().join("here"));
        fs::create_dir_all(there.join("org/a")).unwrap();
        for (name, content) in [("org/a/one.jar", "one"), ("org/a/two.jar", "two")] {
            fs::write(there.join(name), content).unwrap();
        }
        let lock = "# a comment\n\
            7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  org/a/one.jar\n\
            3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  org/a/two.jar\n";
        let (jars, repository) = (parse(lock), format!("file://{}", there.display()));
        let files = [here.join("one.jar"), here.join("two.jar")];
        assert_eq!(ensure_all(&jars, &here, &repository).unwrap(), files);
        // What is here and right is not asked for again.
        fs::remove_file(there.join("org/a/one.jar")).unwrap();
        fs::write(&files[1], "damage").unwrap();
        ensure_all(&jars, &here, &repository).unwrap();
        assert_eq!(fs::read_to_string(&files[1]).unwrap(), "two");

        fs::remove_file(&files[1]).unwrap();
        fs::write(there.join("org/a/two.jar"), "other").unwrap();
        let error = ensure_all(&jars, &here, &repository).unwrap_err().to_string();
        assert!(error.starts_with("org/a/two.jar has SHA-256 "), "{error}");
        assert!(!files[1].exists());
        fs::remove_file(there.join("org/a/two.jar")).unwrap();
        let error = ensure_all(&jars, &here, &repository).unwrap_err().to_string();
        assert!(error.starts_with("curl ended with "), "{error}");
        assert_eq!(fs::read_dir(&here).unwrap().count(), 1, "a part stayed");
    }
}
