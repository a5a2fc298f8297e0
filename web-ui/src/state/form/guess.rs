//! What a URL lets one guess of a source: its kind, and a name and a topic to begin with.

use anode_shared::source::SourceKind;

/// Words in a path that speak of a stream of events.
const STREAMS: [&str; 4] = ["sse", "stream", "streams", "events"];
/// Words that say nothing of what a feed is about.
const NOISE: [&str; 13] = [
    "api", "www", "ws", "wss", "sse", "stream", "streams", "events", "feed", "public", "rest", "json", "com",
];

/// The host and the parts of the path.
fn taken_apart(url: &str) -> Option<(String, Vec<String>)> {
    let (_, rest) = url.trim().split_once("://")?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = if host.starts_with('[') { "" } else { host.split(':').next().unwrap_or_default() };
    let parts = path.split('/').filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
    Some((host.to_ascii_lowercase(), parts))
}

/// The kind.
pub fn kind(url: &str) -> SourceKind {
    let scheme = url.trim().split("://").next().unwrap_or_default().to_ascii_lowercase();
    if scheme == "ws" || scheme == "wss" {
        return SourceKind::Websocket;
    }
    let parts = taken_apart(url).map(|(_, parts)| parts).unwrap_or_default();
    let is_stream = parts.iter().any(|part| STREAMS.contains(&part.as_str()));
    if is_stream { SourceKind::Sse } else { SourceKind::Rest }
}

/// The words that tell this feed from others: who gives it, and what it is about.
fn words(url: &str) -> Vec<String> {
    let Some((host, parts)) = taken_apart(url) else { return Vec::new() };
    let labels: Vec<&str> = host.split('.').filter(|label| !label.is_empty()).collect();
    let is_number = labels.iter().all(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    let giver = match labels[..] {
        [] => "local",
        _ if is_number => "local",
        [one] => one,
        [.., name, _] => name,
    };
    let is_telling = |part: &&String| {
        let is_version =
            part.len() <= 3 && part.starts_with('v') && part[1..].bytes().all(|b| b.is_ascii_digit());
        !is_version && part.len() > 1 && !NOISE.contains(&part.as_str()) && !part.contains('$')
    };
    // The longest part is the one that names something: `BTC-USD` rather than `spot`.
    let about = parts.iter().filter(is_telling).max_by_key(|part| (part.contains('-'), part.len()));
    std::iter::once(giver.to_owned()).chain(about.cloned()).map(|word| clean(&word)).collect()
}

/// Only what a name may hold.
fn clean(word: &str) -> String {
    let word = word.split_once('.').map_or(word, |(stem, _)| stem);
    let kept: String = word
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '-' })
        .collect();
    kept.trim_matches('-').chars().take(40).collect()
}

/// A name.
pub fn name(url: &str) -> String {
    let mut name = words(url).join("-");
    name.truncate(64);
    name
}

/// A topic.
pub fn topic(url: &str) -> String {
    words(url).join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_guesses_from_the_url() {
        for (url, kind, name, topic) in [
            (
                "https://api.coinbase.com/v2/prices/BTC-USD/spot",
                SourceKind::Rest,
                "coinbase-btc-usd",
                "coinbase.btc-usd",
            ),
            ("wss://ws.kraken.com/v2", SourceKind::Websocket, "kraken", "kraken"),
            (
                "https://stream.wikimedia.org/v2/stream/recentchange",
                SourceKind::Sse,
                "wikimedia-recentchange",
                "wikimedia.recentchange",
            ),
            ("http://127.0.0.1:9000/rest/7.json?x=a/b", SourceKind::Rest, "local-7", "local.7"),
            ("http://user:pw@localhost:1/", SourceKind::Rest, "localhost", "localhost"),
            ("http://[::1]:80/ticker", SourceKind::Rest, "local-ticker", "local.ticker"),
            ("https://a.example/${secret:KEY}/x", SourceKind::Rest, "a", "a"),
            ("ht", SourceKind::Rest, "", ""),
            ("", SourceKind::Rest, "", ""),
        ] {
            assert_eq!(
                (super::kind(url), super::name(url), super::topic(url)),
                (kind, name.to_owned(), topic.to_owned()),
                "{url}"
            );
        }
    }
}
