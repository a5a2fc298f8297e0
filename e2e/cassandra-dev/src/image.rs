//! What a container's image of Cassandra is made of, where none can be fetched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::files::{LOGBACK, java_words, yaml};
use crate::jars;
use crate::plan::Plan;

/// Where Cassandra lies in the image.
const HOME: &str = "/opt/cassandra";
/// Where its data lies: the folder that the official image has for it.
const DATA: &str = "/var/lib/cassandra";
/// The ports: for clients, and between nodes.
const PORT: u16 = 9042;
const BETWEEN_NODES: u16 = 7000;

/// Lays out the image's files below an empty folder, and gives the words behind `java` that run it.
/// The container must be known as `host` on its network.
///
/// # Errors
/// Fails where a jar cannot be had or a file not be written.
pub fn lay_out(root: &Path, host: &str) -> Result<Vec<String>> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let home = inside(HOME);
    fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    fs::create_dir_all(inside(DATA))?;
    fs::create_dir_all(inside("/tmp"))?;
    fs::set_permissions(inside("/tmp"), fs::Permissions::from_mode(0o1777))?;
    let mut jars = Vec::new();
    for jar in jars::ensure()? {
        let name = jar.file_name().context("a jar without a name")?;
        fs::copy(&jar, home.join(name)).with_context(|| jar.display().to_string())?;
        jars.push(Path::new(HOME).join(name));
    }
    fs::write(home.join("cassandra.yaml"), settings(host))?;
    fs::write(home.join("logback.xml"), LOGBACK)?;
    Ok(java_words(Path::new(HOME), &jars, true))
}

/// `cassandra.yaml` of a node that others reach by its container's network.
fn settings(host: &str) -> String {
    let loopback = yaml(Path::new(DATA), PORT, BETWEEN_NODES, &Plan::new());
    loopback
        .replace("_address: 127.0.0.1\n", "_interface: eth0\n")
        .replace("'127.0.0.1:", &format!("'{host}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_the_containers_network_only() {
        let settings = settings("cassandra");
        assert!(!settings.contains("127.0.0.1"), "{settings}");
        for line in ["listen_interface: eth0", "rpc_interface: eth0", "      - seeds: 'cassandra:7000'"] {
            assert!(settings.lines().any(|other| other == line), "{line}: {settings}");
        }
    }
}
