//! What one evaluation may cost: counted, not timed, so that every node decides the same.
//!
//! CEL's evaluator has no limit of its own, and its functions are plain `fn`s; so the count stands beside the
//! thread that evaluates, which does nothing else meanwhile.

use std::cell::Cell;

use cel::ExecutionError;

/// Bytes of text that cost a unit where they are only compared, searched or copied.
const BYTES_PER_UNIT: usize = 64;
/// What a small step counts as beside its bytes: eight of them, some 20 ns each, cost a unit.
const STEP: usize = 8;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static LOOSE: Cell<usize> = const { Cell::new(0) };
    static DRY: Cell<bool> = const { Cell::new(false) };
    static PER_ELEMENT: Cell<u64> = const { Cell::new(1) };
}

/// Runs one evaluation with so many units, of which each element of a list costs `per_element`; `None` when it would
/// have cost more. A unit is about one step of the evaluator, 50 to 300 ns.
pub(crate) fn run<T>(units: u64, per_element: u64, evaluate: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(units);
    LOOSE.set(0);
    DRY.set(false);
    PER_ELEMENT.set(per_element);
    let value = evaluate();
    (!DRY.get()).then_some(value)
}

/// Runs a part of an evaluation that may take no more than so many of the units that are left; `None` when it would.
/// What comes behind it goes on with the rest.
pub(crate) fn part<T>(units: u64, evaluate: impl FnOnce() -> T) -> Option<T> {
    let (before, was_dry) = (LEFT.get(), DRY.get());
    LEFT.set(before.min(units));
    let value = evaluate();
    let is_good = !DRY.get();
    LEFT.set(before - (before.min(units) - LEFT.get()));
    DRY.set(was_dry || (!is_good && before <= units));
    is_good.then_some(value)
}

/// The units that this thread's evaluation has left, or its last one had.
pub(crate) fn left() -> u64 {
    LEFT.get()
}

/// Whether the evaluation has come to its end.
pub(crate) fn is_dry() -> bool {
    DRY.get()
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

/// Takes what a small step costs that writes or reads so many bytes: less than a unit, so that steps are summed up.
pub(crate) fn take_step(bytes: usize) -> Result<(), ExecutionError> {
    let loose = LOOSE.get() + STEP + bytes;
    LOOSE.set(loose % BYTES_PER_UNIT);
    if take((loose / BYTES_PER_UNIT) as u64) { Ok(()) } else { Err(dry()) }
}

/// Takes what one turn of a comprehension costs over an element that holds this much text.
pub(crate) fn take_element(bytes: usize) -> bool {
    take(PER_ELEMENT.get() * (1 + (bytes / BYTES_PER_UNIT) as u64))
}

/// The error of an evaluation that is given up.
pub(crate) fn dry() -> ExecutionError {
    ExecutionError::InternalError("the expression costs too much".to_owned())
}
