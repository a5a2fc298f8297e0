//! Redirects: where a request goes next, and what it may take along. Pure.

use anode_shared::source::Stage;
use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
    HOST, HeaderMap, HeaderName, PROXY_AUTHORIZATION,
};
use hyper::{Method, StatusCode};
use url::Url;

use crate::source::failure::Failure;
use crate::source::limits::REDIRECTS;

/// What a header's name holds that is a credential, also where nobody said so.
const CREDENTIALS: [&str; 8] =
    ["auth", "cookie", "key", "password", "secret", "session", "signature", "token"];

/// One request on the way, and where it has been.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body holds a secret.
    pub(super) secret_body: bool,
    /// The URLs that redirected to here.
    pub(super) passed: Vec<Url>,
}

/// Whether a status sends a request elsewhere.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Hop {
    /// The request that an answer with `status` and `location` asks for.
    ///
    /// # Errors
    /// When it leads nowhere, in a circle, too far, or where a secret must not go.
    pub(super) fn follow(mut self, status: StatusCode, location: &str) -> Result<Self, Failure> {
        let next = self.target(location)?;
        self.check(&next)?;
        let elsewhere = next.origin() != self.url.origin();
        if loses_body(status, &self.method) {
            self.method = Method::GET;
            self.body = Bytes::new();
            self.secret_body = false;
            for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_LANGUAGE] {
                self.headers.remove(name);
            }
        }
        if elsewhere && self.secret_body {
            return Err(wrong(&format!(
                "{} redirects to {}, another origin, and the request's body holds a secret; register that URL if you trust it",
                host(&self.url),
                host(&next)
            )));
        }
        if elsewhere {
            self.headers = self
                .headers
                .iter()
                .filter(|(name, value)| !value.is_sensitive() && !stays(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
        }
        let last = std::mem::replace(&mut self.url, next);
        self.passed.push(last);
        Ok(self)
    }

    /// Where `location` leads, without the user, password and fragment that it may hold.
    fn target(&self, location: &str) -> Result<Url, Failure> {
        let nowhere = |_| wrong(&format!("{} redirects to what is no URL", host(&self.url)));
        let mut next = self.url.join(location).map_err(nowhere)?;
        next.set_fragment(None);
        if matches!(next.scheme(), "http" | "https") {
            let _ = next.set_username("");
            let _ = next.set_password(None);
        }
        Ok(next)
    }

    fn check(&self, next: &Url) -> Result<(), Failure> {
        let from = host(&self.url);
        if !matches!(next.scheme(), "http" | "https") {
            return Err(wrong(&format!(
                "{from} redirects to `{}:`, which is neither http nor https",
                next.scheme()
            )));
        }
        if self.url.scheme() == "https" && next.scheme() == "http" {
            return Err(wrong(&format!(
                "{from} redirects from https to http ({}), where everyone on the way could read and change the answer",
                host(next)
            )));
        }
        let again = *next == self.url || self.passed.contains(next);
        // The same URL asked again in another way (303 after a POST) is no circle.
        if again && self.method != Method::POST {
            return Err(wrong(&format!("{from} redirects in a circle")));
        }
        if self.passed.len() >= REDIRECTS {
            return Err(wrong(&format!(
                "more than {REDIRECTS} redirects, the last one from {from} to {}",
                host(next)
            )));
        }
        Ok(())
    }
}

/// Whether a redirect makes a `GET` of a request (RFC 9110, 15.4, as clients do it).
fn loses_body(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => *method != Method::HEAD,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

/// Whether a header belongs to the origin that it was meant for.
fn stays(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST].contains(name)
        || (*name != ACCEPT_ENCODING && CREDENTIALS.iter().any(|word| name.as_str().contains(word)))
}

fn wrong(detail: &str) -> Failure {
    Failure::new(Stage::Request, detail)
}

/// A URL's host, and its port where it is not the usual one.
pub(in crate::source) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests;
