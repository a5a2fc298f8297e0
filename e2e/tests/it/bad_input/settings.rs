//! Options, variables and files that are refused.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::node::{binary, clean_command};

#[test]
fn it_refuses_bad_settings_with_a_clear_word() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let unknown = file("a.toml", "htpp = \"127.0.0.1:0\"\n")?;
    let wrong = file("b.toml", "retain-age = 5\n")?;
    let broken = file("c.toml", "http = \n")?;
    for (args, env, words) in [
        (vec!["--htpp", "x"], None, vec!["--http"]),
        (vec!["--http", "nowhere"], None, vec!["http"]),
        (vec!["--http", "127.0.0.1:99999"], None, vec!["http"]),
        (vec!["--retain-age", "soon"], None, vec!["retain-age"]),
        (vec!["--retain-bytes", "lots"], None, vec!["retain-bytes"]),
        (vec!["--reserve-disk", "-1"], None, vec!["reserve-disk"]),
        (vec!["--log-format", "xml"], None, vec!["log-format"]),
        (vec!["--network", "Not A Name"], None, vec!["network"]),
        (vec!["--allow-origin", "nonsense"], None, vec!["origin"]),
        (vec!["--admin-token-file", "/nonexistent/token"], None, vec!["/nonexistent/token"]),
        (vec!["--config", "/nonexistent/anode.toml"], None, vec!["/nonexistent/anode.toml"]),
        (vec!["--config", &unknown], None, vec!["htpp", "http"]),
        (vec!["--config", &wrong], None, vec!["retain-age"]),
        (vec!["--config", &broken], None, vec!["c.toml"]),
        (vec![], Some(("ANODE_RETAIN_AGE", "soon")), vec!["ANODE_RETAIN_AGE"]),
        (vec![], Some(("ANODE_HTPP", "x")), vec!["ANODE_HTPP", "ANODE_HTTP"]),
        (vec!["--data-dir", "/proc/nowhere"], None, vec!["/proc/nowhere"]),
    ] {
        let mut command = clean_command(&binary()?);
        command.arg("run").args(["--http", "127.0.0.1:0"].iter().filter(|_| !args.contains(&"--http")));
        command.args(&args).envs(env).current_dir(dir.path());
        let output = within(command, Duration::from_secs(10)).with_context(|| format!("{args:?} {env:?}"))?;
        ensure!(!output.0, "{args:?} {env:?}: the node ended with success");
        for word in words {
            ensure!(output.1.contains(word), "{args:?} {env:?} does not name {word:?}:\n{}", output.1);
        }
        ensure!(!output.1.contains("panicked"), "{args:?}: {}", output.1);
    }
    Ok(())
}

/// Runs a command that must end soon; gives success and all output.
fn within(mut command: std::process::Command, patience: Duration) -> Result<(bool, String)> {
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let until = std::time::Instant::now() + patience;
    while child.try_wait()?.is_none() {
        if std::time::Instant::now() > until {
            child.kill()?;
            let output = child.wait_with_output()?;
            anyhow::bail!("still running: {}", String::from_utf8_lossy(&output.stdout));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
