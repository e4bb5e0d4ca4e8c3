//! Tells apart how a call failed.

use std::time::Duration;

use pintle_core::plugin::{Fault, Limit};
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use crate::{
    limits::Limits,
    state::{State, Stop},
};

/// Turns what the engine says into what an operator can act on.
///
/// `state` is that of the store in which it happened: a crash is told with the guest's last words.
pub(crate) fn classify(error: &wasmtime::Error, state: &State, limits: &Limits) -> Fault {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stop.0.clone();
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trapped(*trap, state);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return crash(format!("it exited with status {}", exit.0), state);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Unavailable {
            reason: "too many instances of plugins are running".to_owned(),
            retry_after: Some(Duration::from_secs(1)),
        };
    }
    let text = format!("{error:#}");
    // The engine keeps the types of these two private; the hostile guests of the tests pin their texts.
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return Fault::Limit(Limit::Output(limits.output));
    }
    if text.contains("store handle limit exceeded")
        || text.contains("resource table has no free keys")
    {
        return Fault::Limit(Limit::Handles(u64::from(limits.handles)));
    }
    Fault::Contract(text)
}

fn trapped(trap: Trap, state: &State) -> Fault {
    let text = trap.to_string();
    let text = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
    match trap {
        // These are raised when the engine reads a value that the guest passes, not by the guest's own code.
        Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer => Fault::Contract(text),
        _ => crash(text, state),
    }
}

fn crash(text: String, state: &State) -> Fault {
    Fault::Trap(match state.log.last_error() {
        Some(words) => format!("{text}, after saying `{words}`"),
        None => text,
    })
}
