//! A page as assistive technology sees it: elements by role and accessible name, used by mouse and keyboard as people do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Browser;

/// How long what is looked for may take to come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(60);
/// How many elements an error names.
const NAMED: usize = 60;

/// Which accessible name is meant.
#[derive(Clone, Copy, Debug)]
pub enum Name<'name> {
    /// Exactly this one.
    Is(&'name str),
    /// One that begins so.
    Begins(&'name str),
    /// Any.
    Any,
}

impl<'name> From<&'name str> for Name<'name> {
    fn from(name: &'name str) -> Self {
        Self::Is(name)
    }
}

impl Name<'_> {
    fn fits(self, name: &str) -> bool {
        match self {
            Self::Is(wanted) => name == wanted,
            Self::Begins(start) => name.starts_with(start),
            Self::Any => true,
        }
    }
}

/// An element as it was when it was found.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its accessible name.
    pub name: String,
    /// What describes it beside its name: hints, errors.
    pub description: String,
    marks: Vec<String>,
    object: String,
}

impl Browser {
    /// All elements of a role and a name, in the whole page or in one of its elements, that can be perceived now.
    ///
    /// # Errors
    /// Fails where the browser does not answer.
    pub async fn all(
        &self,
        within: Option<&Element>,
        role: &str,
        name: impl Into<Name<'_>>,
    ) -> Result<Vec<Element>> {
        let name = name.into();
        let root = match within {
            Some(element) => element.object.clone(),
            None => self.document().await?,
        };
        let asked = json!({ "objectId": root, "role": role });
        // What is asked about may be taken away meanwhile: then it holds nothing.
        let Ok(answer) = self.devtools("Accessibility.queryAXTree", &asked).await else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for node in answer["nodes"].as_array().into_iter().flatten() {
            let text = node["name"]["value"].as_str().unwrap_or("").trim();
            if node["ignored"] == true || !name.fits(text) {
                continue;
            }
            let asked = json!({ "backendNodeId": node["backendDOMNodeId"] });
            let Ok(resolved) = self.devtools("DOM.resolveNode", &asked).await else { continue };
            let Some(object) = resolved["object"]["objectId"].as_str() else { continue };
            found.push(Element::of(node, text, object));
        }
        Ok(found)
    }

    async fn document(&self) -> Result<String> {
        let answer = self.devtools("Runtime.evaluate", &json!({ "expression": "document" })).await?;
        Ok(answer["result"]["objectId"].as_str().context("no document")?.to_owned())
    }

    /// Waits for the one element of a role and a name.
    ///
    /// # Errors
    /// Fails with what there is where it does not come, or where there are several.
    pub async fn find(&self, role: &str, name: impl Into<Name<'_>>) -> Result<Element> {
        self.find_in(None, role, name).await
    }

    /// Waits for the one element of a role and a name in another one.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn find_in(
        &self,
        within: Option<&Element>,
        role: &str,
        name: impl Into<Name<'_>>,
    ) -> Result<Element> {
        let name = name.into();
        let until = Instant::now() + PATIENCE;
        loop {
            let mut found = self.all(within, role, name).await?;
            if found.len() == 1 {
                return found.pop().context("one");
            }
            if Instant::now() > until {
                bail!("{} of {role} {name:?} after {PATIENCE:?}; {}", found.len(), self.outline(role).await?);
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until there is no element of a role and a name any more.
    ///
    /// # Errors
    /// Fails where it stays.
    pub async fn gone(&self, role: &str, name: impl Into<Name<'_>>) -> Result<()> {
        let name = name.into();
        let until = Instant::now() + PATIENCE;
        while !self.all(None, role, name).await?.is_empty() {
            ensure!(Instant::now() < until, "{role} {name:?} is still there after {PATIENCE:?}");
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits until an element of a role and a name says all of these words, and gives its whole text.
    ///
    /// # Errors
    /// Fails with what it says instead.
    pub async fn says(&self, role: &str, name: impl Into<Name<'_>>, words: &[&str]) -> Result<String> {
        let name = name.into();
        let until = Instant::now() + PATIENCE;
        loop {
            let mut texts = Vec::new();
            for element in self.all(None, role, name).await? {
                texts.push(self.text(&element).await.unwrap_or_default());
            }
            let fits = |text: &&String| words.iter().all(|word| text.contains(word));
            if let Some(text) = texts.iter().find(fits) {
                return Ok(text.clone());
            }
            if Instant::now() > until {
                bail!("{role} {name:?} says {texts:?} and not {words:?}; {}", self.outline(role).await?);
            }
            sleep(PAUSE).await;
        }
    }

    /// The text of an element, as it is shown; of a field, what stands in it.
    ///
    /// # Errors
    /// Fails where it is gone.
    pub async fn text(&self, element: &Element) -> Result<String> {
        let text = self.on(element, "return this.value ?? this.innerText ?? this.textContent").await?;
        Ok(text.as_str().unwrap_or("").to_owned())
    }

    /// Clicks the element of a role and a name with the mouse.
    ///
    /// # Errors
    /// Fails where it does not come, or something lies over it.
    pub async fn click(&self, role: &str, name: impl Into<Name<'_>>) -> Result<()> {
        self.click_in(None, role, name).await
    }

    /// Clicks the element of a role and a name in another one with the mouse.
    ///
    /// # Errors
    /// As [`Self::click`].
    pub async fn click_in(
        &self,
        within: Option<&Element>,
        role: &str,
        name: impl Into<Name<'_>>,
    ) -> Result<()> {
        let name = name.into();
        let until = Instant::now() + PATIENCE;
        loop {
            let element = self.find_in(within, role, name).await?;
            // A page that moves may have moved it away: then it is looked for again.
            if let Some((x, y)) = self.spot(&element).await? {
                return self.press(x, y).await;
            }
            ensure!(
                Instant::now() < until,
                "{role} {name:?} cannot be clicked: it is covered or has no size"
            );
            sleep(PAUSE).await;
        }
    }

    /// Where an element can be clicked, once it is scrolled to.
    async fn spot(&self, element: &Element) -> Result<Option<(f64, f64)>> {
        let script = "this.scrollIntoView({ block: 'center', behavior: 'instant' }); \
                      const b = this.getBoundingClientRect(); const x = b.x + b.width / 2, y = b.y + b.height / 2; \
                      const top = document.elementFromPoint(x, y); \
                      const hits = top && (this.contains(top) || top.contains(this) && top.closest('label')); \
                      return hits ? [x, y] : null";
        let Ok(spot) = self.on(element, script).await else { return Ok(None) };
        Ok(spot[0].as_f64().zip(spot[1].as_f64()))
    }

    async fn press(&self, x: f64, y: f64) -> Result<()> {
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.devtools("Input.dispatchMouseEvent", &event).await?;
        }
        Ok(())
    }

    /// Waits until an element is as a test wants it, and gives it.
    ///
    /// # Errors
    /// Fails with how it is instead.
    pub async fn when(
        &self,
        role: &str,
        name: impl Into<Name<'_>>,
        is_so: impl Fn(&Element) -> bool,
    ) -> Result<Element> {
        let name = name.into();
        let until = Instant::now() + PATIENCE;
        loop {
            let element = self.find(role, name).await?;
            if is_so(&element) {
                return Ok(element);
            }
            ensure!(Instant::now() < until, "after {PATIENCE:?} it is {element:?}");
            sleep(PAUSE).await;
        }
    }

    /// Presses a key once the element of a role and a name has the focus.
    ///
    /// # Errors
    /// Fails where it does not get it.
    pub async fn key_at(&self, role: &str, name: impl Into<Name<'_>>, key: &str) -> Result<()> {
        self.when(role, name, |element| element.is("focused")).await?;
        self.key(key).await
    }

    /// Presses a key.
    ///
    /// # Errors
    /// Fails where the browser refuses.
    pub async fn key(&self, key: &str) -> Result<()> {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.devtools("Input.dispatchKeyEvent", &event).await?;
        }
        Ok(())
    }

    /// Types into the field of that label, in place of what stands there.
    ///
    /// # Errors
    /// Fails where there is no such field, or it does not take the text.
    pub async fn write(&self, label: &str, text: &str) -> Result<()> {
        let field = self.find("textbox", label).await?;
        self.on(&field, "this.scrollIntoView({ block: 'center' }); this.focus(); this.select(); return true")
            .await?;
        if text.is_empty() {
            self.on(&field, "document.execCommand('delete'); return true").await?;
        } else {
            self.devtools("Input.insertText", &json!({ "text": text })).await?;
        }
        let written = self.text(&field).await?;
        ensure!(written == text, "{label} holds {written:?} after {text:?} was typed");
        Ok(())
    }

    /// What stands in the field of that label.
    ///
    /// # Errors
    /// Fails where there is no such field.
    pub async fn held(&self, label: &str) -> Result<String> {
        self.text(&self.find("textbox", label).await?).await
    }

    /// Runs the body of a function of which `this` is the element.
    async fn on(&self, element: &Element, body: &str) -> Result<Value> {
        let call = json!({ "objectId": element.object, "returnByValue": true, "functionDeclaration": format!("function() {{ {body} }}") });
        let answer = self.devtools("Runtime.callFunctionOn", &call).await?;
        ensure!(answer["exceptionDetails"].is_null(), "{body}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// The names of a role's elements, and the page's text, for errors.
    async fn outline(&self, role: &str) -> Result<String> {
        let all = self.all(None, role, Name::Any).await?;
        let names: Vec<&str> = all.iter().map(|element| element.name.as_str()).take(NAMED).collect();
        let page = self.run("return location.href + '\\n' + document.body.innerText").await?;
        Ok(format!("{role}s: {names:?}\nthe page:\n{}", page.as_str().unwrap_or("")))
    }
}

impl Element {
    fn of(node: &Value, name: &str, object: &str) -> Self {
        let properties = node["properties"].as_array().into_iter().flatten();
        let marked = properties.filter(|property| {
            let value = &property["value"]["value"];
            *value == true || *value == "true"
        });
        Self {
            name: name.to_owned(),
            description: node["description"]["value"].as_str().unwrap_or("").to_owned(),
            marks: marked.map(|property| property["name"].as_str().unwrap_or("").to_owned()).collect(),
            object: object.to_owned(),
        }
    }

    /// Whether it is said to be so: `invalid`, `disabled`, `checked`, `pressed`, `focused`, ….
    #[must_use]
    pub fn is(&self, mark: &str) -> bool {
        self.marks.iter().any(|other| other == mark)
    }
}
