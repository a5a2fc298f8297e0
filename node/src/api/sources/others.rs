//! The sources of other nodes: asked of them when somebody looks, never kept.

use std::collections::BTreeMap;

use anode_shared::ids::Origin;
use anode_shared::mesh::{PeerState, PeerStatus};
use anode_shared::repair::SourcesAsk;
use anode_shared::source::{SourceList, SourceNode, SourceView, Unreachable};
use futures_util::future::join_all;

use super::own;
use crate::api::App;
use crate::api::problem::{Code, Problem};
use crate::api::query::shorten;
use crate::gossip::{ListSources, Untold};
use crate::source::{MOST, Sources};

/// How many may look at once: each look may hold 1 MiB of each node.
pub(in crate::api) const LOOKERS: usize = 8;

/// Whose sources are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those of all nodes.
    All,
    /// Those of one.
    Node(Origin),
}

impl Whose {
    /// Reads the parameter.
    pub(super) fn read(node: &str) -> Result<Self, Problem> {
        if node == "all" {
            return Ok(Self::All);
        }
        node.parse().map(Self::Node).map_err(|_| unknown(node))
    }
}

fn unknown(node: &str) -> Problem {
    let detail =
        format!("this node knows no node {}; GET /api/v1/peers names those that it knows", shorten(node));
    Problem::new(Code::NotFound, detail)
}

/// What tells peers of this node's sources, as readers without the admin right see them.
pub fn list_sources(sources: Sources) -> ListSources {
    Box::new(move |ask, room| {
        let (views, more) = match &ask.name {
            Some(name) => (sources.get(name, true).into_iter().collect(), false),
            None => {
                sources.list(true, ask.after.as_deref(), MOST.min(usize::try_from(ask.most).unwrap_or(MOST)))
            }
        };
        written(views, more, room)
    })
}

/// A list as JSON, cut where it would exceed the room, but never before its first source.
fn written(views: Vec<SourceView>, more: bool, room: usize) -> Vec<u8> {
    let (mut bytes, count) = (0, views.len());
    let fits = |view: &SourceView| {
        let before = bytes > 0;
        bytes += serde_json::to_vec(view).map_or(0, |json| json.len() + 1);
        !before || bytes <= room
    };
    let sources: Vec<SourceView> = views.into_iter().take_while(fits).collect();
    let more = more || sources.len() < count;
    let next = sources.last().filter(|_| more).map(|last| last.definition.name.clone());
    serde_json::to_vec(&SourceList { sources, next, unreachable: Vec::new() }).unwrap_or_default()
}

/// Who is asked: this node and those that are there, by id.
struct Asked {
    node: SourceNode,
    origin: Origin,
}

impl Asked {
    fn own(app: &App) -> Self {
        Self {
            node: SourceNode { id: app.node.id.to_string(), name: app.node.name.clone() },
            origin: app.node.id,
        }
    }

    fn peer(peer: &PeerStatus) -> Option<Self> {
        let node = SourceNode { id: peer.id.clone(), name: peer.name.clone() };
        Some(Self { origin: peer.id.parse().ok()?, node })
    }

    /// Asks it; this node itself is asked without a detour.
    async fn list(&self, app: &App, masked: bool, ask: SourcesAsk) -> Result<SourceList, Untold> {
        let own_one = |name: &str| SourceList {
            sources: app.sources.get(name, masked).into_iter().collect(),
            next: None,
            unreachable: Vec::new(),
        };
        let after = ask.after.clone();
        let mut list = if self.origin != app.node.id {
            let json = app.gossip.sources_of(self.origin, ask).await?;
            serde_json::from_slice(&json).map_err(|_| Untold::NoList)?
        } else if let Some(name) = &ask.name {
            own_one(name)
        } else {
            own(app, masked, ask.after.as_deref(), usize::try_from(ask.most).unwrap_or(MOST))
        };
        go_on(&mut list, after.as_deref());
        for source in &mut list.sources {
            source.node = Some(self.node.clone());
        }
        Ok(list)
    }

    fn unreachable(&self, why: Untold) -> Unreachable {
        Unreachable { id: self.node.id.clone(), name: self.node.name.clone(), detail: why.to_string() }
    }
}

/// Leaves of a page what lies behind a name: whatever a node answers, each of its pages leads on, or is its last.
fn go_on(list: &mut SourceList, after: Option<&str>) {
    list.sources.retain(|source| after.is_none_or(|after| source.definition.name.as_str() > after));
    if list.sources.is_empty() {
        list.next = None;
    }
}

/// The nodes that are meant, by id.
fn asked(app: &App, whose: Whose) -> Result<Vec<Asked>, Problem> {
    let view = app.gossip.view();
    match whose {
        Whose::Node(origin) if origin == app.node.id => Ok(vec![Asked::own(app)]),
        Whose::Node(origin) => {
            let id = origin.to_string();
            let peer = view.peers.iter().find(|peer| peer.id == id).and_then(Asked::peer);
            peer.map(|peer| vec![peer]).ok_or_else(|| unknown(&id))
        }
        Whose::All => {
            let there = view.peers.iter().filter(|peer| peer.state <= PeerState::Suspect);
            let all = there.filter_map(Asked::peer).chain([Asked::own(app)]);
            Ok(all
                .map(|node| (node.node.id.clone(), node))
                .collect::<BTreeMap<_, _>>()
                .into_values()
                .collect())
        }
    }
}

/// A page of the sources of one node, or of all.
pub(super) async fn list(
    app: &App,
    whose: Whose,
    masked: bool,
    page: Option<&str>,
    limit: usize,
) -> Result<SourceList, Problem> {
    let Ok(_place) = app.lookers.try_acquire() else { return Err(busy()) };
    let mut nodes = asked(app, whose)?;
    // A page of one node begins behind a name; one of all behind a name of a node, which may be gone meanwhile.
    let (from, after) = match (whose, page) {
        (Whose::All, Some(page)) => page.split_once('/').map_or((page, None), |(id, name)| (id, Some(name))),
        (_, page) => ("", page),
    };
    nodes.retain(|node| node.node.id.as_str() >= from);
    let most = u32::try_from(limit).unwrap_or(u32::MAX);
    let answers = nodes.iter().map(|node| {
        let begins = matches!(whose, Whose::Node(_)) || node.node.id == from;
        let after = after.filter(|_| begins).map(str::to_owned);
        node.list(app, masked, SourcesAsk { after, most, name: None })
    });
    let answers = join_all(answers).await;
    Ok(put_together(whose, nodes.into_iter().zip(answers), limit))
}

/// One list of several, up to a limit, or up to where a node had more.
fn put_together(
    whose: Whose,
    answers: impl Iterator<Item = (Asked, Result<SourceList, Untold>)>,
    limit: usize,
) -> SourceList {
    let mut list = SourceList { sources: Vec::new(), next: None, unreachable: Vec::new() };
    for (node, answer) in answers {
        match answer {
            Err(why) => list.unreachable.push(node.unreachable(why)),
            Ok(_) if list.next.is_some() => {}
            Ok(mut told) => {
                let room = limit - list.sources.len();
                let more = told.next.is_some() || told.sources.len() > room;
                told.sources.truncate(room);
                let last = told.sources.last().map_or("", |last| &last.definition.name);
                if more {
                    list.next = Some(match whose {
                        Whose::All if last.is_empty() => node.node.id,
                        Whose::All => format!("{}/{last}", node.node.id),
                        Whose::Node(_) => last.to_owned(),
                    });
                }
                list.sources.append(&mut told.sources);
            }
        }
    }
    list
}

/// One source of one node.
pub(super) async fn show(app: &App, whose: Whose, masked: bool, name: &str) -> Result<SourceView, Problem> {
    let Whose::Node(_) = whose else {
        return Err(Problem::bad_request("node=all names no one node; give a peer id".to_owned()));
    };
    let Ok(_place) = app.lookers.try_acquire() else { return Err(busy()) };
    let missing = || Problem::new(Code::NotFound, format!("that node has no source {}", shorten(name)));
    // Nobody's source has a longer name, nor could it be asked for.
    let node = asked(app, whose)?.pop().filter(|_| name.len() <= 64).ok_or_else(missing)?;
    let ask = SourcesAsk { after: None, most: 1, name: Some(name.to_owned()) };
    let list = node.list(app, masked, ask).await;
    let list = list.map_err(|why| {
        Problem::new(Code::NotFound, format!("{} ({}): {why}", node.node.name, node.node.id))
    })?;
    list.sources.into_iter().find(|source| source.definition.name == name).ok_or_else(missing)
}

fn busy() -> Problem {
    Problem::new(
        Code::Overloaded,
        format!("{LOOKERS} look at other nodes' sources already; wait as Retry-After says"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str) -> SourceView {
        let definition = serde_json::json!({
            "name": name, "kind": "sse", "url": "https://example.com/", "topic": "t",
            "status": {
                "state": "live", "since": "", "reason": null, "last_error": null, "next_attempt": null,
                "last_record": null, "last_value": null, "records": 0, "records_per_s": 0.0, "bytes": 0,
                "errors": 0, "latency_ms": { "p50": null, "p99": null }, "beats": [],
            },
        });
        serde_json::from_value(definition).unwrap()
    }

    fn names(list: &SourceList) -> Vec<&str> {
        list.sources.iter().map(|source| source.definition.name.as_str()).collect()
    }

    #[test]
    fn it_cuts_long_lists_behind_a_source() {
        let views = || ["a", "b", "c"].map(view).to_vec();
        let one = serde_json::to_vec(&view("a")).unwrap().len() + 1;
        for (room, more, told, next) in [
            (0, false, &["a"][..], Some("a")),
            (2 * one - 1, false, &["a"], Some("a")),
            (2 * one, false, &["a", "b"], Some("b")),
            (9 * one, false, &["a", "b", "c"], None),
            (9 * one, true, &["a", "b", "c"], Some("c")),
        ] {
            let list: SourceList = serde_json::from_slice(&written(views(), more, room)).unwrap();
            assert_eq!((names(&list), list.next.as_deref()), (told.to_vec(), next), "{room} {more}");
        }
    }

    #[test]
    fn it_ends_whatever_a_node_answers() {
        type Answer = fn(Option<&str>) -> Vec<&'static str>;
        let answers: [(&str, Answer); 3] = [
            ("the same again", |_| vec!["a", "b"]),
            ("nothing, and more", |_| Vec::new()),
            ("in circles", |after| if after == Some("b") { vec!["a"] } else { vec!["b"] }),
        ];
        for (what, answer) in answers {
            let (mut after, mut pages) = (None::<String>, 0);
            loop {
                let sources = answer(after.as_deref()).into_iter().map(view).collect();
                let next = Some("x".to_owned());
                let mut list = SourceList { sources, next, unreachable: Vec::new() };
                go_on(&mut list, after.as_deref());
                let asked =
                    Asked { origin: Origin([3; 32]), node: SourceNode { id: "3".into(), name: "n".into() } };
                let one = Whose::Node(asked.origin);
                let page = put_together(one, std::iter::once((asked, Ok(list))), 10);
                pages += 1;
                after = page.next;
                if after.is_none() {
                    break;
                }
                assert!(pages < 10, "{what}");
            }
        }
    }

    #[test]
    fn it_puts_lists_together_up_to_a_limit() {
        let node = |id: u8| Asked {
            origin: Origin([id; 32]),
            node: SourceNode { id: id.to_string(), name: "n".to_owned() },
        };
        let told = |names: &[&str], next: Option<&str>| {
            Ok(SourceList {
                sources: names.iter().map(|name| view(name)).collect(),
                next: next.map(str::to_owned),
                unreachable: Vec::new(),
            })
        };
        let answers = || {
            [
                (node(1), told(&["a", "b"], None)),
                (node(2), Err(Untold::Late)),
                (node(3), told(&["a"], Some("a"))),
                (node(4), told(&["c"], None)),
                (node(5), Err(Untold::Unreached)),
            ]
        };
        for (limit, shown, next) in [
            (1, &["a"][..], Some("1/a")),
            (2, &["a", "b"], Some("3")),
            (3, &["a", "b", "a"], Some("3/a")),
            (9, &["a", "b", "a"], Some("3/a")),
        ] {
            let list = put_together(Whose::All, answers().into_iter(), limit);
            assert_eq!((names(&list), list.next.as_deref()), (shown.to_vec(), next), "{limit}");
            let silent: Vec<_> = list.unreachable.iter().map(|node| node.id.as_str()).collect();
            assert_eq!(silent, ["2", "5"]);
        }
        let one = put_together(Whose::Node(Origin([3; 32])), answers().into_iter().skip(2).take(1), 9);
        assert_eq!(one.next.as_deref(), Some("a"));
    }
}
