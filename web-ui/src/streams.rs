//! What the page shows, and the two streams that fill it: the watch and the feed.

pub mod feed;
pub mod watch;

use std::rc::Rc;
use std::time::Duration;

use anode_shared::source::SourceDefinition;
use anode_shared::status::{Event, Status};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{self, Problem};
use crate::browser;
use crate::live::on_attention;
use crate::state::access::Access;
use crate::state::figures::figures;
use crate::state::form::Form;
use crate::state::link::Link;
use crate::state::mesh::Nodes;
use crate::state::question::Question;
use crate::state::records::Records;
use crate::state::route::{Location, Route};
use crate::state::sources::Sources;
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
    /// Its sources; none until it named them.
    pub sources: RwSignal<Option<Sources>>,
    /// The nodes of its mesh.
    pub nodes: RwSignal<Nodes>,
    /// The page's address.
    pub location: RwSignal<Location>,
    /// The source that was registered or changed last: it stands out in the list.
    pub fresh: RwSignal<Option<String>>,
    /// What the last order came to.
    pub notice: RwSignal<Option<Notice>>,
    /// What the live list asks for.
    pub question: RwSignal<Question>,
    /// Why the node does not answer that.
    pub refusal: RwSignal<Option<Problem>>,
    /// The live list.
    pub records: RwSignal<Records>,
    /// Whether the stored records that a list begins with are all there.
    pub caught_up: RwSignal<bool>,
    /// Whether this browser may change anything.
    pub access: RwSignal<Access>,
    /// The form that is open, and what stood in it at first.
    pub draft: RwSignal<Option<(RwSignal<Form>, Form)>>,
    streams: StoredValue<Option<Rc<Streams>>, LocalStorage>,
}

/// What an order came to, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The words.
    pub words: String,
    /// Whether it failed.
    pub is_bad: bool,
    /// The source that was deleted: it can be registered again.
    pub undo: Option<Box<SourceDefinition>>,
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
            sources: RwSignal::default(),
            nodes: RwSignal::default(),
            location: RwSignal::new(browser::location()),
            fresh: RwSignal::default(),
            notice: RwSignal::default(),
            question: RwSignal::new(Question::from_query(&browser::query())),
            refusal: RwSignal::default(),
            records: RwSignal::default(),
            caught_up: RwSignal::default(),
            access: RwSignal::default(),
            draft: RwSignal::default(),
            streams: StoredValue::new_local(None),
        };
        let streams = Rc::new(Streams { watch: watch::Watch::open(page), feed: feed::Feed::open(page) });
        page.streams.set_value(Some(Rc::clone(&streams)));
        page.follow_browser(streams);
        page.look_at_token();
        page.attend();
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
        self.with_streams(|streams| streams.feed.ask());
    }

    /// The page that is shown.
    pub fn route(self) -> Memo<Route> {
        Memo::new(move |_| self.location.with(Location::route))
    }

    /// Goes to an address of this page; `false` where it is none.
    pub fn go(self, address: &str) -> bool {
        let location = Location::of(address);
        if location.route() == Route::Unknown {
            return false;
        }
        if self.may_leave() {
            browser::push_address(address);
            // Another choice on the same page leaves the eye where it is.
            if self.location.with_untracked(|old| old.path != location.path) {
                browser::scroll_to_top();
            }
            self.arrive(location);
        }
        true
    }

    /// Whether something was written into the open form that would be lost.
    fn is_unsaved(self) -> bool {
        let draft = self.draft.get_untracked();
        // The form of a page that was left is gone, and what stood in it no matter.
        draft.is_some_and(|(form, start)| form.try_get_untracked().is_some_and(|form| form != start))
    }

    /// Asks whether what was written may be lost, where there is such.
    fn may_leave(self) -> bool {
        !self.is_unsaved() || browser::agrees("What you wrote is not saved. Leave all the same?")
    }

    fn arrive(self, location: Location) {
        if location.route() == Route::Records {
            let question = Question::from_query(&location.query);
            if question != self.question.get_untracked() {
                self.question.set(question);
                self.with_streams(|streams| streams.feed.ask());
            }
        }
        self.draft.set(None);
        self.notice.set(None);
        self.location.set(location);
        self.attend();
    }

    /// Reads the feed only while somebody looks at records.
    fn attend(self) {
        let is_shown = self.location.with_untracked(Location::route) == Route::Records;
        self.with_streams(|streams| if is_shown { streams.feed.wake() } else { streams.feed.sleep() });
    }

    fn with_streams(self, then: impl FnOnce(&Streams)) {
        self.streams.with_value(|streams| {
            if let Some(streams) = streams {
                then(streams);
            }
        });
    }

    /// Says what an order came to.
    pub fn say(self, words: String, is_bad: bool) {
        self.notice.set(Some(Notice { words, is_bad, undo: None }));
    }

    /// Says that an order was refused, and learns from it whether the token is any good.
    pub fn refused(self, problem: &Problem) {
        if matches!(problem.status, 401 | 403) {
            self.look_at_token();
        }
        self.say(problem.detail.clone(), true);
    }

    /// Asks the node whether it takes this browser's token.
    pub fn look_at_token(self) {
        if api::token().is_none() {
            return self.access.set(Access::None);
        }
        self.access.set(Access::Unknown);
        spawn_local(async move {
            match api::is_token_good().await {
                Some(true) => self.access.set(Access::Granted),
                Some(false) => self.access.set(Access::Refused),
                None => {}
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
                self.attend();
            },
            move || {
                to_sleep.watch.sleep();
                to_sleep.feed.sleep();
            },
        );
        browser::listen(&window(), "hashchange", move || {
            api::take_token();
            self.look_at_token();
            if api::token().is_some() && self.watch.get_untracked() == Link::Refused {
                streams.watch.reopen();
                if self.location.with_untracked(Location::route) == Route::Records {
                    streams.feed.ask();
                }
            }
        });
        browser::listen(&window(), "popstate", move || {
            if self.may_leave() {
                return self.arrive(browser::location());
            }
            let stayed = self.location.get_untracked();
            browser::push_address(&format!("{}{}", stayed.path, stayed.query));
        });
        // Another tab got a token, or forgot it.
        browser::listen(&window(), "storage", move || self.look_at_token());
        browser::on_unload(move || self.is_unsaved());
        browser::on_links(move |address| self.go(address));
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
