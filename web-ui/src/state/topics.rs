//! The topics that the node holds, and which of them are shown.

use anode_shared::status::TopicStatus;
use anode_shared::topic::TopicPattern;

/// How many topics are drawn until more are asked for.
pub const DRAWN: usize = 200;

/// The topics that a search lets through: one with wildcards as a pattern, any other as a part of the name.
pub fn matching(topics: &[TopicStatus], search: &str) -> Vec<TopicStatus> {
    let search = search.trim().to_ascii_lowercase();
    let pattern: Option<TopicPattern> = search.contains(['*', '>']).then(|| search.parse().ok()).flatten();
    let takes = |topic: &str| match &pattern {
        Some(pattern) => pattern.matches(topic),
        None => topic.contains(&search),
    };
    topics.iter().filter(|topic| takes(&topic.topic)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_searches_by_pattern_and_by_part() {
        let topic = |name: &str| TopicStatus {
            topic: name.to_owned(),
            count: 1,
            rate: 0.0,
            last_record: String::new(),
        };
        let topics = ["prices.btc", "prices.btc.usd", "trades.btc"].map(topic);
        for (search, expected) in [
            ("", &["prices.btc", "prices.btc.usd", "trades.btc"][..]),
            (" BTC ", &["prices.btc", "prices.btc.usd", "trades.btc"]),
            ("prices.*", &["prices.btc"]),
            ("prices.>", &["prices.btc", "prices.btc.usd"]),
            ("usd", &["prices.btc.usd"]),
            ("*x*", &[]),
        ] {
            let found: Vec<String> = matching(&topics, search).into_iter().map(|topic| topic.topic).collect();
            assert_eq!(found, expected, "{search}");
        }
    }
}
