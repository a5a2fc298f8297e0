//! Runs the steps of a task one after the other, with progress, a summary, and advice where one fails.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use crate::screen::{elapsed, say, table};

/// How often a step that says nothing else is said to be still running.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// One step of a task.
pub(crate) struct Step {
    /// A few words that name it.
    pub(crate) name: &'static str,
    /// What to do when it fails, as one sentence.
    pub(crate) advice: &'static str,
    /// The work itself.
    pub(crate) work: Box<dyn FnOnce() -> Result<()>>,
}

impl Step {
    /// Makes a step.
    pub(crate) fn new(
        name: &'static str,
        advice: &'static str,
        work: impl FnOnce() -> Result<()> + 'static,
    ) -> Self {
        Self { name, advice, work: Box::new(work) }
    }
}

/// Runs all steps, and ends with a table of what took how long.
///
/// # Errors
/// Fails with the first step that does; later ones do not run.
pub(crate) fn run_all(steps: Vec<Step>) -> Result<()> {
    let begin = Instant::now();
    let count = steps.len();
    let mut rows = Vec::new();
    let mut failure = None;
    for (index, step) in steps.into_iter().enumerate() {
        let Step { name, advice, work } = step;
        if failure.is_some() {
            rows.push(row(name, "not run"));
            continue;
        }
        say(format!("==> [{}/{count}] {name}", index + 1));
        let (done, time) = timed(name, work);
        let time = elapsed(time);
        rows.push(row(name, &if done.is_ok() { time.clone() } else { format!("FAILED {time}") }));
        failure = done.err().map(|error| failed(name, advice, &time, &error));
    }
    rows.push(row("total", &elapsed(begin.elapsed())));
    say(format!("\n{}", table(&rows)));
    failure.map_or(Ok(()), Err)
}

fn row(name: &str, time: &str) -> Vec<String> {
    vec![name.to_owned(), time.to_owned()]
}

fn failed(name: &str, advice: &str, time: &str, error: &Error) -> Error {
    anyhow::anyhow!("step \"{name}\" failed after {time}: {error:#}\nWhat to do: {advice}")
}

/// Does the work of a step while another thread says now and then that it goes on.
fn timed(name: &'static str, work: Box<dyn FnOnce() -> Result<()>>) -> (Result<()>, Duration) {
    let begin = Instant::now();
    let (end, ended) = mpsc::channel::<()>();
    let heartbeat = thread::spawn(move || {
        while ended.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            say(format!("    … {name}: {} so far", elapsed(begin.elapsed())));
        }
    });
    let done = work();
    drop(end);
    let _ = heartbeat.join();
    (done, begin.elapsed())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn it_stops_at_the_first_step_that_fails() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let step = |name: &'static str, fails: bool| {
            let seen = Rc::clone(&seen);
            Step::new(name, "Look again.", move || {
                seen.borrow_mut().push(name);
                if fails { Err(anyhow::anyhow!("it broke")) } else { Ok(()) }
            })
        };
        let error = run_all(vec![step("one", false), step("two", true), step("three", false)]).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("step \"two\" failed after 0.0 s: it broke\n"), "{error}");
        assert!(error.ends_with("What to do: Look again."), "{error}");
        assert_eq!(*seen.borrow(), ["one", "two"]);
    }
}
