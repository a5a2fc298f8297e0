//! Runs other programs, and says which.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::screen::{elapsed, say};

/// One selection for every cargo command that builds or tests aNode, as another one means other features of shared
/// dependencies and a second build of them. This crate is apart, as cargo built it alone to run it.
pub(crate) const SELECTED: [&str; 3] = ["--workspace", "--exclude", "xtask"];

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs this task, in the workspace's folder.
pub(crate) fn cargo<'arg>(args: impl IntoIterator<Item = &'arg str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Says a command and runs it to its end.
///
/// # Errors
/// Fails with the command and its exit status where that is not 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(format!("    $ {}", shown(command)));
    let status = command.status().with_context(|| format!("`{}` could not be started", shown(command)))?;
    ended(command, status)
}

/// Says a command, runs it, and ends it after `patience`.
///
/// # Errors
/// Fails as [`run`] does, and where the command took too long.
pub(crate) fn run_within(patience: Duration, command: &mut Command) -> Result<()> {
    say(format!("    $ {}", shown(command)));
    let child = command.stdin(Stdio::null()).spawn();
    let mut child = child.with_context(|| format!("`{}` could not be started", shown(command)))?;
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return ended(command, status);
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            bail!("`{}` was not done after {}", shown(command), elapsed(patience));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a command as [`run`] does, and where nobody would notice that it hangs ends it after `patience` with all that it started,
/// by coreutils' `timeout`. A person at a terminal interrupts it, which `timeout` would keep from it.
///
/// # Errors
/// Fails as [`run`] does; with status 124 where it took too long.
pub(crate) fn run_limited(patience: Duration, command: &mut Command) -> Result<()> {
    if in_ci() { run(&mut limited(patience, command)) } else { run(command) }
}

fn limited(patience: Duration, command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=30s", &format!("{}s", patience.as_secs_f64())]);
    limited.arg(command.get_program()).args(command.get_args());
    command.get_current_dir().into_iter().for_each(|folder| _ = limited.current_dir(folder));
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

/// Whether this is a run that nobody attends.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

/// Runs a command without a word and gives what it wrote to standard output.
///
/// # Errors
/// Fails where it does not start or exit with 0.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.with_context(|| format!("`{}` could not be started", shown(command)))?;
    ended(command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn ended(command: &Command, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "`{}` ended with {status}", shown(command));
    Ok(())
}

/// Writes a command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Finds a program as a shell would, and in the folders of the system's own programs.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/bin", "/usr/bin", "/usr/sbin"].map(PathBuf::from);
    let mut files = env::split_paths(&path).chain(system).map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_commands_as_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["clippy", "--", "-D", "two words", ""]);
        assert_eq!(shown(&command), "cargo clippy -- -D 'two words' ''");
    }

    #[test]
    fn it_says_how_a_command_ended() {
        let error = run(Command::new("false").arg("x")).unwrap_err().to_string();
        assert_eq!(error, "`false x` ended with exit status: 1");
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err().to_string();
        assert_eq!(error, "`tool` could not be started");
        assert_eq!(output(Command::new("echo").arg("word")).unwrap(), "word");
    }

    #[test]
    fn it_ends_what_hangs_with_all_that_it_started() {
        let mut hanging = Command::new("sh");
        hanging.args(["-c", "sleep 987654 & wait"]).env("WORD", "x");
        let error = run(&mut limited(Duration::from_millis(100), &hanging)).unwrap_err().to_string();
        assert!(
            error.starts_with("`timeout --kill-after=30s 0.1s sh -c ") && error.ends_with(": 124"),
            "{error}"
        );
        let still = Command::new("pgrep").args(["-f", "sleep 987654$"]).status().unwrap();
        assert!(!still.success(), "what it started goes on");
    }

    #[test]
    fn it_ends_what_takes_too_long() {
        let error = run_within(Duration::from_millis(100), Command::new("sleep").arg("60")).unwrap_err();
        assert_eq!(error.to_string(), "`sleep 60` was not done after 0.1 s");
    }
}
