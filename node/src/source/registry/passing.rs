//! Sources that are there for one run: their definitions are kept nowhere.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};

use anode_shared::source::SourceDefinition;

use super::{AddError, Sources};

impl Sources {
    /// Registers a source for this run, before anything is read: it can be changed and removed like any other, and is gone
    /// with the node.
    ///
    /// # Errors
    /// When there is a source of that name, or the definition is wrong.
    pub fn pass(&self, definition: SourceDefinition) -> Result<(), AddError> {
        let errors = self.check(&definition);
        if !errors.is_empty() {
            return Err(AddError::Invalid(errors));
        }
        if self.get(&definition.name, true).is_some() {
            return Err(AddError::Taken);
        }
        self.passing().insert(definition.name.clone());
        self.stand(definition, None);
        Ok(())
    }

    /// Whether a source is there for this run only.
    pub(super) fn passes(&self, name: &str) -> bool {
        self.passing().contains(name)
    }

    /// A removed source's name is free for one that stays.
    pub(super) fn passed(&self, name: &str) {
        self.passing().remove(name);
    }

    /// Removes what such sources left: the places at which reading stood.
    pub(super) async fn forget_passing(&self) {
        let names: Vec<String> = self.passing().drain().collect();
        let catalog = self.0.catalog.clone();
        let forget = move || names.iter().try_for_each(|name| catalog.remove(name));
        // What stays is a small file that the next run of such a source replaces.
        let _ = self.blocking(forget).await;
    }

    fn passing(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
