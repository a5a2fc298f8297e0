//! How the page is connected to the node.

use super::number::whole;

/// The state of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Link {
    /// It is being opened.
    #[default]
    Connecting,
    /// It is open, and the node has answered.
    Live,
    /// It broke, and is opened again at this time (milliseconds since the Unix epoch).
    Waiting {
        /// When.
        retry_at: f64,
    },
    /// Closed because nobody looks at the page; opened again when somebody does.
    Asleep,
    /// The node refused what the page asked for; only another question opens it again.
    Refused,
}

/// What the header shows of both sockets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Connection {
    /// `live`, `connecting` or `offline`.
    pub state: &'static str,
    /// The same for people.
    pub word: &'static str,
    /// When the next try is due, where the page waits for one.
    pub retry_at: Option<f64>,
}

/// Puts the states of the watch and of the feed into one. A feed that is (re)opened while the watch is live is no
/// news: it happens with every change of topics.
pub fn connection(watch: Link, feed: Link) -> Connection {
    match (watch, feed) {
        (Link::Waiting { retry_at }, _) | (_, Link::Waiting { retry_at }) => {
            Connection { state: "offline", word: "Offline", retry_at: Some(retry_at) }
        }
        (Link::Refused, _) => Connection { state: "offline", word: "Refused", retry_at: None },
        (Link::Asleep, _) => Connection { state: "connecting", word: "Asleep", retry_at: None },
        (Link::Connecting, _) => Connection { state: "connecting", word: "Connecting", retry_at: None },
        (Link::Live, _) => Connection { state: "live", word: "Live", retry_at: None },
    }
}

/// The whole seconds until `retry_at`, as words; `now` is in milliseconds.
pub fn countdown(retry_at: f64, now: f64) -> String {
    let seconds = ((retry_at - now) / 1_000.0).ceil();
    if seconds < 1.0 { "trying again".to_owned() } else { format!("next try in {} s", whole(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_the_worse_of_both() {
        let waiting = Link::Waiting { retry_at: 5.0 };
        for (watch, feed, state) in [
            (Link::Live, Link::Live, "live"),
            (Link::Live, Link::Connecting, "live"),
            (Link::Live, Link::Refused, "live"),
            (Link::Live, waiting, "offline"),
            (waiting, Link::Live, "offline"),
            (Link::Connecting, Link::Live, "connecting"),
            (Link::Connecting, waiting, "offline"),
            (Link::Refused, Link::Refused, "offline"),
        ] {
            assert_eq!(connection(watch, feed).state, state, "{watch:?} {feed:?}");
        }
        assert_eq!(connection(waiting, Link::Live).retry_at, Some(5.0));
    }

    #[test]
    fn it_counts_down_in_whole_seconds() {
        assert_eq!(countdown(3_500.0, 0.0), "next try in 4 s");
        assert_eq!(countdown(1_000.0, 1_000.0), "trying again");
        assert_eq!(countdown(1_000.0, 9_000.0), "trying again");
    }
}
