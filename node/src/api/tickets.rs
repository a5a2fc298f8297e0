//! Tickets: what a browser's WebSocket shows instead of a token, which it cannot send. Good once, for 60 s.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anode_shared::time::to_rfc3339;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::query::Query;
use super::{App, openapi};

/// How long a ticket is good: long enough for a page to open a socket, too short to be found in a log.
const LIFE: Duration = Duration::from_secs(60);
/// The most tickets that wait for use; the oldest goes first.
const MOST: usize = 1_000;
/// Bytes of a ticket: beyond guessing.
const BYTES: usize = 24;

/// The tickets that wait for use, oldest first. Only hashes are kept, so that comparing them tells nothing by its time.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<VecDeque<([u8; 32], Instant)>>);

impl Tickets {
    /// Makes a ticket.
    fn issue(&self, now: Instant) -> String {
        let ticket = URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; BYTES]>());
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop_expired(&mut waiting, now);
        if waiting.len() == MOST {
            waiting.pop_front();
        }
        waiting.push_back((Sha256::digest(ticket.as_bytes()).into(), now));
        ticket
    }

    /// Takes a ticket, once.
    pub(crate) fn redeem(&self, ticket: &str, now: Instant) -> bool {
        let hash: [u8; 32] = Sha256::digest(ticket.as_bytes()).into();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop_expired(&mut waiting, now);
        let place = waiting.iter().position(|(other, _)| *other == hash);
        place.and_then(|place| waiting.remove(place)).is_some()
    }
}

fn drop_expired(waiting: &mut VecDeque<([u8; 32], Instant)>, now: Instant) {
    while waiting.front().is_some_and(|(_, since)| now.duration_since(*since) >= LIFE) {
        waiting.pop_front();
    }
}

/// A ticket for one WebSocket.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ticket {
    /// Goes into the query: `ticket=…`.
    ticket: String,
    /// Until when it can be used, RFC 3339.
    expires: String,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(issue))
}

/// Makes a ticket: good once, for 60 s, for a WebSocket of a page that holds the token.
#[utoipa::path(
    post, path = "/api/v1/tickets", operation_id = "create_ticket", tag = "access", security(("token" = [])),
    responses((status = 201, description = "The ticket", body = Ticket), openapi::Read, openapi::Token)
)]
async fn issue(
    State(app): State<App>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<(StatusCode, Json<Ticket>), Problem> {
    Query::parse(uri.query(), &[])?;
    app.caller(&headers)?.admin()?;
    let ticket = app.tickets.issue(Instant::now());
    let life = u64::try_from(LIFE.as_micros()).unwrap_or(0);
    Ok((StatusCode::CREATED, Json(Ticket { ticket, expires: to_rfc3339(app.now() + life) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_ticket_once_and_in_time() {
        let tickets = Tickets::default();
        let now = Instant::now();
        let (one, late) = (tickets.issue(now), tickets.issue(now));
        assert!(tickets.redeem(&one, now) && !tickets.redeem(&one, now) && !tickets.redeem("", now));
        assert!(!tickets.redeem(&late, now + LIFE));
        let first = tickets.issue(now);
        (0..MOST).for_each(|_| drop(tickets.issue(now)));
        assert!(!tickets.redeem(&first, now), "the oldest made room");
        assert_eq!(tickets.0.lock().unwrap().len(), MOST);
    }
}
