//! Installs the system's packages that a task needs, after saying so.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{in_ci, output, program, root, run};
use crate::screen::{ask, say};

/// A program that a task needs, and the packages that bring it.
#[derive(Debug)]
pub(crate) struct Need {
    /// What it is needed for.
    what_for: &'static str,
    /// Programs of which one must be there.
    programs: &'static [&'static str],
    /// Debian's package.
    debian: &'static str,
    /// Ubuntu's package, which for browsers has another name.
    ubuntu: &'static str,
}

/// What the tests need beside Rust.
pub(crate) const TESTS: &[Need] = &[
    Need {
        what_for: "the page is tested in a real browser",
        programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        debian: "chromium",
        ubuntu: "chromium-browser",
    },
    Need {
        what_for: "acknowledgements are proved by the node's system calls",
        programs: &["strace"],
        debian: "strace",
        ubuntu: "strace",
    },
    Need {
        what_for: "proofs are checked by a second implementation",
        programs: &["python3"],
        debian: "python3",
        ubuntu: "python3",
    },
    Need {
        what_for: "what may not be dialled is watched in a network of its own",
        programs: &["ip"],
        debian: "iproute2",
        ubuntu: "iproute2",
    },
    Need {
        what_for: "a libp2p peer in JavaScript joins the mesh",
        programs: &["node"],
        debian: "nodejs",
        ubuntu: "nodejs",
    },
    Need { what_for: "its packages are installed", programs: &["npm"], debian: "npm", ubuntu: "npm" },
    Need { what_for: "the README's snippets are run", programs: &["curl"], debian: "curl", ubuntu: "curl" },
];

/// What a Cassandra needs beside Java.
pub(crate) const CASSANDRA: &[Need] = &[
    Need { what_for: "Cassandra's jars are fetched", programs: &["curl"], debian: "curl", ubuntu: "curl" },
    Need {
        what_for: "the repository of the jars is known by its certificate",
        programs: &["update-ca-certificates", "update-ca-trust"],
        debian: "ca-certificates",
        ubuntu: "ca-certificates",
    },
    Need {
        what_for: "Cassandra ends with the task that started it",
        programs: &["setpriv"],
        debian: "util-linux",
        ubuntu: "util-linux",
    },
];

/// What the demo mesh needs where no Docker engine runs.
pub(crate) const DOCKER: &[Need] = &[Need {
    what_for: "the demo mesh runs on a real Docker engine",
    programs: &["dockerd"],
    debian: "docker.io",
    ubuntu: "docker.io",
}];

/// Whether packages may be installed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    Given,
    Ask,
}

/// Installs what is missing of `needs`.
///
/// # Errors
/// Fails where packages cannot or may not be installed, with the command to run by hand.
pub(crate) fn ensure_programs(needs: &'static [Need]) -> Result<()> {
    let missing = missing(needs, |name| program(name).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        say(format!("    {} is missing: {}", need.programs[0], need.what_for));
    }
    install(&packages(&missing, &fs::read_to_string("/etc/os-release").unwrap_or_default()))
}

fn missing(needs: &'static [Need], is_there: impl Fn(&str) -> bool) -> Vec<&'static Need> {
    needs.iter().filter(|need| !need.programs.iter().any(|name| is_there(name))).collect()
}

fn packages(needs: &[&Need], os_release: &str) -> Vec<&'static str> {
    let ubuntu = os_release.lines().any(|line| line == "ID=ubuntu");
    needs.iter().map(|need| if ubuntu { need.ubuntu } else { need.debian }).collect()
}

/// Installs the parts of the Rust toolchain that a minimal one lacks.
///
/// # Errors
/// Fails where rustup is not there or cannot.
pub(crate) fn ensure_components() -> Result<()> {
    for (component, program) in [("rustfmt", "rustfmt"), ("clippy", "clippy-driver")] {
        if output(Command::new(program).current_dir(root()).arg("--version")).is_err() {
            let add = run(Command::new("rustup").current_dir(root()).args(["component", "add", component]));
            add.with_context(|| format!("Rust's {component} is missing: install it with the toolchain"))?;
        }
    }
    Ok(())
}

/// Whether this system installs packages by apt.
pub(crate) fn has_apt() -> bool {
    program("apt-get").is_some()
}

/// Says the commands that install packages, asks unless that is settled, and runs them.
///
/// # Errors
/// Fails where they cannot or may not run, with the commands to run by hand.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    ensure!(
        has_apt(),
        "there is no apt-get here: install by hand what Debian calls {list}, then run this again"
    );
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
    let ci = in_ci();
    let sudo = if root { "" } else { "sudo " };
    let by_hand =
        format!("{sudo}apt-get update && {sudo}apt-get install --yes --no-install-recommends {list}");
    say(format!("    To be run: {by_hand}"));
    ensure!(root || program("sudo").is_some(), "there is no sudo here: as root, run `{by_hand}`");
    if permission(root, ci) == Permission::Ask {
        let agreed = ask("    Run it now?").with_context(|| format!("run `{by_hand}` first"))?;
        ensure!(agreed, "run `{by_hand}` first");
    }
    let apt = |args: &[&str]| run(apt_get(root, ci).args(args));
    // Old lists are no reason to stop: what they name may still be there.
    if let Err(error) = apt(&["update"]) {
        say(format!("    {error:#}; going on with the lists that are here"));
    }
    let install = ["install", "--yes", "--no-install-recommends"];
    match apt(&[&install[..], packages].concat()) {
        Ok(()) => Ok(()),
        Err(error) => bail!("{error:#}; run `{by_hand}` by hand to see why"),
    }
}

fn permission(root: bool, ci: bool) -> Permission {
    if root || ci { Permission::Given } else { Permission::Ask }
}

fn apt_get(root: bool, ci: bool) -> Command {
    let mut command = Command::new(if root { "apt-get" } else { "sudo" });
    if !root {
        // In CI nobody types a password.
        command.args(ci.then_some("-n")).arg("apt-get");
    }
    // Another apt, such as the nightly one, may hold the lock for a while.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_packages_that_are_missing() {
        let debian = "PRETTY_NAME=\"Debian\"\nID=debian\n";
        let ubuntu = "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n";
        let all = ["chromium", "strace", "python3", "ip", "node", "npm", "curl"];
        for (there, os, expected) in [
            (&all[..], debian, ""),
            (&all[1..], debian, "chromium"),
            (&all[1..], ubuntu, "chromium-browser"),
            (&["google-chrome", "python3", "node"], ubuntu, "strace iproute2 npm curl"),
            (&[], "", "chromium strace python3 iproute2 nodejs npm curl"),
        ] {
            let missing = missing(TESTS, |name| there.contains(&name));
            assert_eq!(packages(&missing, os).join(" "), expected, "{there:?}");
        }
    }

    #[test]
    fn it_asks_only_a_person_who_is_not_root() {
        for (root, ci, expected) in [
            (true, false, Permission::Given),
            (true, true, Permission::Given),
            (false, true, Permission::Given),
            (false, false, Permission::Ask),
        ] {
            assert_eq!(permission(root, ci), expected);
        }
    }
}
