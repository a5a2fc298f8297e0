//! Versions of compilers and crates.

use std::fmt;

use anyhow::{Result, ensure};

/// A version of three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// Reads `1.95`, `1.95.0` or `1.96.0-nightly`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let version = Self(parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
        parts.next().is_none().then_some(version)
    }

    /// Reads what `rustc --version` says: `rustc 1.96.0 (ac68faa20 2026-05-25)`.
    pub(crate) fn of_rustc(line: &str) -> Option<Self> {
        line.strip_prefix("rustc ")?.split_whitespace().next().and_then(Self::parse)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Finds the version of a package in the text of a `Cargo.lock`.
fn locked<'lock>(lock: &'lock str, package: &str) -> Option<&'lock str> {
    let name = format!("name = \"{package}\"");
    let after = lock.lines().skip_while(|line| *line != name).nth(1)?;
    after.strip_prefix("version = \"")?.strip_suffix('"')
}

/// Checks that the bindings' generator is of the version of the crate that it makes bindings for.
///
/// # Errors
/// Fails with the command that makes them equal.
pub(crate) fn check_bindgen(lock: &str) -> Result<()> {
    let version = |package| locked(lock, package).unwrap_or("none");
    let (used, tool) = (version("wasm-bindgen"), version("wasm-bindgen-cli-support"));
    ensure!(
        used == tool,
        "Cargo.lock has wasm-bindgen {used} but wasm-bindgen-cli-support {tool}, and the two must be equal: \
         run `cargo update -p wasm-bindgen-cli-support --precise {used}`"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_versions() {
        for (text, expected) in [
            ("1.95", Some("1.95.0")),
            ("1.95.1", Some("1.95.1")),
            ("1.97.0-nightly", Some("1.97.0")),
            ("1", None),
            ("1.2.3.4", None),
            ("1.x", None),
            ("", None),
        ] {
            assert_eq!(
                Version::parse(text).map(|version| version.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
        let debian = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)";
        assert_eq!(Version::of_rustc(debian), Some(Version(1, 96, 0)));
        assert_eq!(Version::of_rustc("error: no toolchain"), None);
        assert!(Version::parse("1.100") > Version::parse("1.95.9"));
    }

    #[test]
    fn it_demands_equal_bindgen_versions() {
        let lock = |used: &str, tool: &str| {
            format!(
                "[[package]]\nname = \"wasm-bindgen\"\nversion = \"{used}\"\n\n\
                 [[package]]\nname = \"wasm-bindgen-cli-support\"\nversion = \"{tool}\"\n"
            )
        };
        assert!(check_bindgen(&lock("0.2.108", "0.2.108")).is_ok());
        let error = check_bindgen(&lock("0.2.108", "0.2.130")).unwrap_err().to_string();
        assert!(error.ends_with("`cargo update -p wasm-bindgen-cli-support --precise 0.2.108`"), "{error}");
    }
}
