//! `cargo xtask test` and `check`: what is checked, in which order.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, root, run};
use crate::screen::say;
use crate::steps::{Step, run_all};
use crate::{system, ui};

/// One selection for every cargo command here, as another one means other features of shared dependencies
/// and a second build of them. This crate is apart, as cargo built it alone to run it.
const SELECTED: [&str; 3] = ["--workspace", "--exclude", "xtask"];

/// How much the end-to-end tests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Short,
    Full,
}

/// Runs every check that needs no Docker engine.
///
/// # Errors
/// Fails with the first step that does.
pub(crate) fn test(all: bool) -> Result<()> {
    let note = "--all: no check needs a Docker engine yet, so this is the same as without it";
    if all {
        say(note);
    }
    run_all(steps(Scale::Full))?;
    if all {
        say(note);
    }
    Ok(())
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
        system::ensure_programs(system::TESTS)
    });
    let fmt = Step::new("formatting", "`cargo fmt --all` repairs it.", || {
        run(&mut cargo(["fmt", "--all", "--check"]))
    });
    let lints = Step::new("lints", "Repair what clippy names above; in CI a warning is an error.", lints);
    let unit = "Repair the test named above; `cargo test -p CRATE NAME` runs it alone.";
    let unit = Step::new("unit and integration tests", unit, move || unit_tests(scale));
    let node = "Read the error above; `cargo build -p anode` repeats this step alone.";
    let node = Step::new("node", node, || cargo_with(&["build"], &["--bins"], Scale::Short));
    let outside = "Repair what the test above names; the printed ANODE_SEED repeats its run: \
                   `ANODE_SEED=… cargo test -p e2e NAME`.";
    let outside = Step::new("end-to-end tests", outside, move || end_to_end(scale));
    vec![install, fmt, ui::step(), lints, unit, node, outside]
}

fn lints() -> Result<()> {
    let deny = ["--all-targets", "--", "-D", "warnings"];
    cargo_with(&["clippy"], &deny, Scale::Short)?;
    run(&mut cargo(["clippy", "--package", "xtask", "--all-targets", "--", "-D", "warnings"]))
}

fn unit_tests(scale: Scale) -> Result<()> {
    let (inner, _) = test_binaries()?;
    run(&mut cargo(["test", "--package", "xtask"]))?;
    let names = inner.iter().flat_map(|name| ["--test", name]);
    let what: Vec<&str> = ["--lib", "--bins"].into_iter().chain(names).collect();
    cargo_with(&["test"], &what, scale)?;
    if scale == Scale::Full { cargo_with(&["test"], &["--doc"], scale) } else { Ok(()) }
}

fn end_to_end(scale: Scale) -> Result<()> {
    let (_, outer) = test_binaries()?;
    let what: Vec<&str> = outer.iter().flat_map(|name| ["--test", name]).collect();
    ensure!(!what.is_empty(), "e2e/tests holds no tests");
    cargo_with(&["test"], &what, scale)
}

fn cargo_with(verb: &[&str], what: &[&str], scale: Scale) -> Result<()> {
    let mut command = cargo(verb.iter().chain(&SELECTED).chain(what).copied());
    command.env("ANODE_BIN", root().join("target/debug/anode"));
    if scale == Scale::Full {
        command.env("ANODE_E2E_FULL", "1");
    }
    run(&mut command)
}

/// The names of the test binaries within the crates, and of those that test the node from outside.
///
/// cargo selects them by name in all crates at once, so a name must not be in both.
fn test_binaries() -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let mut inner = BTreeSet::new();
    for package in ["shared", "node", "web-ui"] {
        inner.extend(binaries_in(&root().join(package).join("tests"))?);
    }
    let outer = binaries_in(&root().join("e2e/tests"))?;
    let twice: Vec<&str> = inner.intersection(&outer).map(String::as_str).collect();
    ensure!(
        twice.is_empty(),
        "e2e and another crate both have a test binary {}: rename one",
        twice.join(", ")
    );
    Ok((inner, outer))
}

fn binaries_in(folder: &Path) -> Result<BTreeSet<String>> {
    if !folder.is_dir() {
        return Ok(BTreeSet::new());
    }
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let files = entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path());
    let is_test =
        |file: &Path| file.extension().is_some_and(|kind| kind == "rs") || file.join("main.rs").is_file();
    let stem = |file: &Path| file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(files.filter(|file| is_test(file)).filter_map(|file| stem(&file)).collect())
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
                place("dashboard") < place("lints") && place("node") < place("end-to-end tests"),
                "{names:?}"
            );
        }
    }

    #[test]
    fn it_knows_the_test_binaries_apart() {
        let (_, outer) = test_binaries().unwrap();
        assert!(!outer.contains("main"), "{outer:?}");
    }
}
