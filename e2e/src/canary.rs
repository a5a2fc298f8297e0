//! A secret that must be nowhere, and the search for it in all the forms in which texts carry secrets.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rand::Rng as _;
use rand::rngs::StdRng;

/// How much of a secret is too much: a shorter piece is met by chance.
const PIECE: usize = 10;

/// A secret whose middle is found again wherever it comes out.
#[derive(Clone, Debug)]
pub struct Canary {
    core: String,
}

impl Canary {
    /// Makes one that nobody has seen before.
    #[must_use]
    pub fn new(random: &mut StdRng) -> Self {
        let letters = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
        let letter = |_| char::from(letters[random.random_range(0..letters.len())]);
        Self { core: (0..40).map(letter).collect() }
    }

    /// The secret, with characters that every encoding changes.
    #[must_use]
    pub fn value(&self) -> String {
        format!("k {}/+&=\"%é", self.core)
    }

    /// The secret as a word, for places that take no other characters.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.core
    }

    /// A piece of the secret that is in the bytes, with how it is written there.
    #[must_use]
    pub fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        self.pieces().into_iter().find(|piece| text.contains(&piece.to_lowercase()))
    }

    /// Every piece that would give it away, in every form.
    fn pieces(&self) -> Vec<String> {
        let windows: Vec<&str> = (0..=self.core.len() - PIECE).map(|at| &self.core[at..at + PIECE]).collect();
        let mut pieces: Vec<String> = Vec::new();
        for window in windows {
            pieces.push(window.to_owned());
            pieces.push(window.bytes().map(|byte| format!("%{byte:02x}")).collect());
            pieces.push(window.bytes().map(|byte| format!("{byte:02x}")).collect());
        }
        for shift in 0..3 {
            let shifted = [&vec![b' '; shift][..], self.core.as_bytes()].concat();
            for text in [STANDARD.encode(&shifted), URL_SAFE.encode(&shifted)] {
                // The first group holds what was before, the last one what comes behind.
                let inner = &text[4..text.len() - 4];
                pieces.extend((0..=inner.len() - 14).map(|at| inner[at..at + 14].to_owned()));
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn it_is_found_in_every_form() {
        let canary = Canary::new(&mut StdRng::seed_from_u64(1));
        let value = canary.value();
        let percent = crate::words::percent(&value);
        let all: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for text in [
            value.clone(),
            format!("x={percent}&y"),
            format!("x={all}&y"),
            serde_json::json!({ "a": value }).to_string(),
            STANDARD.encode(format!("user:{value}")),
            STANDARD.encode(format!("a user:{value}")),
            URL_SAFE.encode(format!("the user:{value}")),
            canary.word().to_lowercase(),
            canary.word()[..12].to_owned(),
            canary.word()[20..30].to_owned(),
        ] {
            assert!(canary.found_in(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["", "${secret:CANARY}", &canary.word()[..9]] {
            assert_eq!(canary.found_in(text.as_bytes()), None, "{text}");
        }
    }
}
