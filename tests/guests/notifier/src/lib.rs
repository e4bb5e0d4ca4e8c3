//! A notifier that sends what its settings say, and reports the answer as a refusal.
//!
//! `mode` selects what it does. Every mode has a test in `agent/host/tests/it`, and one test checks that.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated bindings")]
mod guest;
