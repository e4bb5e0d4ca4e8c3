//! A notifier that sends what its settings say, and tells as a refusal what came back.
//!
//! `mode` chooses; every mode has a test in `agent/host/tests/it`, and one test checks that.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated bindings")]
mod guest;
