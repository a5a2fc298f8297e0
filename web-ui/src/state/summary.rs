//! The state of the whole node in a sentence.

use anode_shared::status::{Component, Components, State};

/// A state as one word.
pub fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Degraded => "degraded",
        State::Down => "down",
        State::Off => "off",
    }
}

/// The worst state of all components, and the sentence that says it.
pub fn summary(components: &Components) -> (State, String) {
    let named =
        |state| components.iter().filter(move |(_, component)| component.state == state).collect::<Vec<_>>();
    let (down, degraded) = (named(State::Down), named(State::Degraded));
    if !down.is_empty() || !degraded.is_empty() {
        let worst = if down.is_empty() { State::Degraded } else { State::Down };
        let parts: Vec<String> = [(down, "down"), (degraded, "degraded")]
            .into_iter()
            .filter(|(list, _)| !list.is_empty())
            .map(|(list, word)| trouble(&list, word))
            .collect();
        return (worst, capital(&format!("{}.", parts.join("; "))));
    }
    let names: Vec<&str> = named(State::Ok).iter().map(|(name, _)| *name).collect();
    match names.len() {
        0 => (State::Off, "Nothing runs yet.".to_owned()),
        _ => (State::Ok, format!("Everything that exists works: {}.", list(&names))),
    }
}

fn trouble(components: &[(&str, &Component)], word: &str) -> String {
    let names: Vec<&str> = components.iter().map(|(name, _)| *name).collect();
    let is_one = names.len() == 1 && names != ["sources"];
    let verb = if is_one { "is" } else { "are" };
    let reason = match components {
        [(_, Component { detail: Some(detail), .. })] => format!(": {}", detail.trim_end_matches('.')),
        _ => String::new(),
    };
    format!("{} {verb} {word}{reason}", list(&names))
}

/// `a`, `a and b`, `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

/// The text with its first letter large.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(states: [(State, Option<&str>); 6]) -> Components {
        let [sources, pipeline, store, gossip, archive, feed] = states.map(|(state, detail)| Component {
            state,
            detail: detail.map(str::to_owned),
            since: String::new(),
            figures: std::collections::BTreeMap::new(),
        });
        Components { sources, pipeline, store, gossip, archive, feed }
    }

    #[test]
    fn it_says_what_matters_most() {
        let (ok, off) = ((State::Ok, None), (State::Off, None));
        let slow = (State::Degraded, Some("the disk is slow."));
        let full = (State::Down, Some("the disk is full"));
        for (states, state, words) in [
            (
                [off, ok, ok, off, off, ok],
                State::Ok,
                "Everything that exists works: pipeline, store and feed.",
            ),
            ([off; 6], State::Off, "Nothing runs yet."),
            ([slow, ok, ok, off, off, ok], State::Degraded, "Sources are degraded: the disk is slow."),
            ([off, ok, slow, off, off, ok], State::Degraded, "Store is degraded: the disk is slow."),
            (
                [off, slow, full, off, off, ok],
                State::Down,
                "Store is down: the disk is full; pipeline is degraded: the disk is slow.",
            ),
            ([off, ok, full, off, off, full], State::Down, "Store and feed are down."),
        ] {
            assert_eq!(summary(&components(states)), (state, words.to_owned()));
        }
    }
}
