//! Who asks, and what they may: the admin token, tickets, and publishing that is open to all. Never a cookie.

use std::net::IpAddr;
use std::time::Instant;

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

use super::problem::{Code, Problem};
use super::tickets::Tickets;

/// The name under which the admin token publishes.
const ADMIN: &str = "admin";

/// Who may do what on this node.
#[derive(Clone)]
pub struct Access {
    token: [u8; 32],
    open_publish: bool,
    origins: Vec<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("open_publish", &self.open_publish)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// What the configuration says: the admin token, whether anyone may publish, and pages that may do so beside the node's own.
    pub fn new(admin_token: &str, open_publish: bool, allow_origins: Vec<String>) -> Self {
        Self { token: digest(admin_token), open_publish, origins: allow_origins }
    }

    /// Who a request comes from.
    ///
    /// # Errors
    /// When it carries a token or ticket that is none of this node's.
    pub(crate) fn caller(
        &self,
        headers: &HeaderMap,
        ticket: Option<&str>,
        tickets: &Tickets,
    ) -> Result<Caller, Problem> {
        if let Some(token) = bearer(headers) {
            return if self.is_admin(token) { Ok(Caller::Admin) } else { Err(unknown_token()) };
        }
        if let Some(ticket) = ticket {
            return tickets
                .redeem(ticket, Instant::now())
                .then_some(Caller::Admin)
                .ok_or_else(unknown_ticket);
        }
        if !self.open_publish {
            return Ok(Caller::Reader);
        }
        let origins = headers.get_all(header::ORIGIN);
        let welcome = origins.iter().all(|origin| {
            origin.to_str().is_ok_and(|origin| {
                self.origins.iter().any(|other| other == origin) || is_own(origin, headers)
            })
        });
        Ok(if welcome { Caller::Anyone } else { Caller::Stranger })
    }

    fn is_admin(&self, token: &str) -> bool {
        // Every byte is looked at, wherever they differ: the time tells nothing.
        let given = digest(token);
        self.token.iter().zip(given).fold(0, |differs, (ours, theirs)| differs | (ours ^ theirs)) == 0
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The token of a request. Other schemes belong to proxies before the node, and say nothing to it.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?;
    // What is no text is no token either, and refused as one that is unknown.
    let value = value.to_str().unwrap_or("bearer ");
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the origin is the page that this node served. Names prove nothing: a page can point its own name at this
/// machine (DNS rebinding). So only addresses and `localhost` count, other names by `--allow-origin`.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let (Some(authority), Some(host)) = (authority, host) else { return false };
    authority.eq_ignore_ascii_case(host) && is_address(host)
}

fn is_address(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn unknown_token() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "the token is none of this node; `anode link` prints its admin token, admin.token in the data directory holds it",
    )
}

fn unknown_ticket() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "the ticket is unknown, used or older than 60 s; get one from POST /api/v1/tickets for each socket",
    )
}

/// Who a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Holds the admin token.
    Admin,
    /// Anyone, where publishing is open.
    Anyone,
    /// Another page's script, where publishing is open.
    Stranger,
    /// Anyone, where publishing needs a token.
    Reader,
}

impl Caller {
    /// Whether it may see and change everything.
    pub(crate) fn is_admin(self) -> bool {
        self == Self::Admin
    }

    /// The name that its records carry, where it may publish.
    ///
    /// # Errors
    /// When it may not.
    pub(crate) fn publisher(self) -> Result<Option<&'static str>, Problem> {
        match self {
            Self::Admin => Ok(Some(ADMIN)),
            Self::Anyone => Ok(None),
            Self::Stranger => Err(Problem::new(
                Code::Forbidden,
                "a page of this origin may not publish without a token; start the node with --allow-origin and that origin, or send a token",
            )),
            Self::Reader => Err(Problem::new(
                Code::Unauthorized,
                "publishing needs Authorization: Bearer <token> (or --open-publish when the node starts); `anode link` prints the admin token",
            )),
        }
    }

    /// Lets only the admin pass.
    ///
    /// # Errors
    /// When it is somebody else.
    pub(crate) fn admin(self) -> Result<(), Problem> {
        if self.is_admin() {
            return Ok(());
        }
        Err(Problem::new(
            Code::Unauthorized,
            "this needs Authorization: Bearer <admin token>; `anode link` prints it",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "the-token-of-this-node";

    fn caller(open: bool, headers: &[(&'static str, &str)], ticket: Option<&str>) -> Result<Caller, Code> {
        let access = Access::new(TOKEN, open, vec!["https://friend.example".to_owned()]);
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        access.caller(&headers, ticket, &Tickets::default()).map_err(|problem| problem.body().code)
    }

    #[test]
    fn it_knows_tokens() {
        let good = format!("Bearer {TOKEN}");
        for (value, expected) in [
            (good.as_str(), Ok(Caller::Admin)),
            ("bearer  the-token-of-this-node ", Ok(Caller::Admin)),
            ("Bearer wrong", Err(Code::Unauthorized)),
            ("Bearer", Err(Code::Unauthorized)),
            ("Bearer ", Err(Code::Unauthorized)),
            ("Bearer the-token-of-this-nod", Err(Code::Unauthorized)),
            ("Basic YTpi", Ok(Caller::Reader)),
        ] {
            assert_eq!(caller(false, &[("authorization", value)], None), expected, "{value}");
        }
        assert_eq!(caller(false, &[("cookie", "token=the-token-of-this-node")], None), Ok(Caller::Reader));
        assert_eq!(caller(true, &[], Some("made up")), Err(Code::Unauthorized));
    }

    #[test]
    fn it_lets_pages_publish_that_are_its_own_or_named() {
        for (origin, host, expected) in [
            (None, "127.0.0.1:8080", Caller::Anyone),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", Caller::Anyone),
            (Some("http://localhost:8080"), "localhost:8080", Caller::Anyone),
            (Some("http://[::1]:8080"), "[::1]:8080", Caller::Anyone),
            (Some("https://friend.example"), "127.0.0.1:8080", Caller::Anyone),
            (Some("https://friend.example.evil.example"), "127.0.0.1:8080", Caller::Stranger),
            (Some("http://friend.example"), "127.0.0.1:8080", Caller::Stranger),
            (Some("http://127.0.0.1:9090"), "127.0.0.1:8080", Caller::Stranger),
            (Some("http://rebound.example:8080"), "rebound.example:8080", Caller::Stranger),
            (Some("null"), "127.0.0.1:8080", Caller::Stranger),
            (Some(""), "", Caller::Stranger),
        ] {
            let mut headers = vec![("host", host)];
            headers.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(caller(true, &headers, None), Ok(expected), "{origin:?} on {host}");
            assert_eq!(caller(false, &headers, None), Ok(Caller::Reader), "{origin:?} on {host}");
        }
    }

    #[test]
    fn it_says_who_may_publish() {
        for (caller, expected) in [
            (Caller::Admin, Ok(Some("admin"))),
            (Caller::Anyone, Ok(None)),
            (Caller::Stranger, Err(Code::Forbidden)),
            (Caller::Reader, Err(Code::Unauthorized)),
        ] {
            assert_eq!(caller.publisher().map_err(|problem| problem.body().code), expected, "{caller:?}");
            assert_eq!(caller.admin().is_ok(), caller == Caller::Admin);
        }
    }
}
