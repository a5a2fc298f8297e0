//! Finds, or installs, a toolchain that compiles for `wasm32-unknown-unknown`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::command::{cargo, output, program, root, run_within};
use crate::screen::say;
use crate::system;
use crate::version::Version;

/// The target of the dashboard.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's packages: a compiler new enough for browsers, its standard library's source, and a linker.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];

/// Long enough for 20 MB on a slow line, short enough where downloads are shut out and hang.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(180);

/// Variables of the cargo that runs this task, which would mislead Debian's.
const FOREIGN: [&str; 8] = [
    "CARGO",
    "CARGO_ENCODED_RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A way to compile for the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The cargo in use, which has the target.
    Own,
    /// Debian's cargo, which has the standard library as source only, with this linker.
    Debian(PathBuf),
}

/// What a machine has.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// The cargo in use has the target.
    target: bool,
    /// Debian's compiler with its standard library's source, and a linker for WASM.
    debian: Option<(Version, PathBuf)>,
    /// rustup is there and was not tried yet.
    rustup: bool,
    /// apt is there and was not tried yet.
    apt: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Use(Toolchain),
    AddTarget,
    InstallPackages,
    GiveUp,
}

/// Decides what to do next: nothing is downloaded where something usable is there.
fn next(facts: &Facts, oldest: Version) -> Next {
    match facts {
        Facts { target: true, .. } => Next::Use(Toolchain::Own),
        Facts { debian: Some((version, linker)), .. } if *version >= oldest => {
            Next::Use(Toolchain::Debian(linker.clone()))
        }
        Facts { rustup: true, .. } => Next::AddTarget,
        Facts { apt: true, .. } => Next::InstallPackages,
        _ => Next::GiveUp,
    }
}

/// Finds a toolchain, installing one where there is none.
///
/// # Errors
/// Fails where none can be installed, with the commands that would.
pub(crate) fn ensure_toolchain() -> Result<Toolchain> {
    let Some(oldest) = Version::parse(env!("CARGO_PKG_RUST_VERSION")) else { bail!("no rust-version") };
    let (mut rustup, mut apt) = (program("rustup").is_some(), system::has_apt());
    loop {
        let facts = Facts { rustup, apt, ..facts() };
        let tried = match next(&facts, oldest) {
            Next::Use(toolchain) => return Ok(toolchain),
            Next::AddTarget => {
                rustup = false;
                run_within(RUSTUP_PATIENCE, Command::new("rustup").args(["target", "add", TARGET]))
            }
            Next::InstallPackages => {
                apt = false;
                system::install(&PACKAGES)
            }
            Next::GiveUp => bail!(
                "no toolchain compiles for {TARGET}: run `rustup target add {TARGET}`, or, on Debian, \
                 `apt-get install {}` (which must bring Rust {oldest} or newer)",
                PACKAGES.join(" ")
            ),
        };
        if let Err(error) = tried {
            say(format!("    {error:#}"));
        }
    }
}

fn facts() -> Facts {
    let folder = output(Command::new("rustc").current_dir(root()).args(["--print", "sysroot"]));
    let target = |folder: String| Path::new(&folder).join("lib/rustlib").join(TARGET).join("lib").is_dir();
    Facts { target: folder.is_ok_and(target), debian: debian(), ..Facts::default() }
}

/// Looks for all parts of Debian's toolchain.
fn debian() -> Option<(Version, PathBuf)> {
    let rustc =
        |option: &str, value: &[&str]| output(Command::new("/usr/bin/rustc").arg(option).args(value)).ok();
    let version = Version::of_rustc(&rustc("--version", &[])?)?;
    let source =
        PathBuf::from(rustc("--print", &["sysroot"])?).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    let programs = fs::read_dir("/usr/bin").ok()?.flatten().map(|entry| entry.path());
    let linker = linker(programs)?;
    (source.is_file() && Path::new("/usr/bin/cargo").is_file()).then_some((version, linker))
}

/// Picks the newest `wasm-ld-N`, else a plain `wasm-ld`.
fn linker(programs: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let number = |file: &PathBuf| {
        let name = file.file_name()?.to_str()?.strip_prefix("wasm-ld")?;
        if name.is_empty() { Some(0) } else { name.strip_prefix('-')?.parse::<u32>().ok() }
    };
    programs.filter_map(|file| number(&file).map(|number| (number, file))).max().map(|(_, file)| file)
}

impl Toolchain {
    /// A cargo that compiles for the browser.
    pub(crate) fn cargo<'arg>(&self, args: impl IntoIterator<Item = &'arg str>) -> Command {
        let Self::Debian(linker) = self else { return cargo(args) };
        let mut command = Command::new("/usr/bin/cargo");
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .current_dir(root())
            .args(args)
            .env("PATH", "/usr/bin:/bin")
            .env("RUSTC", "/usr/bin/rustc")
            // The packages hold no compiled standard library for this target; it is compiled beside the page.
            .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(debian: &str) -> Facts {
        let debian = Version::parse(debian).map(|version| (version, "/usr/bin/wasm-ld-22".into()));
        Facts { debian, rustup: true, apt: true, ..Facts::default() }
    }

    #[test]
    fn it_decides_what_to_install() {
        let oldest = Version::parse("1.95").unwrap();
        let packages = Next::Use(Toolchain::Debian("/usr/bin/wasm-ld-22".into()));
        for (what, facts, expected) in [
            ("the target is there", Facts { target: true, ..with("1.96") }, Next::Use(Toolchain::Own)),
            ("the packages are there", with("1.96"), packages),
            ("they are too old", with("1.85"), Next::AddTarget),
            ("none", with(""), Next::AddTarget),
            ("rustup failed", Facts { rustup: false, ..with("") }, Next::InstallPackages),
            ("still too old", Facts { rustup: false, apt: false, ..with("1.85") }, Next::GiveUp),
            ("nothing", Facts::default(), Next::GiveUp),
        ] {
            assert_eq!(next(&facts, oldest), expected, "{what}");
        }
    }

    #[test]
    fn it_picks_the_newest_linker() {
        let pick =
            |names: &[&str]| linker(names.iter().map(PathBuf::from)).map(|file| file.display().to_string());
        let newest = Some("/usr/bin/wasm-ld-22".to_owned());
        assert_eq!(pick(&["/usr/bin/wasm-ld-9", "/usr/bin/wasm-ld-22", "/usr/bin/wasm-ld"]), newest);
        assert_eq!(pick(&["/usr/bin/wasm-ld"]), Some("/usr/bin/wasm-ld".to_owned()));
        assert_eq!(pick(&["/usr/bin/ld", "/usr/bin/wasm-ldx"]), None);
    }
}
