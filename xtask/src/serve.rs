//! `cargo xtask run`: from a fresh clone to a running node.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{cargo, root, run as run_command, shown};
use crate::screen::say;
use crate::steps::{Step, run_all};
use crate::ui;

/// Builds dashboard and node in release, and becomes `anode run`, so that signals reach the node itself.
///
/// # Errors
/// Fails with the step that does.
pub(crate) fn run(options: &[String]) -> Result<()> {
    let page = "Read the error above; `cargo xtask ui` repeats this step alone.";
    let node = "Read the error above; `cargo build --release -p anode` repeats this step alone.";
    run_all(vec![
        Step::new("dashboard", page, || ui::build().map(drop)),
        Step::new("node", node, || run_command(&mut cargo(["build", "--release", "--package", "anode"]))),
    ])?;
    let mut node = Command::new(root().join("target/release/anode"));
    node.arg("run").args(options);
    say(format!("    $ {}", shown(&node)));
    let error = node.exec();
    bail!("`{}` could not be started: {error}", shown(&node))
}
