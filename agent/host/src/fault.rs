//! Classification of failed calls.

use std::{any::Any, time::Duration};

use pintle_core::plugin::{Fault, Limit};
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use crate::{
    limits::Limits,
    state::{State, Stop},
    wire,
};

/// Turns an error of the engine into a fault that an operator can act on.
///
/// `state` is that of the store in which the error occurred: a crash is reported with the guest's last words.
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
    // The engine keeps the types of these two private; the tests with hostile guests pin their texts.
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

/// Returns the fault of a call in which the host itself panicked.
///
/// That is a defect of the agent, and is reported as one. The plugin is named too, because its input reproduces the defect.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Fault {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it does not say why".to_owned());
    Fault::Trap(format!(
        "the agent panicked while it served the call, which is a defect of the agent: {}",
        wire::text(text)
    ))
}

fn trapped(trap: Trap, state: &State) -> Fault {
    let text = trap.to_string();
    let text = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
    match trap {
        // The engine raises these when it reads a value that the guest passes, not the guest's own code.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_host_is_told_as_a_defect_of_the_agent() {
        let panic = |panic: Box<dyn Any + Send>| panicked(&*panic);
        insta::assert_snapshot!(panic(Box::new("no such folder")), @"it crashed: the agent panicked while it served the call, which is a defect of the agent: no such folder");
        insta::assert_snapshot!(panic(Box::new("object 3".to_owned())), @"it crashed: the agent panicked while it served the call, which is a defect of the agent: object 3");
        insta::assert_snapshot!(panic(Box::new(3)), @"it crashed: the agent panicked while it served the call, which is a defect of the agent: it does not say why");
        assert!(!panic(Box::new(3)).is_retryable());
    }
}
