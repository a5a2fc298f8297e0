//! A real headless Chromium, driven through `chromedriver` by W3C's protocol.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
    _profile: TempDir,
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

impl Browser {
    /// Starts `chromedriver` on a free port and a browser with a new profile.
    ///
    /// # Errors
    /// Fails where either does not start.
    pub async fn start() -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("anode-e2e-chromium-").tempdir()?;
        let mut command = Command::new("/usr/bin/chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = command.spawn().context("/usr/bin/chromedriver (Debian: chromium-driver)")?;
        let output = driver.stdout.take().context("no output")?;
        let port = tokio::task::spawn_blocking(move || port(BufReader::new(output))).await?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let mut browser = Self { driver, client, session: String::new(), _profile: profile };
        let root = format!("http://127.0.0.1:{}", port?);
        browser.session = browser.new_session(&root).await?;
        Ok(browser)
    }

    async fn new_session(&self, root: &str) -> Result<String> {
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &profile,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags }, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let answer = self.call_at("POST", &format!("{root}/session"), &wanted).await?;
        let id = answer["sessionId"].as_str().context("no session")?;
        Ok(format!("{root}/session/{id}"))
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// Fails where the browser cannot load it.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.call("POST", "url", &json!({ "url": url })).await.map(drop)
    }

    /// Runs the body of a function in the page and gives what it returns.
    ///
    /// # Errors
    /// Fails where the script throws.
    pub async fn run(&self, script: &str) -> Result<Value> {
        self.call("POST", "execute/sync", &json!({ "script": script, "args": [] })).await
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
        self.devtools("Emulation.setEmulatedMedia", &media).await
    }

    /// Runs a command of the browser's own protocol.
    ///
    /// # Errors
    /// Fails where the browser refuses.
    pub async fn devtools(&self, command: &str, params: &Value) -> Result<()> {
        self.call("POST", "goog/cdp/execute", &json!({ "cmd": command, "params": params })).await.map(drop)
    }

    /// Writes a picture of the window.
    ///
    /// # Errors
    /// Fails where the file cannot be written.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        let picture = self.call("GET", "screenshot", &Value::Null).await?;
        let bytes = STANDARD.decode(picture.as_str().context("no picture")?)?;
        fs::create_dir_all(file.parent().context("no folder")?)?;
        Ok(fs::write(file, bytes)?)
    }

    /// The browser's log since the last call: level and message.
    ///
    /// # Errors
    /// Fails where the browser refuses.
    pub async fn log(&self) -> Result<Vec<(String, String)>> {
        let entries = self.call("POST", "se/log", &json!({ "type": "browser" })).await?;
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("").to_owned();
        let entries = entries.as_array().cloned().unwrap_or_default();
        Ok(entries.iter().map(|entry| (text(entry, "level"), text(entry, "message"))).collect())
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.call_at(method, &format!("{}/{path}", self.session), body).await
    }

    async fn call_at(&self, method: &str, url: &str, body: &Value) -> Result<Value> {
        let mut request = self.client.request(method.parse()?, url);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer: Value = request.send().await?.json().await?;
        let value = answer["value"].clone();
        let error = value["error"].as_str();
        ensure!(
            error.is_none(),
            "{url}: {}: {}",
            error.unwrap_or(""),
            value["message"].as_str().unwrap_or("")
        );
        Ok(value)
    }

    /// Ends browser and driver.
    ///
    /// # Errors
    /// Fails where the browser does not answer.
    pub async fn close(self) -> Result<()> {
        self.call_at("DELETE", &self.session, &Value::Null).await.map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when it is asked to end.
        let _ = crate::process::signal(self.driver.id(), rustix::process::Signal::TERM);
        for _ in 0..100 {
            if matches!(self.driver.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Finds the port in the driver's greeting.
fn port(output: impl std::io::BufRead) -> Result<u16> {
    for line in output.lines() {
        let line = line?;
        if let Some((_, tail)) = line.split_once("started successfully on port ") {
            return Ok(tail.trim_end_matches('.').trim().parse()?);
        }
    }
    bail!("chromedriver named no port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_the_drivers_port() {
        let greeting = "Starting ChromeDriver\nChromeDriver was started successfully on port 41233.\n";
        assert_eq!(port(greeting.as_bytes()).unwrap(), 41233);
        assert!(port("no\n".as_bytes()).is_err());
    }
}
