//! The demo mesh of `docker-compose.yml` on a real Docker engine: brings engine, compose and images where they are
//! not there, and runs its test.
//!
//! Nothing here needs an image registry: where none can be reached, the images are made of this machine's own files.

mod client;
mod engine;
mod compose;
mod pack;
mod images;

use anyhow::Result;

use crate::command::{SELECTED, cargo, root, run};
use crate::steps::{Step, run_all};
use crate::ui;

use client::Client;
use engine::Engine;

/// `cargo xtask demo-mesh`: dashboard and node, and the step.
///
/// # Errors
/// Fails with the step that does.
pub(crate) fn task() -> Result<()> {
    let node = "Read the error above; `cargo build -p anode` repeats this step alone.";
    let build = || run(cargo(["build"]).args(SELECTED).arg("--bins"));
    run_all(vec![ui::step(), Step::new("node", node, build), step()])
}

/// The step that runs `docker-compose.yml` with the node that is built.
pub(crate) fn step() -> Step {
    let advice = "Read the error above; `cargo xtask demo-mesh` repeats this step alone.";
    Step::new("demo mesh", advice, test)
}

fn test() -> Result<()> {
    let client = Client::ensure()?;
    let engine = Engine::ensure(&client)?;
    let client = client.on(&engine);
    let compose = compose::ensure(&client)?;
    let images = images::make(&client, &root().join("target/debug/anode"))?;
    let mut test = cargo(["test"]);
    test.args(SELECTED).args(["--test", "it", "--", "--ignored", "--nocapture", "compose::"]);
    client.tell(&mut test);
    test.env("ANODE_E2E_DOCKER", client.program())
        .env("ANODE_E2E_COMPOSE", compose.join(" "))
        .env("ANODE_IMAGE", images.node)
        .env("CASSANDRA_IMAGE", images.cassandra.name);
    if images.cassandra.local {
        test.env("ANODE_E2E_CASSANDRA_LOCAL", "1");
    }
    let done = run(&mut test);
    drop(images.cleanup);
    done.and(engine.stop())
}
