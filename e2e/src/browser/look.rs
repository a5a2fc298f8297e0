//! Looks at a page on every screen and in both themes: its width, what axe-core finds, and a picture to keep.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Browser, SCREENS};
use crate::scale::say;

/// The accessibility checker, as its makers publish it.
const AXE: &str = include_str!("../../vendor/axe.min.js");
/// How long a page may take to take on another size or theme.
const SETTLE: Duration = Duration::from_millis(120);

impl Browser {
    /// Looks at the page as it is now, on all screens, light and dark; leaves it light on the first screen.
    ///
    /// # Errors
    /// Fails where it is wider than a screen, or axe-core finds something.
    pub async fn look(&self, name: &str) -> Result<()> {
        let began = Instant::now();
        for screen in SCREENS {
            for dark in [false, true] {
                self.show_as(screen, dark).await?;
                sleep(SETTLE).await;
                let theme = if dark { "dark" } else { "light" };
                let what = format!("{name}-{}-{theme}", screen.name);
                self.picture(&pictures().join(format!("{what}.png"))).await?;
                let fits =
                    self.run("return document.documentElement.scrollWidth <= window.innerWidth").await?;
                ensure!(fits == true, "{what}: the page is wider than the screen");
                let found = self.axe().await.with_context(|| what.clone())?;
                ensure!(found.is_empty(), "{what}: axe-core finds {}", found.join("\n"));
            }
        }
        say(&format!("{name}: looked at in {:?}", began.elapsed()));
        self.show_as(SCREENS[0], false).await
    }

    /// What axe-core finds on the page as it is shown now.
    ///
    /// # Errors
    /// Fails where it does not run.
    pub async fn axe(&self) -> Result<Vec<String>> {
        if self.run("return typeof axe").await? == "undefined" {
            self.devtools("Runtime.evaluate", &json!({ "expression": AXE })).await?;
        }
        let found = self
            .run("return axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations)")
            .await?;
        let found = found.as_array().context("axe-core says nothing")?;
        Ok(found.iter().map(words).collect())
    }
}

/// A finding in a few lines: the rule, and the elements that break it.
fn words(found: &Value) -> String {
    let nodes = found["nodes"].as_array().into_iter().flatten().take(4);
    let nodes = nodes
        .map(|node| format!("\n  {}: {}", node["target"], node["failureSummary"].as_str().unwrap_or("")));
    format!("{}: {}{}", found["id"], found["help"], nodes.collect::<String>())
}

/// Where pictures are kept.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e-pictures")
}
