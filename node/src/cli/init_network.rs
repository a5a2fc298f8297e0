//! `anode init-network`: what the nodes of one network share.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::output::Out;
use super::peers::new_key;
use crate::identity::{new_token, write_atomically};

/// What stands behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode init-network secrets        makes secrets/network.key and secrets/admin.token where they are not there
  anode run --network home --network-key secrets/network.key --admin-token-file secrets/admin.token";

/// The options of `anode init-network`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Keep them in this folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Makes what is not there yet, readable for its owner only, and says what is where.
pub(super) fn init_network(args: &InitArgs) -> anyhow::Result<()> {
    let shown = args.dir.display();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.dir);
    made.with_context(|| format!("cannot make {shown}"))?;
    let mut out = Out::new();
    for (name, make) in [("network.key", key as fn() -> anyhow::Result<String>), ("admin.token", token)] {
        let path = args.dir.join(name);
        out.line(format!("{} {}", if keep(&path, make)? { "made" } else { "kept" }, path.display()))?;
    }
    out.flush()
}

fn key() -> anyhow::Result<String> {
    Ok(new_key())
}

fn token() -> anyhow::Result<String> {
    Ok(format!("{}\n", new_token()?))
}

/// Writes a file that is not there; whether it did.
fn keep(path: &Path, make: fn() -> anyhow::Result<String>) -> anyhow::Result<bool> {
    let there = path.try_exists().with_context(|| format!("cannot look for {}", path.display()))?;
    if !there {
        write_atomically(path, make()?.as_bytes(), 0o600)?;
    }
    Ok(!there)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::MeshConfig;
    use crate::identity::read_token;

    #[test]
    fn it_makes_what_a_node_takes_and_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let args = InitArgs { dir: dir.path().join("a/b") };
        init_network(&args).unwrap();
        let [key, token] = ["network.key", "admin.token"].map(|name| args.dir.join(name));
        for path in [&key, &token] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let read = || {
            let mesh = MeshConfig { network_key: Some(key.clone()), ..MeshConfig::default() };
            (mesh.key().unwrap(), read_token(&token).unwrap())
        };
        let first = read();
        init_network(&args).unwrap();
        assert_eq!(read(), first);
        fs::remove_file(&token).unwrap();
        init_network(&args).unwrap();
        let third = read();
        assert!(third.0 == first.0 && third.1 != first.1);
    }
}
