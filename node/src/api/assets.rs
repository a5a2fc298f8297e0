//! Serves the dashboard's files out of the binary, compressed ahead of time.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::get;

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The dashboard's pages: each is the same file as `/`, which reads its own address.
const PAGES: [&str; 6] = ["/sources", "/sources/new", "/sources/{name}/edit", "/topics", "/records", "/mesh"];

/// One file in its forms; the build script lists all of them in `DASHBOARD`.
#[derive(Debug)]
struct Asset {
    route: &'static str,
    content_type: &'static str,
    /// Of the plain content.
    hash: &'static str,
    /// The route holds the hash, so what is there never changes.
    is_immutable: bool,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// Routes `/` and every file that the page names. The security headers come from the API's own layers.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let routes = DASHBOARD.iter().flat_map(|asset| {
        let pages: &[&str] = if asset.route == "/" { &PAGES } else { &[] };
        pages.iter().chain([&asset.route]).map(move |route| (*route, asset))
    });
    routes.fold(Router::new(), |router, (route, asset)| {
        router.route(route, get(move |headers: HeaderMap| async move { answer(asset, &headers) }))
    })
}

fn answer(asset: &'static Asset, headers: &HeaderMap) -> Response<Body> {
    let (encoding, content) = asset.form(headers);
    let tag = format!("\"{}{}\"", asset.hash, encoding.map(|name| format!("-{name}")).unwrap_or_default());
    let known = is_known(headers, &tag);
    let mut response = Response::new(if known { Body::empty() } else { Bytes::from_static(content).into() });
    *response.status_mut() = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let out = response.headers_mut();
    let cache = if asset.is_immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    out.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    out.extend(HeaderValue::try_from(tag).map(|tag| (ETAG, tag)));
    if !known {
        out.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
        out.extend(encoding.map(|name| (CONTENT_ENCODING, HeaderValue::from_static(name))));
    }
    response
}

impl Asset {
    /// Picks the form that the client likes best; of equals, the smallest.
    fn form(&self, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
        let wishes = Wishes::of(headers);
        let plain = (wishes.quality("identity"), None, self.plain);
        let compressed = [("gzip", self.gzip), ("br", self.brotli)];
        let forms = compressed
            .into_iter()
            .filter_map(|(name, content)| Some((wishes.quality(name), Some(name), content?)))
            .filter(|(quality, ..)| *quality > 0);
        // Who wants nothing that is here gets the plain form, as RFC 9110 (12.5.3) allows.
        let best = forms.fold(plain, |best, form| if form.0 >= best.0 { form } else { best });
        (best.1, best.2)
    }
}

/// What a client says of encodings: names, and how much each is liked, from 0 to 1000.
struct Wishes(Vec<(String, u16)>);

impl Wishes {
    fn of(headers: &HeaderMap) -> Self {
        let values = list(headers, &ACCEPT_ENCODING);
        let wish = |value: &str| {
            let (name, parameters) = value.split_once(';').unwrap_or((value, ""));
            let quality = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
            (name.trim().to_ascii_lowercase(), quality.map_or(1000, thousandths))
        };
        Self(values.map(wish).collect())
    }

    /// How much an encoding is liked; one that is not named is refused, but for plain content.
    fn quality(&self, encoding: &str) -> u16 {
        let named = |name: &str| self.0.iter().find(|(other, _)| other == name).map(|(_, quality)| *quality);
        // Plain content that is not named is only the last resort.
        named(encoding).or_else(|| named("*")).unwrap_or(u16::from(encoding == "identity"))
    }
}

/// Reads `0.8` as 800; what is no such number counts as 0.
fn thousandths(text: &str) -> u16 {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits =
        part.bytes().chain(*b"000").take(3).map(|byte| byte.checked_sub(b'0').filter(|digit| *digit < 10));
    let part = digits.map(|digit| digit.map(u16::from)).try_fold(0, |sum, digit| Some(sum * 10 + digit?));
    match (whole, part) {
        ("1", _) => 1000,
        ("0" | "", Some(part)) => part,
        _ => 0,
    }
}

/// Whether the client has this very form, by `If-None-Match`.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    list(headers, &IF_NONE_MATCH)
        .any(|other| other == "*" || other.strip_prefix("W/").unwrap_or(other) == tag)
}

/// The comma-separated values of all headers of a name.
fn list<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'headers str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
