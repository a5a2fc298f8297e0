//! Why nothing can be changed, and how that is mended.

use leptos::prelude::*;

use super::el::{Show, el, part, together};
use super::page;
use crate::api;
use crate::state::access::Access;

/// The element by which buttons name the reason.
pub const REASON: &str = "access-reason";

/// The reason, where there is one.
#[component]
pub fn AccessHint() -> impl IntoView {
    let page = page();
    let forget = move |_| {
        api::forget_token();
        page.access.set(Access::None);
    };
    part(move || {
        let access = page.access.get();
        access.hindrance().map(|why| {
            el("p")
                .attr("id", REASON)
                .class("access")
                .put(why)
                .put(" Run ")
                .put(el("code").put("anode link"))
                .put(" beside the node, and open the link that it prints.")
                .put((access == Access::Refused).then(|| {
                    together(vec![
                        " ".show(),
                        el("button")
                            .attr("type", "button")
                            .class("copy")
                            .on("click", forget)
                            .put("Forget the token")
                            .view(),
                    ])
                }))
                .view()
        })
    })
}
