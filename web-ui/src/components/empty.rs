//! What the live list shows before there is a record.

use leptos::prelude::*;

use super::copy::Copy;
use super::page;
use crate::browser;
use crate::state::question::Question;

/// The command that publishes a first record to this very node.
fn command() -> String {
    format!(
        "curl {}/api/v1/records \\\n  -H \"Authorization: Bearer $(cat anode-data/admin.token)\" \\\n  \
         -H 'Content-Type: application/json' \\\n  -d '{{\"topic\": \"hello.world\", \"payload\": {{\"says\": \"hi\"}}}}'",
        browser::origin()
    )
}

/// How to get a first record, or a wider question.
#[component]
pub fn Empty() -> impl IntoView {
    let page = page();
    let is_narrow = page.question.with(|question| *question != Question::default());
    if is_narrow {
        return view! {
            <div class="empty">
                <p class="big">"No record matches yet."</p>
                <p>"Listening: the next one that matches appears here by itself."</p>
                <ShowAll />
            </div>
        }
        .into_any();
    }
    view! {
        <div class="empty">
            <p class="big">"No record yet."</p>
            <p>"Publish one, and it appears here by itself:"</p>
            <div class="command">
                <pre tabindex="0" role="group" aria-label="Command">
                    {command()}
                </pre>
                <Copy text=Signal::stored(command()) what="command" />
            </div>
            <p>
                "Run it in the folder in which the node was started, or put the token of "
                <code>"anode link"</code>" in place of "<code>"$(…)"</code>"."
            </p>
        </div>
    }
    .into_any()
}

/// What stands there while the node does not take the question.
#[component]
pub fn Refused() -> impl IntoView {
    let page = page();
    let is_narrow = page.question.with(|question| *question != Question::default());
    let words = if is_narrow { "No records, until the question above is changed." } else { "No records." };
    view! {
        <div class="empty">
            <p class="big">{words}</p>
            {is_narrow.then(|| view! { <ShowAll /> })}
        </div>
    }
}

#[component]
fn ShowAll() -> impl IntoView {
    let page = page();
    view! {
        <button type="button" on:click=move |_| page.ask(Question::default())>
            "Show every topic"
        </button>
    }
}
