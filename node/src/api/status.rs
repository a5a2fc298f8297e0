//! How the node is: its components' states and figures, put together.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anode_shared::status::{Component, Components, Level, NodeStatus, State as Health, Status};
use anode_shared::time::{Micros, to_rfc3339};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::query::Query;
use super::{App, NodeInfo, Phase, openapi};
use crate::store::StoreStatus;

/// Over which time rates are measured: short enough to be live, long enough not to flicker.
const WINDOW: Duration = Duration::from_secs(5);

/// What the stages say at one moment.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) phase: Phase,
    pub(super) uptime: Duration,
    pub(super) store: StoreStatus,
    pub(super) counts: Counts,
    pub(super) feed: Component,
    pub(super) sources: Component,
    /// What becomes of the sources' answers.
    pub(super) answers: BTreeMap<String, Value>,
    /// Which of them make nothing, since expressions fail.
    pub(super) spoiled: Option<String>,
    pub(super) gossip: Component,
    pub(super) archive: Component,
    /// Full multiaddrs to bootstrap from.
    pub(super) addresses: Vec<String>,
}

/// What rates are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) batches: u64,
    pub(super) bytes: u64,
    pub(super) fdatasyncs: u64,
    pub(super) deduplicated: u64,
    pub(super) refused: u64,
    pub(super) polls: u64,
    pub(super) delivered: u64,
    pub(super) delivered_bytes: u64,
}

/// A component that changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) component: &'static str,
    pub(super) kind: String,
    pub(super) level: Level,
    pub(super) detail: String,
}

/// Remembers what a status is compared with: recent counts, and since when each component is in its state.
#[derive(Debug, Default)]
pub(super) struct Observer {
    samples: VecDeque<(Instant, Counts)>,
    since: BTreeMap<&'static str, (Health, Micros)>,
}

impl Observer {
    /// Notes the counts of a moment; rates are made between the oldest and the newest within [`WINDOW`].
    pub(super) fn sample(&mut self, at: Instant, counts: Counts) {
        while self.samples.front().is_some_and(|(first, _)| at.duration_since(*first) > WINDOW) {
            self.samples.pop_front();
        }
        self.samples.push_back((at, counts));
    }

    fn rate(&self, count: impl Fn(&Counts) -> u64) -> Value {
        let (Some((from, first)), Some((to, last))) = (self.samples.front(), self.samples.back()) else {
            return json!(0.0);
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        let gained = u32::try_from(count(last).saturating_sub(count(first))).unwrap_or(u32::MAX);
        let rate = if seconds > 0.0 { f64::from(gained) / seconds } else { 0.0 };
        json!((rate * 10.0).round() / 10.0)
    }

    /// Puts a status together, and says which components changed their state since the last one.
    pub(super) fn status(
        &mut self,
        node: &NodeInfo,
        figures: &Figures,
        now: Micros,
    ) -> (Status, Vec<Change>) {
        let mut changes = Vec::new();
        let mut settle = |name, component| {
            let (component, change) = self.settle(name, component, now);
            changes.extend(change);
            component
        };
        let components = Components {
            sources: settle("sources", figures.sources.clone()),
            pipeline: settle("pipeline", pipeline(figures)),
            store: settle("store", store(&figures.store)),
            gossip: settle("gossip", figures.gossip.clone()),
            archive: settle("archive", figures.archive.clone()),
            feed: settle("feed", figures.feed.clone()),
        };
        let mut status = Status { node: described(node, figures), components };
        self.add_rates(&mut status.components, &figures.counts);
        (status, changes)
    }

    fn add_rates(&self, components: &mut Components, counts: &Counts) {
        components.pipeline.figures.extend(named([
            ("records", json!(counts.records)),
            ("records_per_s", self.rate(|counts| counts.records)),
            ("deduplicated", json!(counts.deduplicated)),
            ("refused", json!(counts.refused)),
            ("refused_per_s", self.rate(|counts| counts.refused)),
        ]));
        components.sources.figures.extend(named([("polls_per_s", self.rate(|counts| counts.polls))]));
        components.store.figures.extend(named([
            ("batches_per_s", self.rate(|counts| counts.batches)),
            ("written_bytes_per_s", self.rate(|counts| counts.bytes)),
            ("fdatasyncs_per_s", self.rate(|counts| counts.fdatasyncs)),
        ]));
        components.feed.figures.extend(named([
            ("records_per_s", self.rate(|counts| counts.delivered)),
            ("bytes_per_s", self.rate(|counts| counts.delivered_bytes)),
        ]));
    }

    /// Gives a component the time since which it is in its state.
    fn settle(
        &mut self,
        name: &'static str,
        mut component: Component,
        now: Micros,
    ) -> (Component, Option<Change>) {
        let before = self.since.get(name).copied();
        let since = match before {
            Some((state, since)) if state == component.state => since,
            _ => now,
        };
        self.since.insert(name, (component.state, since));
        component.since = to_rfc3339(since);
        let changed = before.is_some_and(|(state, _)| state != component.state);
        let change = changed.then(|| change(name, &component));
        (component, change)
    }
}

fn change(name: &'static str, component: &Component) -> Change {
    let (word, level) = match component.state {
        Health::Ok => ("ok", Level::Info),
        Health::Degraded => ("degraded", Level::Warn),
        Health::Down => ("down", Level::Error),
        Health::Off => ("off", Level::Info),
    };
    let detail = component.detail.as_deref().unwrap_or("it does all that it should");
    Change {
        component: name,
        kind: format!("{name}_{word}"),
        level,
        detail: format!("{name} is {word}: {detail}"),
    }
}

fn named<const N: usize>(figures: [(&str, Value); N]) -> BTreeMap<String, Value> {
    figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn component(state: Health, detail: Option<String>, figures: BTreeMap<String, Value>) -> Component {
    Component { state, detail, since: String::new(), figures }
}

fn pipeline(figures: &Figures) -> Component {
    let (state, detail) = match figures.phase {
        Phase::Starting => (Health::Degraded, Some("the node is starting".to_owned())),
        Phase::Ready if figures.spoiled.is_some() => (Health::Degraded, figures.spoiled.clone()),
        Phase::Ready => (Health::Ok, None),
        Phase::Draining => (Health::Degraded, Some("the node is stopping".to_owned())),
    };
    component(state, detail, figures.answers.clone())
}

fn store(store: &StoreStatus) -> Component {
    let (state, detail) = if let Some(failure) = &store.failed {
        (
            Health::Down,
            Some(format!("nothing can be acknowledged any more, since the disk failed: {failure}")),
        )
    } else if store.full {
        let words = "the disk has less room than its reserve, so publishes are refused; free some, or lower --reserve-disk or --retain-bytes";
        (Health::Degraded, Some(words.to_owned()))
    } else if store.damaged > 0 {
        (Health::Degraded, Some(format!("{} stored batches are damaged and were set aside", store.damaged)))
    } else {
        (Health::Ok, None)
    };
    let figures = named([
        ("bytes", json!(store.bytes)),
        ("segments", json!(store.segments)),
        ("logs", json!(store.logs)),
        ("topics", json!(store.topics)),
        ("arrivals", json!(store.next_arrival)),
        ("unsynced_bytes", json!(store.unsynced_bytes)),
        ("in_flight_bytes", json!(store.in_flight_bytes)),
        ("fdatasyncs", json!(store.fdatasyncs)),
        ("damaged", json!(store.damaged)),
        ("early", json!(store.early)),
    ]);
    component(state, detail, figures)
}

fn described(node: &NodeInfo, figures: &Figures) -> NodeStatus {
    NodeStatus {
        id: node.id.to_string(),
        name: node.name.clone(),
        network: node.network.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: figures.uptime.as_secs(),
        addresses: figures.addresses.clone(),
        retention: node.retention.clone(),
    }
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(status))
}

/// Says how the node and its components are.
#[utoipa::path(
    get, path = "/api/v1/status", operation_id = "get_status", tag = "node",
    responses((status = 200, description = "The status of this moment", body = Status), openapi::Read)
)]
async fn status(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<Status>, Problem> {
    app.caller(&headers)?;
    Query::parse(uri.query(), &[])?;
    Ok(Json(app.status()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::ids::Origin;
    use anode_shared::status::Retention;

    fn node() -> NodeInfo {
        NodeInfo {
            id: Origin([7; 32]),
            name: "n".to_owned(),
            network: "local".to_owned(),
            retention: Retention { age_s: 1, bytes: 2 },
        }
    }

    fn figures(store: StoreStatus) -> Figures {
        let feed = component(Health::Ok, None, BTreeMap::new());
        Figures {
            gossip: component(Health::Ok, None, BTreeMap::new()),
            archive: component(Health::Off, None, BTreeMap::new()),
            addresses: Vec::new(),
            phase: Phase::Ready,
            uptime: Duration::from_secs(3),
            store,
            counts: Counts::default(),
            sources: feed.clone(),
            answers: BTreeMap::new(),
            spoiled: None,
            feed,
        }
    }

    #[test]
    fn it_says_how_the_store_is() {
        for (status, state, words) in [
            (StoreStatus::default(), Health::Ok, ""),
            (StoreStatus { full: true, ..StoreStatus::default() }, Health::Degraded, "--reserve-disk"),
            (StoreStatus { damaged: 2, ..StoreStatus::default() }, Health::Degraded, "2 stored batches"),
            (
                StoreStatus { failed: Some("EIO".into()), full: true, ..StoreStatus::default() },
                Health::Down,
                "EIO",
            ),
        ] {
            let component = store(&status);
            assert_eq!(component.state, state);
            assert!(component.detail.unwrap_or_default().contains(words));
        }
    }

    #[test]
    fn it_says_which_expression_fails() {
        let spoiled = Some("an expression fails on all that comes: a: no such key: x".to_owned());
        let figures = Figures { spoiled: spoiled.clone(), ..figures(StoreStatus::default()) };
        let component = pipeline(&figures);
        assert_eq!((component.state, component.detail), (Health::Degraded, spoiled));
    }

    #[test]
    fn it_notices_changes_once_and_remembers_since_when() {
        let mut observer = Observer::default();
        let failed = StoreStatus { failed: Some("EIO".to_owned()), ..StoreStatus::default() };
        let (first, changes) = observer.status(&node(), &figures(StoreStatus::default()), 1);
        assert!(changes.is_empty() && first.components.store.since == to_rfc3339(1));
        let (same, _) = observer.status(&node(), &figures(StoreStatus::default()), 2);
        assert_eq!(same.components.store.since, to_rfc3339(1));
        let (down, changes) = observer.status(&node(), &figures(failed.clone()), 3);
        assert_eq!((down.components.store.since, down.components.feed.since), (to_rfc3339(3), to_rfc3339(1)));
        let words: Vec<_> = changes.iter().map(|change| (change.kind.as_str(), change.level)).collect();
        assert_eq!(words, [("store_down", Level::Error)]);
        assert!(observer.status(&node(), &figures(failed), 4).1.is_empty());
    }

    #[test]
    fn it_makes_rates_over_a_window() {
        let mut observer = Observer::default();
        let start = Instant::now();
        for second in 0..20 {
            let counts = Counts { records: second * second, delivered: second * 7, ..Counts::default() };
            observer.sample(start + Duration::from_secs(second), counts);
        }
        // (19² − 14²) / 5
        assert_eq!(observer.rate(|counts| counts.records), json!(33.0));
        let (status, _) = observer.status(&node(), &figures(StoreStatus::default()), 1);
        assert_eq!(status.components.feed.figures["records_per_s"], json!(7.0));
        assert_eq!(Observer::default().rate(|counts| counts.records), json!(0.0));
    }
}
