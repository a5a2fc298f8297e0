//! `cargo xtask test` and `check`: what is checked, in which order.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::cassandra::Shared;
use crate::command::{SELECTED, cargo, root, run, run_limited};
use crate::steps::{Step, run_all};
use crate::{docker, npm, system, ui};

/// How long the tests of one step may take where nobody attends them: several times what they do.
const PATIENCE: Duration = Duration::from_secs(40 * 60);

/// How much the end-to-end tests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Short,
    Full,
}

/// Runs every check; those that need a Docker engine only where all are asked for.
///
/// # Errors
/// Fails with the first step that does.
pub(crate) fn test(all: bool) -> Result<()> {
    let mut steps = steps(Scale::Full);
    if all {
        steps.push(docker::step());
    }
    run_all(steps)
}

/// Runs the everyday checks.
///
/// # Errors
/// Fails with the first step that does.
pub(crate) fn check() -> Result<()> {
    run_all(steps(Scale::Short))
}

/// The cheapest first; the dashboard before all that compiles the node, which embeds it.
fn steps(scale: Scale) -> Vec<Step> {
    let install = Step::new("tools", "Run the command above by hand, then this again.", || {
        system::ensure_components()?;
        system::ensure_programs(system::TESTS)?;
        npm::ensure_packages()
    });
    let fmt = Step::new("formatting", "`cargo fmt --all` repairs it.", || {
        run(&mut cargo(["fmt", "--all", "--check"]))
    });
    let lints = Step::new("lints", "Repair what clippy names above; in CI a warning is an error.", lints);
    let shared = Shared::default();
    let cassandra = "Read the error above; `cargo xtask cassandra` starts one alone.";
    let cassandra = Step::new("Cassandra", cassandra, {
        let shared = shared.clone();
        move || shared.start()
    });
    let unit = "Repair the test named above; `cargo test -p CRATE NAME` runs it alone.";
    let unit = Step::new("unit tests", unit, {
        let shared = shared.clone();
        move || unit_tests(scale, &shared)
    });
    let node = "Read the error above; `cargo build -p anode` repeats this step alone.";
    let node = Step::new("node", node, || run(&mut cargo_with(&["build"], &["--bins"], Scale::Short)));
    let outside = "Repair what the test above names; the printed ANODE_SEED repeats its run: \
                   `ANODE_SEED=… cargo test -p e2e NAME`. Status 124: a test hangs.";
    let outside = Step::new("integration and end-to-end tests", outside, move || {
        run_limited(PATIENCE, shared.tell(&mut cargo_with(&["test"], &["--test", "*"], scale)))
    });
    vec![install, fmt, ui::step(), lints, cassandra, unit, node, outside]
}

fn lints() -> Result<()> {
    let deny = ["--all-targets", "--", "-D", "warnings"];
    run(&mut cargo_with(&["clippy"], &deny, Scale::Short))?;
    run(&mut cargo(["clippy", "--package", "xtask", "--all-targets", "--", "-D", "warnings"]))
}

fn unit_tests(scale: Scale, shared: &Shared) -> Result<()> {
    run(&mut cargo(["test", "--package", "xtask"]))?;
    run_limited(PATIENCE, shared.tell(&mut cargo_with(&["test"], &["--lib", "--bins"], scale)))?;
    if scale == Scale::Full { run(&mut cargo_with(&["test"], &["--doc"], scale)) } else { Ok(()) }
}

fn cargo_with(verb: &[&str], what: &[&str], scale: Scale) -> Command {
    let mut command = cargo(verb.iter().chain(&SELECTED).chain(what).copied());
    command.env("ANODE_BIN", root().join("target/debug/anode"));
    if scale == Scale::Full {
        command.env("ANODE_E2E_FULL", "1");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_builds_the_dashboard_before_the_node_that_embeds_it() {
        for scale in [Scale::Short, Scale::Full] {
            let names: Vec<&str> = steps(scale).iter().map(|step| step.name).collect();
            let place = |name| names.iter().position(|other| *other == name).unwrap();
            assert!(
                place("dashboard") < place("lints")
                    && place("Cassandra") < place("unit tests")
                    && place("node") < place("integration and end-to-end tests"),
                "{names:?}"
            );
        }
    }
}
