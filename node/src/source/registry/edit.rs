//! Sources are registered, changed and removed. What has begun is brought to its end, also where nobody waits for it.

use std::future::Future;

use anode_shared::source::{SourceDefinition, SourceView};
use anode_shared::status::Level;
use tokio::sync::OwnedMutexGuard;

use super::{AddError, MOST, REMOVED, Sources};

impl Sources {
    /// Registers a source, and begins to read it.
    ///
    /// # Errors
    /// When it cannot be registered; then nothing has changed.
    pub async fn add(&self, definition: SourceDefinition) -> Result<SourceView, AddError> {
        let errors = self.check(&definition);
        if !errors.is_empty() {
            return Err(AddError::Invalid(errors));
        }
        let sources = self.clone();
        self.to_its_end(async move { sources.add_checked(definition).await }).await
    }

    async fn add_checked(&self, definition: SourceDefinition) -> Result<SourceView, AddError> {
        let _editing = self.edit(&definition.name).await?;
        let (taken, many) = {
            let table = self.read();
            (table.entries.contains_key(&definition.name), table.entries.len() >= MOST)
        };
        if taken {
            return Err(AddError::Taken);
        }
        if many {
            return Err(AddError::TooMany);
        }
        let words = format!("{} ({}) was registered", definition.name, definition.kind.as_str());
        let view = self.put(definition).await?;
        self.0.notice.tell(Level::Info, "source_registered", &words);
        Ok(view)
    }

    /// Replaces a source's definition. Its name stays.
    ///
    /// # Errors
    /// When there is none, or the new one is wrong; then nothing has changed.
    pub async fn replace(&self, definition: SourceDefinition) -> Result<SourceView, AddError> {
        if self.get(&definition.name, true).is_none() {
            return Err(AddError::Unknown);
        }
        let errors = self.check(&definition);
        if !errors.is_empty() {
            return Err(AddError::Invalid(errors));
        }
        let sources = self.clone();
        self.to_its_end(async move { sources.replace_checked(definition).await }).await
    }

    async fn replace_checked(&self, definition: SourceDefinition) -> Result<SourceView, AddError> {
        let _editing = self.edit(&definition.name).await?;
        if self.get(&definition.name, true).is_none() {
            return Err(AddError::Unknown);
        }
        let words = format!("{} was changed", definition.name);
        let view = self.put(definition).await?;
        self.0.notice.tell(Level::Info, "source_edited", &words);
        Ok(view)
    }

    /// Pauses a source, or goes on reading it. Resuming one that is not paused tries it at once.
    ///
    /// # Errors
    /// When there is none, or its definition cannot be kept.
    pub async fn pause(&self, name: &str, paused: bool) -> Result<SourceView, AddError> {
        let (sources, name) = (self.clone(), name.to_owned());
        self.to_its_end(async move { sources.pause_now(&name, paused).await }).await
    }

    async fn pause_now(&self, name: &str, paused: bool) -> Result<SourceView, AddError> {
        let _editing = self.edit(name).await?;
        let (definition, damage) = {
            let table = self.read();
            let entry = table.entries.get(name).ok_or(AddError::Unknown)?;
            (entry.live.definition.clone(), entry.damage.clone())
        };
        if let Some(damage) = damage {
            return Err(AddError::Damaged(damage));
        }
        let view = self.put(SourceDefinition { paused, ..(*definition).clone() }).await?;
        let kind = if paused { "source_paused" } else { "source_resumed" };
        let words = format!("{name} was {}", if paused { "paused" } else { "resumed" });
        self.0.notice.tell(Level::Info, kind, &words);
        Ok(view)
    }

    /// Removes a source. Its records stay.
    ///
    /// # Errors
    /// When there is none, or its file cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), AddError> {
        let (sources, name) = (self.clone(), name.to_owned());
        self.to_its_end(async move { sources.remove_now(&name).await }).await
    }

    async fn remove_now(&self, name: &str) -> Result<(), AddError> {
        let _editing = self.edit(name).await?;
        if !self.read().entries.contains_key(name) {
            return Err(AddError::Unknown);
        }
        self.halt(name).await;
        let (catalog, owned) = (self.0.catalog.clone(), name.to_owned());
        let removed = self.blocking(move || catalog.remove(&owned)).await;
        if let Err(error) = removed {
            self.restart(name);
            return Err(error);
        }
        let mut table = self.write();
        table.entries.remove(name);
        self.passed(name);
        table.removed.push_back((self.0.notice.next(), name.to_owned()));
        if table.removed.len() > REMOVED {
            table.removed.pop_front();
        }
        drop(table);
        self.0.notice.tell(Level::Info, "source_removed", &format!("{name} was removed; its records stay"));
        Ok(())
    }

    /// Works in a task of its own: who asked may hang up, and a change that stopped halfway would leave a source unread.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AddError>> + Send + 'static,
    ) -> Result<T, AddError> {
        let done = self.0.tracker.spawn(work).await;
        done.unwrap_or_else(|error| Err(AddError::Storage(error.into())))
    }

    async fn edit(&self, name: &str) -> Result<OwnedMutexGuard<()>, AddError> {
        let guard = self.0.editing.of(name).lock_owned().await;
        if self.0.stop.is_cancelled() { Err(AddError::Stopping) } else { Ok(guard) }
    }
}
