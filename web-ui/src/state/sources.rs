//! The sources as the node last said they are, and which of them are shown.

use std::sync::Arc;

use anode_shared::source::{SourceState, SourceView};

use super::question::{pairs, percent};
use super::source::{LAST_RANK, STATES, rank};

/// All sources of the node, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sources(Vec<Arc<SourceView>>);

impl Sources {
    /// Takes what changed. The first message of a connection is the whole truth.
    pub fn merge(&mut self, changed: Vec<SourceView>, removed: &[String], is_first: bool) {
        if is_first {
            self.0.clear();
        }
        for name in removed {
            if let Ok(place) = self.place(name) {
                self.0.remove(place);
            }
        }
        for source in changed {
            match self.place(&source.definition.name) {
                Ok(place) => self.0[place] = Arc::new(source),
                Err(place) => self.0.insert(place, Arc::new(source)),
            }
        }
    }

    /// Where the source of that name stands, or would.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|source| source.definition.name.as_str().cmp(name))
    }

    /// The source of that name.
    pub fn get(&self, name: &str) -> Option<Arc<SourceView>> {
        self.place(name).ok().map(|place| Arc::clone(&self.0[place]))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of those that a filter lets through.
    pub fn matching(&self, filter: &Filter) -> Vec<String> {
        let chosen = self.0.iter().filter(|source| filter.takes(source));
        chosen.map(|source| source.definition.name.clone()).collect()
    }

    /// How many are in each state; states that no source is in are left out.
    pub fn counts(&self) -> Vec<(SourceState, usize)> {
        let in_state = |state| self.0.iter().filter(|source| source.status.state == state).count();
        STATES.into_iter().map(|state| (state, in_state(state))).filter(|(_, count)| *count > 0).collect()
    }

    /// The names of the `most` that somebody should look at first: trouble before health, then by name.
    pub fn first(&self, most: usize) -> Vec<String> {
        // By looking once for each state: the standard library's sort is a hundredth of the whole page.
        let mut first = Vec::new();
        for looked_for in 0..=LAST_RANK {
            for source in &self.0 {
                if rank(source.status.state) == looked_for && first.len() < most {
                    first.push(source.definition.name.clone());
                }
            }
        }
        first
    }
}

/// Which sources are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Words that must all be in the name, the address or the topic.
    pub text: String,
    /// The only state.
    pub state: Option<SourceState>,
}

impl Filter {
    /// Reads the query of the page's address.
    pub fn from_query(query: &str) -> Self {
        let mut filter = Self::default();
        for (name, value) in pairs(query) {
            match name {
                "q" => filter.text = value,
                "state" => filter.state = STATES.into_iter().find(|state| state.as_str() == value),
                _ => {}
            }
        }
        filter
    }

    /// Writes the query of the page's address, with its question mark; empty where there is nothing to keep.
    pub fn to_query(&self) -> String {
        let text = Some(self.text.trim()).filter(|text| !text.is_empty());
        let kept: Vec<String> = text
            .map(|text| format!("q={}", percent(text)))
            .into_iter()
            .chain(self.state.map(|state| format!("state={}", state.as_str())))
            .collect();
        if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) }
    }

    fn takes(&self, source: &SourceView) -> bool {
        let of = &source.definition;
        self.state.is_none_or(|state| state == source.status.state)
            && self.text.split_whitespace().map(str::to_ascii_lowercase).all(|word| {
                [&of.name, &of.url, &of.topic].iter().any(|text| text.to_ascii_lowercase().contains(&word))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::source::tests::source;

    fn three() -> Sources {
        let mut sources = Sources::default();
        sources.merge(
            vec![
                source("a-btc", SourceState::Live),
                source("b-eth", SourceState::BackingOff),
                source("c-btc", SourceState::Paused),
            ],
            &[],
            true,
        );
        sources
    }

    #[test]
    fn it_follows_what_the_node_says() {
        let mut sources = three();
        sources.merge(vec![source("b-eth", SourceState::Live)], &["c-btc".to_owned()], false);
        assert_eq!(sources.counts(), [(SourceState::Live, 2)]);
        sources.merge(vec![source("d", SourceState::Live)], &[], true);
        assert_eq!((sources.len(), sources.get("a-btc")), (1, None));
        sources.merge(vec![source("e", SourceState::Live), source("c", SourceState::Live)], &[], false);
        assert_eq!(sources.matching(&Filter::default()), ["c", "d", "e"]);
        assert_eq!(sources.get("e").map(|source| source.definition.name.clone()).as_deref(), Some("e"));
    }

    #[test]
    fn it_shows_trouble_first() {
        assert_eq!(three().first(2), ["b-eth", "a-btc"]);
        assert_eq!(
            three().counts(),
            [(SourceState::Live, 1), (SourceState::BackingOff, 1), (SourceState::Paused, 1)]
        );
    }

    #[test]
    fn it_filters_by_words_and_state() {
        for (text, state, names) in [
            ("", None, &["a-btc", "b-eth", "c-btc"][..]),
            ("BTC", None, &["a-btc", "c-btc"]),
            ("btc c-", None, &["c-btc"]),
            ("example.org", Some(SourceState::Live), &["a-btc"]),
            ("eth", Some(SourceState::Live), &[]),
        ] {
            let filter = Filter { text: text.to_owned(), state };
            assert_eq!(three().matching(&filter), names, "{filter:?}");
        }
    }

    #[test]
    fn it_survives_the_address() {
        for (text, state) in [("", None), ("a b&c", None), ("x", Some(SourceState::BackingOff))] {
            let filter = Filter { text: text.to_owned(), state };
            assert_eq!(Filter::from_query(&filter.to_query()), filter);
        }
        assert_eq!(Filter::from_query("?state=nonsense&q=x").state, None);
    }
}
