//! What the last order came to.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::el::{el, part};
use super::page;
use crate::api;
use crate::streams::Notice;

/// The element that offers to take a deletion back.
pub const UNDO: &str = "notice-undo";

/// One sentence at the edge of the window, until it is closed or another one comes.
#[component]
pub fn NoticeBar() -> impl IntoView {
    let page = page();
    let undo = move |notice: Notice| {
        let Some(definition) = notice.undo else { return };
        page.notice.set(None);
        spawn_local(async move {
            match api::register(&definition, false).await {
                Ok(()) => {
                    page.fresh.set(Some(definition.name.clone()));
                    page.say(format!("{} is back.", definition.name), false);
                }
                Err(problem) => page.refused(&problem),
            }
        });
    };
    let shown = move || {
        page.notice.get().map(|notice| {
            let class = if notice.is_bad { "notice is-bad" } else { "notice" };
            let words = notice.words.clone();
            let offer = notice.undo.is_some().then(|| {
                el("button")
                    .attr("id", UNDO)
                    .attr("type", "button")
                    .on("click", move |_| undo(notice.clone()))
                    .put("Undo")
                    .view()
            });
            el("div")
                .class(class)
                .put(el("span").put(words))
                .put(offer)
                .put(
                    el("button")
                        .attr("type", "button")
                        .class("icon")
                        .attr("aria-label", "Close")
                        .on("click", move |_| page.notice.set(None))
                        .put("×"),
                )
                .view()
        })
    };
    el("div").class("notices").attr("role", "status").put(part(shown)).view()
}
