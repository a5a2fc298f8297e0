//! Finds a Java that Cassandra 5.0 runs on.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The majors on which Cassandra 5.0 starts, the better first.
const MAJORS: [u32; 2] = [17, 11];
/// Debian's and Ubuntu's package of the first of them.
pub const PACKAGE: &str = "openjdk-17-jre-headless";

/// The program: `ANODE_JAVA`, else the best of `JAVA_HOME`, the `PATH` and `/usr/lib/jvm`.
#[must_use]
pub fn find() -> Option<PathBuf> {
    if let Some(java) = env::var_os("ANODE_JAVA") {
        return Some(java.into());
    }
    let said = places().into_iter().filter_map(|java| Some((major(&version(&java)?)?, java)));
    best(said.collect())
}

fn best(found: Vec<(u32, PathBuf)>) -> Option<PathBuf> {
    let rank = |major: u32| MAJORS.iter().position(|known| *known == major);
    let usable = found.into_iter().filter_map(|(major, java)| Some((rank(major)?, java)));
    usable.min_by_key(|(rank, _)| *rank).map(|(_, java)| java)
}

fn places() -> Vec<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut system: Vec<PathBuf> =
        fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    system.sort();
    let path = env::split_paths(&path).map(|folder| folder.join("java"));
    let system = system.into_iter().map(|folder| folder.join("bin/java"));
    home.into_iter().chain(path).chain(system).filter(|java| java.is_file()).collect()
}

fn version(java: &Path) -> Option<String> {
    let output = Command::new(java).arg("-version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Reads the major from what `java -version` says: `17` of `"17.0.15"`, `8` of `"1.8.0_402"`.
fn major(said: &str) -> Option<u32> {
    let version = said.lines().find_map(|line| line.split_once(" version \"")).map(|(_, rest)| rest)?;
    let mut parts = version.split(|char: char| !char.is_ascii_digit()).map(str::parse);
    match parts.next()? {
        Ok(1) => parts.next()?.ok(),
        first => first.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_versions() {
        for (said, expected) in [
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime", Some(17)),
            ("Picked up JAVA_TOOL_OPTIONS: -Dx\nopenjdk version \"11\" 2018-09-25", Some(11)),
            ("java version \"1.8.0_402\"", Some(8)),
            ("openjdk version \"25-ea\"", Some(25)),
            ("no Java", None),
        ] {
            assert_eq!(major(said), expected, "{said}");
        }
    }

    #[test]
    fn it_takes_only_what_cassandra_runs_on() {
        for (majors, expected) in [
            (&[25, 11, 17, 17][..], Some("2")),
            (&[21, 11, 11], Some("1")),
            (&[8, 16, 18, 21, 25], None),
            (&[], None),
        ] {
            let found = majors.iter().enumerate();
            let found = found.map(|(place, major)| (*major, PathBuf::from(place.to_string())));
            assert_eq!(best(found.collect()), expected.map(PathBuf::from), "{majors:?}");
        }
    }
}
