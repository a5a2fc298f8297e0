//! The project's tasks: `cargo xtask run`, `test`, `check`, `ui` and `cassandra`, with all that they install and build.
//!
//! Read [`checks`] for what `test` and `check` do, and [`ui`] for how the dashboard is made.

mod checks;
mod docker;
mod serve;
mod ui;
mod wasm;
mod bindgen;
mod dist;
mod cassandra;
mod system;
mod npm;
mod steps;
mod command;
mod version;
mod screen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::screen::say;

/// aNode's tasks. `run` and `test` need nothing but Rust: they install and build what is missing.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing, build dashboard and node in release, and start a node
    Run {
        /// What `anode run` is given, as in `cargo xtask run -- --http 127.0.0.1:9000`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        options: Vec<String>,
    },
    /// Install what is missing, and run every check that needs no Docker engine
    Test {
        /// With the checks that need a Docker engine
        #[arg(long)]
        all: bool,
    },
    /// Run the everyday checks: formatting, lints, unit, integration and short end-to-end tests
    Check,
    /// Run the demo mesh of docker-compose.yml on a Docker engine, and test it: the last step of `test --all`
    DemoMesh,
    /// Build the dashboard into `web-ui/dist`, for the node to embed
    Ui,
    /// Run a real Apache Cassandra on loopback until Ctrl-C, for development
    ///
    /// Fetches its jars where they are missing, and installs Java 17 unless a Java 17 or 11 is there.
    /// Its data and log are in `target/cassandra`. Two variables say where things are: `ANODE_JAVA` the Java,
    /// `ANODE_MAVEN` a mirror of Maven's central repository.
    Cassandra {
        /// The port of its native protocol
        #[arg(long, default_value_t = 9042)]
        port: u16,
        /// Ask for a name and password, and check rights
        #[arg(long)]
        login: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Run { options } => serve::run(&options),
        Task::Test { all } => checks::test(all),
        Task::Check => checks::check(),
        Task::DemoMesh => docker::task(),
        Task::Ui => ui::task(),
        Task::Cassandra { port, login } => cassandra::task(port, login),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
