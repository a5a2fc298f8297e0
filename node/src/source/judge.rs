//! Whether a definition can be registered: its text, its expressions, and its address where the URL shows it.

use anode_shared::source::{FieldError, SourceDefinition, secret};
use url::Url;

use super::guard::Guard;
use crate::pipeline::Pipeline;

/// What stands for a secret while a URL is judged.
const STAND_IN: &str = "x";

/// Everything that is wrong with a definition.
pub(super) fn judge(definition: &SourceDefinition, guard: &Guard) -> Vec<FieldError> {
    let mut errors = definition.check();
    if errors.is_empty() {
        errors.extend(Pipeline::compile(definition).err().unwrap_or_default());
        errors.extend(address(&definition.url, guard));
    }
    errors
}

/// What is wrong with the address, as far as the URL shows it.
fn address(url: &str, guard: &Guard) -> Option<FieldError> {
    let error = |detail: String| Some(FieldError { field: "url".to_owned(), detail });
    let authority = url.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or("");
    let host_is_secret = authority.rsplit('@').next().unwrap_or("").contains(secret::OPENING);
    let shown = secret::replace(url, |_| Ok::<_, std::convert::Infallible>(STAND_IN.to_owned()));
    let Ok(shown) = shown;
    match Url::parse(&shown) {
        // Which address a secret names is decided when it is dialled.
        Ok(_) | Err(_) if host_is_secret => None,
        Ok(url) => guard.check_url(&url).err().and_then(|refusal| error(refusal.to_string())),
        Err(wrong) => error(format!("the URL cannot be read: {wrong}")),
    }
}
