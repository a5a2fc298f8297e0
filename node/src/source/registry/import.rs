//! `--sources FILE`: definitions in JSON or TOML, all of them or none.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anode_shared::source::SourceDefinition;
use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{MOST, Sources};

/// How many definitions are written at once: the disk syncs many together.
const AT_ONCE: usize = 16;
/// How many errors of a file are named.
const NAMED: usize = 20;

/// Reads definitions from a file. Blocks.
///
/// # Errors
/// With file, entry and field.
fn parse(path: &Path) -> anyhow::Result<Vec<SourceDefinition>> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the sources in {shown}"))?;
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
        || text.trim_start().starts_with('[') && !text.trim_start().starts_with("[[");
    let value: Value = if is_json {
        serde_json::from_str(&text).with_context(|| format!("{shown} is not JSON"))?
    } else {
        toml::from_str(&text).with_context(|| format!("{shown} is not TOML"))?
    };
    let entries = match value {
        Value::Array(entries) => entries,
        Value::Object(mut members) => match (members.remove("sources"), members.keys().next()) {
            (_, Some(other)) => bail!("{shown} holds `{other}`; it may hold `sources` and nothing else"),
            (Some(Value::Array(entries)), None) => entries,
            _ => bail!("{shown} holds no list of sources; write an array, or sources = […]"),
        },
        _ => bail!("{shown} holds no list of sources; write an array, or sources = […]"),
    };
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    let mut definitions = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        match SourceDefinition::read(entry.clone()) {
            Ok(definition) => {
                if !names.insert(definition.name.clone()) {
                    errors.push(format!("{}: name: it is there twice", entry_name(place, &entry)));
                }
                definitions.push(definition);
            }
            Err(wrong) => errors.extend(
                wrong
                    .into_iter()
                    .map(|e| format!("{}: {}: {}", entry_name(place, &entry), e.field, e.detail)),
            ),
        }
    }
    complain(path, errors)?;
    Ok(definitions)
}

fn entry_name(place: usize, entry: &Value) -> String {
    let name = entry.get("name").and_then(Value::as_str).map(|name| format!(" ({name})")).unwrap_or_default();
    format!("entry {}{name}", place + 1)
}

fn complain(path: &Path, mut errors: Vec<String>) -> anyhow::Result<()> {
    if errors.is_empty() {
        return Ok(());
    }
    let more = errors.len().saturating_sub(NAMED);
    errors.truncate(NAMED);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    bail!(
        "the sources in {} are wrong, and none was registered:\n  {}{more}",
        path.display(),
        errors.join("\n  ")
    )
}

impl Sources {
    /// Registers what a file holds, before anything is read: its definitions take the place of those of the same names.
    /// Blocks.
    ///
    /// # Errors
    /// With file, entry and field; then nothing was registered.
    pub fn import(&self, path: &Path) -> anyhow::Result<()> {
        let definitions = parse(path)?;
        let mut errors = Vec::new();
        for (place, definition) in definitions.iter().enumerate() {
            let wrong = self.check(definition);
            let entry = format!("entry {} ({})", place + 1, definition.name);
            errors
                .extend(wrong.into_iter().map(|error| format!("{entry}: {}: {}", error.field, error.detail)));
        }
        complain(path, errors)?;
        let new: Vec<SourceDefinition> = {
            let table = self.read();
            let differs = |definition: &SourceDefinition| {
                let entry = table.entries.get(&definition.name);
                entry.is_none_or(|entry| entry.damage.is_some() || *entry.live.definition != *definition)
            };
            definitions.into_iter().filter(differs).collect()
        };
        let added = new.iter().filter(|definition| self.get(&definition.name, true).is_none()).count();
        if self.len() + added > MOST {
            bail!("{} would make more than {MOST} sources; a node takes no more", path.display());
        }
        self.save_all(&new)?;
        for definition in new {
            self.stand(definition, None);
        }
        Ok(())
    }

    fn save_all(&self, definitions: &[SourceDefinition]) -> anyhow::Result<()> {
        let next = AtomicUsize::new(0);
        let save = || -> anyhow::Result<()> {
            while let Some(definition) = definitions.get(next.fetch_add(1, Relaxed)) {
                self.0.catalog.save(definition)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE.min(definitions.len())).map(|_| scope.spawn(save)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("saving failed")))
        })
    }
}
