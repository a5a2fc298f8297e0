//! What happened on this node, newest first: a bounded ring.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anode_shared::status::{Event, Level};
use anode_shared::time::to_rfc3339;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::query::Query;
use super::{App, now, openapi};

/// How many events are kept: weeks of a quiet node, and under 1 MiB.
const KEPT: usize = 1_000;
/// The longest detail of an event, in bytes.
const DETAIL: usize = 500;

/// The events of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Events(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    events: Mutex<VecDeque<Event>>,
    newest: watch::Sender<u64>,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Ring { events: Mutex::default(), newest: watch::Sender::new(0) }))
    }
}

impl Events {
    /// Notes that something happened. `kind` is one word or two (`started`, `store_down`), `detail` the same in a sentence.
    pub fn push(&self, level: Level, component: &str, kind: &str, detail: &str) {
        let mut events = self.lock();
        let time = now();
        // Ids rise over restarts too, since they follow the clock where that goes on.
        let id = time.max(events.front().map_or(0, |event| event.id + 1));
        if events.len() == KEPT {
            events.pop_back();
        }
        events.push_front(Event {
            id,
            time: to_rfc3339(time),
            level,
            component: component.to_owned(),
            kind: kind.to_owned(),
            detail: shorten(detail),
        });
        drop(events);
        self.0.newest.send_replace(id);
    }

    /// The id of the newest event, as it changes; 0 where there is none.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// The events after one, newest first, at most `limit`.
    pub fn after(&self, id: u64, limit: usize) -> Vec<Event> {
        self.lock().iter().take_while(|event| event.id > id).take(limit).cloned().collect()
    }

    /// The events before one, newest first, and where the next page begins.
    fn before(&self, id: u64, limit: usize) -> (Vec<Event>, Option<u64>) {
        let events = self.lock();
        let mut older = events.iter().filter(|event| event.id < id);
        let page: Vec<Event> = older.by_ref().take(limit).cloned().collect();
        let next = older.next().and_then(|_| page.last()).map(|event| event.id);
        (page, next)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shorten(detail: &str) -> String {
    detail[..detail.floor_char_boundary(DETAIL)].to_owned()
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventPage {
    /// The events, newest first.
    events: Vec<Event>,
    /// Goes back as `page`; null where this is the last page.
    #[schema(required = true)]
    next: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Gives what happened since the node started, newest first.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "list_events", tag = "node",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 1,000 events; 100 without it"),
        ("page" = Option<String>, Query, description = "`next` of the last page"),
    ),
    responses((status = 200, description = "A page", body = EventPage), openapi::Read)
)]
async fn events(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<EventPage>, Problem> {
    app.caller(&headers)?;
    let query = Query::parse(uri.query(), &["limit", "page"])?;
    let limit = query.number("limit", 1, KEPT)?.unwrap_or(100);
    let page = query.number("page", 1, u64::MAX)?.unwrap_or(u64::MAX);
    let (events, next) = app.events.before(page, limit);
    Ok(Json(EventPage { events, next: next.map(|id| id.to_string()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_newest_and_pages_through_them() {
        let events = Events::default();
        let changed = events.newest();
        (0..KEPT + 5).for_each(|place| events.push(Level::Info, "store", "happened", &format!("{place}")));
        assert!(changed.has_changed().unwrap());
        let mut seen = Vec::new();
        let mut page = u64::MAX;
        loop {
            let (events, next) = events.before(page, 300);
            seen.extend(events);
            let Some(next) = next else { break };
            page = next;
        }
        assert_eq!(seen.len(), KEPT);
        assert_eq!((seen[0].detail.as_str(), seen[KEPT - 1].detail.as_str()), ("1004", "5"));
        assert!(seen.is_sorted_by(|one, next| one.id > next.id));
        assert_eq!(events.after(seen[3].id, 100), seen[..3]);
        assert_eq!(events.after(seen[3].id, 2), seen[..2]);
    }

    #[test]
    fn it_cuts_long_words() {
        assert_eq!(shorten(&"ä".repeat(400)).len(), DETAIL);
        assert_eq!(shorten("short"), "short");
    }
}
