//! Elements, made by plain calls.
//!
//! Leptos' `view!` gives each element, attribute and child a type, and each type its own copy of all code. What is made
//! here has one type, which keeps the page within its budget; what changes in it still is Leptos' own.

use std::borrow::Cow;
use std::sync::Arc;

use leptos::attr::Attribute;
use leptos::attr::any_attribute::{AnyAttribute, IntoAnyAttribute as _};
use leptos::attr::custom::custom_attribute;
use leptos::ev::{Custom, on};
use leptos::html::custom;
use leptos::prelude::*;
use leptos::tachys::html::property::prop;
use web_sys::Event;

/// A text that may change.
type Live = Box<dyn FnMut() -> String + Send>;

/// The value of an attribute or a property.
pub enum Say {
    /// None: the attribute is left out.
    Nothing,
    /// A text that stays.
    Fixed(Cow<'static, str>),
    /// A text that is said anew whenever what it is made of has changed.
    Live(Live),
}

impl std::fmt::Debug for Say {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Say")
    }
}

impl From<&'static str> for Say {
    fn from(text: &'static str) -> Self {
        Self::Fixed(text.into())
    }
}

impl From<String> for Say {
    fn from(text: String) -> Self {
        Self::Fixed(text.into())
    }
}

impl From<bool> for Say {
    fn from(is_there: bool) -> Self {
        if is_there { Self::Fixed("".into()) } else { Self::Nothing }
    }
}

impl<T: Into<Self>> From<Option<T>> for Say {
    fn from(text: Option<T>) -> Self {
        text.map_or(Self::Nothing, Into::into)
    }
}

impl<T: Into<String> + Clone + Send + Sync + 'static> From<Memo<T>> for Say {
    fn from(memo: Memo<T>) -> Self {
        live(move || memo.get())
    }
}

impl<T: Into<String> + Clone + Send + Sync + 'static> From<RwSignal<T>> for Say {
    fn from(signal: RwSignal<T>) -> Self {
        live(move || signal.get())
    }
}

/// A text that is said anew whenever what `say` reads has changed.
pub fn live<T: Into<String>>(say: impl Fn() -> T + Send + 'static) -> Say {
    Say::Live(Box::new(move || say().into()))
}

/// An element in the making.
#[derive(Debug)]
#[must_use]
pub struct El(Box<Parts>);

#[derive(Debug)]
struct Parts {
    tag: &'static str,
    attributes: Vec<AnyAttribute>,
    children: Vec<AnyView>,
}

/// Begins an element.
#[inline(never)]
pub fn el(tag: &'static str) -> El {
    El(Box::new(Parts { tag, attributes: Vec::new(), children: Vec::new() }))
}

// What is called everywhere is never inlined: the page has many elements, and must be small rather than fast.
impl El {
    /// Sets its class.
    pub fn class(self, name: impl Into<Say>) -> Self {
        self.say("class", name.into())
    }

    /// Sets an attribute.
    pub fn attr(self, name: &'static str, value: impl Into<Say>) -> Self {
        self.say(name, value.into())
    }

    #[inline(never)]
    fn say(mut self, name: &'static str, value: Say) -> Self {
        match value {
            Say::Nothing => {}
            Say::Fixed(text) => self.keep(custom_attribute(name, text)),
            Say::Live(say) => self.keep(custom_attribute(name, say)),
        }
        self
    }

    /// Keeps what a field holds as it is said.
    pub fn value(self, value: impl Into<Say>) -> Self {
        self.hold("value", value.into())
    }

    /// Fills it with a drawing. Whatever stands in an SVG that this page did not write itself is to be [escaped] before.
    ///
    /// [escaped]: crate::state::picture::escaped
    pub fn draw(self, svg: impl Into<Say>) -> Self {
        self.hold("innerHTML", svg.into())
    }

    #[inline(never)]
    fn hold(mut self, name: &'static str, value: Say) -> Self {
        match value {
            Say::Nothing => {}
            Say::Fixed(text) => self.keep(prop(name, text.into_owned())),
            Say::Live(say) => self.keep(prop(name, say)),
        }
        self
    }

    /// Keeps a box ticked or not.
    pub fn checked(mut self, is_checked: impl Fn() -> bool + Send + 'static) -> Self {
        let is_checked: Box<dyn FnMut() -> bool + Send> = Box::new(is_checked);
        self.keep(prop("checked", is_checked));
        self
    }

    /// Does something when an event comes.
    pub fn on(self, event: &'static str, act: impl FnMut(Event) + 'static) -> Self {
        self.listen(event, Box::new(act))
    }

    #[inline(never)]
    fn listen(mut self, event: &'static str, act: Box<dyn FnMut(Event)>) -> Self {
        self.keep(on(Custom::<Event>::new(event), act));
        self
    }

    fn keep(&mut self, attribute: impl Attribute) {
        self.0.attributes.push(attribute.into_any_attr());
    }

    /// Puts something into it, behind what is there.
    pub fn put(self, child: impl Show) -> Self {
        self.add(child.show())
    }

    #[inline(never)]
    fn add(mut self, child: AnyView) -> Self {
        self.0.children.push(child);
        self
    }

    /// The finished element.
    #[inline(never)]
    pub fn view(self) -> AnyView {
        let Parts { tag, attributes, children } = *self.0;
        custom(tag).child(children).add_any_attr(attributes).into_any()
    }
}

/// What can stand in an element.
pub trait Show {
    /// The same as a view.
    fn show(self) -> AnyView;
}

impl Show for AnyView {
    fn show(self) -> AnyView {
        self
    }
}

impl Show for El {
    fn show(self) -> AnyView {
        self.view()
    }
}

impl Show for Say {
    fn show(self) -> AnyView {
        match self {
            Self::Nothing => ().show(),
            Self::Fixed(text) => text.into_owned().show(),
            Self::Live(say) => boxed_text(say),
        }
    }
}

impl Show for () {
    #[inline(never)]
    fn show(self) -> AnyView {
        ().into_any()
    }
}

impl Show for &'static str {
    #[inline(never)]
    fn show(self) -> AnyView {
        self.to_owned().into_any()
    }
}

impl Show for String {
    #[inline(never)]
    fn show(self) -> AnyView {
        self.into_any()
    }
}

impl<T: Into<String> + Clone + Send + Sync + 'static> Show for Memo<T> {
    fn show(self) -> AnyView {
        said(move || self.get())
    }
}

impl<T: Into<String> + Clone + Send + Sync + 'static> Show for RwSignal<T> {
    fn show(self) -> AnyView {
        said(move || self.get())
    }
}

impl<T: Into<String> + Clone + Send + Sync + 'static> Show for Signal<T> {
    fn show(self) -> AnyView {
        said(move || self.get())
    }
}

impl Show for usize {
    fn show(self) -> AnyView {
        self.to_string().into_any()
    }
}

impl<T: IntoView + 'static> Show for View<T> {
    fn show(self) -> AnyView {
        self.into_any()
    }
}

impl<T: Show> Show for Option<T> {
    fn show(self) -> AnyView {
        self.map_or_else(|| ().show(), Show::show)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(self) -> AnyView {
        together(self.into_iter().map(Show::show).collect())
    }
}

impl<T: Show, const N: usize> Show for [T; N] {
    fn show(self) -> AnyView {
        together(self.into_iter().map(Show::show).collect())
    }
}

/// Several views, one behind the other.
#[inline(never)]
pub fn together(views: Vec<AnyView>) -> AnyView {
    views.into_any()
}

/// A part that shows what `show` gives, again whenever what it read has changed.
pub fn part<T: Show>(show: impl Fn() -> T + Send + 'static) -> AnyView {
    boxed_part(Box::new(move || show().show()))
}

#[inline(never)]
fn boxed_part(show: Box<dyn FnMut() -> AnyView + Send>) -> AnyView {
    show.into_any()
}

/// A text that is said anew whenever what `say` reads has changed.
pub fn said<T: Into<String>>(say: impl Fn() -> T + Send + 'static) -> AnyView {
    boxed_text(Box::new(move || say().into()))
}

#[inline(never)]
fn boxed_text(say: Live) -> AnyView {
    say.into_any()
}

/// A view for each name, kept for as long as the name is there.
pub fn list(
    names: impl Fn() -> Vec<String> + Send + Sync + 'static,
    show: impl Fn(String) -> AnyView + Send + Sync + 'static,
) -> AnyView {
    let names: Box<dyn Fn() -> Vec<String> + Send + Sync> = Box::new(names);
    let show: Arc<dyn Fn(String) -> AnyView + Send + Sync> = Arc::new(show);
    view! { <For each=names key=String::clone children=move |name| show(name) /> }.into_any()
}

/// A value that is made anew whenever what `make` reads has changed, and tells of it only where it became another one.
pub fn memo<T: PartialEq + Send + Sync + 'static>(make: impl Fn() -> T + Send + Sync + 'static) -> Memo<T> {
    let make: Box<dyn Fn() -> T + Send + Sync> = Box::new(make);
    Memo::new(move |_| make())
}

/// What stands where a list will be; `words` says so aloud.
pub fn skeleton(words: &'static str) -> AnyView {
    let lines: Vec<El> = (0..6).map(|_| el("i")).collect();
    el("div")
        .class("skeleton")
        .attr("role", "status")
        .put(el("span").class("unseen").put(words))
        .put(lines)
        .view()
}

/// A button that draws the rows that are left out so far.
pub fn show_more(rest: usize, drawn: RwSignal<usize>) -> El {
    el("button")
        .class("more")
        .attr("type", "button")
        .on("click", move |_| drawn.set(usize::MAX))
        .put(format!("Show {rest} more"))
}
