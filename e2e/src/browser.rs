//! A real headless Chromium, driven through the protocol of its own developer tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

mod look;
pub mod roles;
mod tools;

use tools::Tools;

/// How long a start, a load or one answer may take; browsers are slow on busy machines.
const PATIENCE: Duration = Duration::from_secs(40);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    profile: TempDir,
    tools: Mutex<Tools>,
}

/// The size and kind of a screen.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// A word for file names.
    pub name: &'static str,
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Whether it is a phone's.
    pub mobile: bool,
}

/// The screens on which pages are looked at.
pub const SCREENS: [Screen; 2] = [
    Screen { name: "desk", width: 1440, height: 900, mobile: false },
    Screen { name: "phone", width: 390, height: 844, mobile: true },
];

/// The browser's program: `ANODE_CHROMIUM`, else what Debian, Ubuntu and others call it.
///
/// # Errors
/// Fails where none is installed.
pub fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("ANODE_CHROMIUM") {
        return Ok(program.into());
    }
    let folders = std::env::var("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let mut places =
        names.iter().flat_map(|name| folders.split(':').map(move |folder| Path::new(folder).join(name)));
    places
        .find(|path| path.is_file())
        .context("no Chromium: install it (apt-get install chromium) or set ANODE_CHROMIUM")
}

impl Browser {
    /// Starts a browser with a new profile and an empty page.
    ///
    /// # Errors
    /// Fails where it does not start.
    pub async fn start() -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("anode-e2e-chromium-").tempdir()?;
        let mut command = Command::new(program()?);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--remote-debugging-port=0"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut starting = Starting(Some(process));
        let url = page_url(profile.path()).await?;
        let tools = timeout(PATIENCE, Tools::connect(&url)).await.context("the page's developer tools")??;
        let tools = Mutex::new(tools);
        let process = starting.0.take().context("no process")?;
        let browser = Self { process, profile, tools };
        for domain in ["Page", "Runtime", "Log"] {
            browser.devtools(&format!("{domain}.enable"), &json!({})).await?;
        }
        Ok(browser)
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// Fails where the browser cannot load it.
    pub async fn open(&self, url: &str) -> Result<()> {
        let answer = self.devtools("Page.navigate", &json!({ "url": url })).await?;
        ensure!(answer["errorText"].is_null(), "{url}: {}", answer["errorText"]);
        self.until("return location.href != 'about:blank' && document.readyState == 'complete'", PATIENCE)
            .await?;
        Ok(())
    }

    /// Runs the body of a function in the page and gives what it returns.
    ///
    /// # Errors
    /// Fails where the script throws.
    pub async fn run(&self, script: &str) -> Result<Value> {
        let call = json!({ "expression": format!("(() => {{ {script} }})()"), "returnByValue": true, "awaitPromise": true });
        let answer = self.devtools("Runtime.evaluate", &call).await?;
        let thrown = &answer["exceptionDetails"];
        ensure!(thrown.is_null(), "{script}: {} {}", thrown["text"], thrown["exception"]["description"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Runs the body of a function until it returns something other than null and false.
    ///
    /// # Errors
    /// Fails where that does not come in time, with what the page shows.
    pub async fn until(&self, script: &str, patience: Duration) -> Result<Value> {
        let until = Instant::now() + patience;
        loop {
            let value = self.run(script).await?;
            if !value.is_null() && value != false {
                return Ok(value);
            }
            if Instant::now() > until {
                let page = self.run("return document.body.innerText").await?;
                bail!("{script}: not in {patience:?}; the page shows:\n{page}\nlog: {:?}", self.log().await?);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Types a text into the first element that fits a selector, replacing what is there.
    ///
    /// # Errors
    /// Fails where there is no such element.
    pub async fn fill(&self, script_for_element: &str, text: &str) -> Result<()> {
        let script = format!(
            "const e = (() => {{ {script_for_element} }})(); if (!e) return false; e.focus(); \
             const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), 'value').set; set.call(e, {}); \
             e.dispatchEvent(new Event('input', {{bubbles: true}})); e.dispatchEvent(new Event('change', {{bubbles: true}})); \
             e.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter', bubbles: true}})); \
             if (e.form) e.form.requestSubmit(); return true",
            Value::from(text)
        );
        ensure!(self.run(&script).await? == true, "no element: {script_for_element}");
        Ok(())
    }

    /// Shows the page as on a screen, light or dark.
    ///
    /// # Errors
    /// Fails where the browser refuses.
    pub async fn show_as(&self, screen: Screen, dark: bool) -> Result<()> {
        let size = json!({ "width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": screen.mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", &size).await?;
        let value = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &media).await.map(drop)
    }

    /// Writes a picture of the window.
    ///
    /// # Errors
    /// Fails where the file cannot be written.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        let picture = self.devtools("Page.captureScreenshot", &json!({ "format": "png" })).await?;
        let bytes = STANDARD.decode(picture["data"].as_str().context("no picture")?)?;
        fs::create_dir_all(file.parent().context("no folder")?)?;
        Ok(fs::write(file, bytes)?)
    }

    /// What was logged and thrown since the last call: level and message.
    ///
    /// # Errors
    /// Fails where the browser does not answer.
    pub async fn log(&self) -> Result<Vec<(String, String)>> {
        // An answer comes behind the events before it.
        self.run("return 0").await?;
        Ok(std::mem::take(&mut self.tools.lock().await.log))
    }

    /// Agrees to, or declines, what the page asks from now on in windows of its own; gives what it asked until now.
    pub async fn answer(&self, agrees: bool) -> Vec<String> {
        let mut tools = self.tools.lock().await;
        tools.agrees = agrees;
        std::mem::take(&mut tools.asked)
    }

    /// Runs a command of the developer tools.
    ///
    /// # Errors
    /// Fails where the browser refuses or does not answer.
    pub async fn devtools(&self, command: &str, params: &Value) -> Result<Value> {
        let mut tools = self.tools.lock().await;
        timeout(PATIENCE, tools.call(command, params))
            .await
            .with_context(|| format!("{command}: no answer"))?
    }

    /// Ends the browser.
    ///
    /// # Errors
    /// Fails where its profile cannot be removed.
    pub async fn close(mut self) -> Result<()> {
        // The connection may end before the answer.
        let _ = self.devtools("Browser.close", &json!({})).await;
        end(&mut self.process);
        Ok(())
    }
}

/// A browser that is ended where its start fails.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            end(process);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        end(&mut self.process);
        // A helper of the browser may write a moment longer.
        let _ = fs::remove_dir_all(self.profile.path());
    }
}

/// Ends a browser with all of its helpers, which a plain kill would leave behind.
fn end(process: &mut Child) {
    let _ = crate::process::signal(process.id(), rustix::process::Signal::TERM);
    for _ in 0..150 {
        if matches!(process.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = process.kill();
    let _ = process.wait();
}

/// Waits for the browser to name its port, and asks for the address of its page.
async fn page_url(profile: &Path) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    let client = reqwest::Client::builder().no_proxy().build()?;
    while Instant::now() < until {
        let text = fs::read_to_string(profile.join("DevToolsActivePort")).unwrap_or_default();
        if let Some(port) = text.lines().next().and_then(|line| line.parse::<u16>().ok()) {
            let pages: Value =
                client.get(format!("http://127.0.0.1:{port}/json/list")).send().await?.json().await?;
            let mut pages = pages.as_array().context("no pages")?.iter();
            if let Some(page) = pages.find(|page| page["type"] == "page") {
                return Ok(page["webSocketDebuggerUrl"].as_str().context("no address")?.to_owned());
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("the browser did not start in {PATIENCE:?}")
}
