//! What one evaluation may cost: counted, not timed, so that every node decides the same.
//!
//! CEL's evaluator has no limit of its own, and its functions are plain `fn`s; so the count stands beside the
//! thread that evaluates, which does nothing else meanwhile.

use std::cell::Cell;

use cel::ExecutionError;

/// Units of one evaluation; a unit is about one step of the evaluator (50 to 300 ns), so the sum is 20 ms at most.
const TANK: u64 = 60_000;
/// Bytes of text that cost a unit where they are only compared, searched or copied.
const BYTES_PER_UNIT: usize = 64;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static DRY: Cell<bool> = const { Cell::new(false) };
    static PER_ELEMENT: Cell<u64> = const { Cell::new(1) };
}

/// Runs one evaluation, in which an element of a list costs `per_element` units; `None` when it would have cost too much.
pub(crate) fn run<T>(per_element: u64, evaluate: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(TANK);
    DRY.set(false);
    PER_ELEMENT.set(per_element);
    let value = evaluate();
    (!DRY.get()).then_some(value)
}

/// What this thread's last evaluation took, beside walking its expression once.
pub(crate) fn spent() -> u64 {
    TANK - LEFT.get()
}

/// Takes units; `false` from the first time on that there are not enough.
pub(crate) fn take(units: u64) -> bool {
    let left = LEFT.get().checked_sub(units).filter(|_| !DRY.get());
    LEFT.set(left.unwrap_or(0));
    DRY.set(left.is_none());
    left.is_some()
}

/// Takes what looking at a text of this length costs.
pub(crate) fn take_text(bytes: usize) -> Result<(), ExecutionError> {
    if take(1 + (bytes / BYTES_PER_UNIT) as u64) { Ok(()) } else { Err(dry()) }
}

/// Takes what one turn of a comprehension costs over an element that holds this much text.
pub(crate) fn take_element(bytes: usize) -> bool {
    take(PER_ELEMENT.get() * (1 + (bytes / BYTES_PER_UNIT) as u64))
}

/// The error of an evaluation that is given up.
pub(crate) fn dry() -> ExecutionError {
    ExecutionError::InternalError("the expression costs too much".to_owned())
}
