//! The fenced blocks of a Markdown page that are marked as tests.

/// A block with the words after its opening fence, such as `sh test`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// `sh` or `js`.
    pub language: String,
    /// Further words after `test`: `stream` for one that goes on until it is ended.
    pub words: Vec<String>,
    /// The line of the opening fence, from 1.
    pub line: usize,
    /// The block's text.
    pub text: String,
}

/// Finds the blocks whose fence says `<language> test`.
#[must_use]
pub fn find(page: &str) -> Vec<Snippet> {
    let mut found = Vec::new();
    let mut open: Option<Snippet> = None;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, open.as_mut()) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(words), None) => {
                let mut words = words.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                open =
                    Some(Snippet { language, words: words.collect(), line: index + 1, text: String::new() });
            }
            (None, Some(snippet)) => {
                snippet.text.push_str(line);
                snippet.text.push('\n');
            }
            (None, None) => {}
        }
    }
    found.retain(|snippet| snippet.words.first().is_some_and(|word| word == "test"));
    for snippet in &mut found {
        snippet.words.remove(0);
    }
    found
}

impl Snippet {
    /// Whether the block goes on until it is ended.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.words.iter().any(|word| word == "stream")
    }

    /// The text with the documented address replaced by a real one.
    #[must_use]
    pub fn at(&self, address: &str) -> String {
        self.text.replace("127.0.0.1:8080", address).replace("localhost:8080", address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_only_marked_blocks() {
        let page = "# A\n```sh\ncargo xtask run\n```\n```sh test\ncurl http://127.0.0.1:8080/livez\n```\n\n```js test stream\nnew WebSocket('ws://localhost:8080/feed')\n```\ntext test\n```\nnone\n```\n";
        let found = find(page);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].language.as_str(), found[0].line, found[0].streams()), ("sh", 5, false));
        assert_eq!(found[0].at("127.0.0.1:9"), "curl http://127.0.0.1:9/livez\n");
        assert_eq!((found[1].language.as_str(), found[1].streams()), ("js", true));
        assert!(found[1].at("127.0.0.1:9").contains("ws://127.0.0.1:9/feed"));
    }
}
