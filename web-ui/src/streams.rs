//! What the page shows, and the two streams that fill it: the watch and the feed.

pub mod feed;
pub mod watch;

use std::rc::Rc;
use std::time::Duration;

use anode_shared::status::{Event, Status};
use leptos::prelude::*;

use crate::api::{self, Problem};
use crate::browser;
use crate::live::on_attention;
use crate::state::figures::figures;
use crate::state::link::Link;
use crate::state::question::Question;
use crate::state::records::Records;
use crate::state::spark::Samples;

/// A page that nobody looks at keeps its sockets this long: switching tabs for a moment costs nothing.
const HIDDEN_PATIENCE_MS: u64 = 30_000;

/// All that the page shows; components read it, streams write it.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The time, in milliseconds since the Unix epoch, moved on every second.
    pub now: RwSignal<f64>,
    /// The state of the watch.
    pub watch: RwSignal<Link>,
    /// The state of the feed.
    pub feed: RwSignal<Link>,
    /// What the node last said of itself.
    pub status: RwSignal<Option<Status>>,
    /// When it said so.
    pub heard_at: RwSignal<f64>,
    /// The last minute of its rates.
    pub samples: RwSignal<Samples>,
    /// Its recent events, newest first.
    pub events: RwSignal<Vec<Event>>,
    /// What the live list asks for.
    pub question: RwSignal<Question>,
    /// Why the node does not answer that.
    pub refusal: RwSignal<Option<Problem>>,
    /// The live list.
    pub records: RwSignal<Records>,
    /// Whether the stored records that a list begins with are all there.
    pub caught_up: RwSignal<bool>,
    /// Whether the page has a token.
    pub has_token: RwSignal<bool>,
    streams: StoredValue<Option<Rc<Streams>>, LocalStorage>,
}

#[derive(Debug)]
struct Streams {
    watch: Rc<watch::Watch>,
    feed: Rc<feed::Feed>,
}

impl Page {
    /// Makes the page and opens its streams.
    pub fn open() -> Self {
        api::take_token();
        let page = Self {
            now: RwSignal::new(browser::now()),
            watch: RwSignal::default(),
            feed: RwSignal::default(),
            status: RwSignal::default(),
            heard_at: RwSignal::default(),
            samples: RwSignal::default(),
            events: RwSignal::default(),
            question: RwSignal::new(Question::from_query(&browser::query())),
            refusal: RwSignal::default(),
            records: RwSignal::default(),
            caught_up: RwSignal::default(),
            has_token: RwSignal::new(api::token().is_some()),
            streams: StoredValue::new_local(None),
        };
        let streams = Rc::new(Streams { watch: watch::Watch::open(page), feed: feed::Feed::open(page) });
        page.streams.set_value(Some(Rc::clone(&streams)));
        page.follow_browser(streams);
        set_interval(move || page.tick(), Duration::from_secs(1));
        page
    }

    /// Asks the feed another question, and keeps it in the address.
    pub fn ask(self, question: Question) {
        if question == self.question.get_untracked() && self.refusal.with_untracked(Option::is_none) {
            return;
        }
        browser::set_address(&question.to_query());
        self.question.set(question);
        self.streams.with_value(|streams| {
            if let Some(streams) = streams {
                streams.feed.ask();
            }
        });
    }

    /// Whether what the page shows of the node is the present.
    pub fn is_live(self) -> bool {
        self.watch.get() == Link::Live
    }

    fn follow_browser(self, streams: Rc<Streams>) {
        let (to_wake, to_sleep) = (Rc::clone(&streams), Rc::clone(&streams));
        on_attention(
            HIDDEN_PATIENCE_MS,
            move || {
                to_wake.watch.wake();
                to_wake.feed.wake();
            },
            move || {
                to_sleep.watch.sleep();
                to_sleep.feed.sleep();
            },
        );
        browser::listen(&window(), "hashchange", move || {
            api::take_token();
            self.has_token.set(api::token().is_some());
            if self.has_token.get_untracked() && self.feed.get_untracked() == Link::Refused {
                streams.watch.reopen();
                streams.feed.ask();
            }
        });
    }

    fn tick(self) {
        if browser::is_hidden() {
            return;
        }
        self.now.set(browser::now());
        if self.watch.get_untracked() != Link::Live {
            return;
        }
        self.status.with_untracked(|status| {
            let Some(status) = status else { return };
            self.samples.update(|samples| {
                for (name, component) in status.components.iter() {
                    for figure in figures(component) {
                        if let Some(rate) = figure.rate {
                            samples.push(format!("{name}.{}", figure.key), rate);
                        }
                    }
                }
            });
        });
    }
}
