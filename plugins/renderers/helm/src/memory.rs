//! The memory of a component, which lives for one call.

/// The memory that a render of a small chart needs, in bytes.
pub(crate) const AT_FIRST: usize = 4 << 20;

/// The most memory to request ahead, in bytes.
const MOST: usize = 32 << 20;

/// The memory for the parsed templates of a chart and for their output, as a multiple of the templates' size.
pub(crate) const TIMES: usize = 8;

/// A render creates and drops hundreds of thousands of small values. This allocator is faster at that than the default one, and
/// smaller.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// Requests this many bytes from the host at once, instead of page by page with a system call for each. Nothing is written to
/// them, so unused memory costs nothing.
pub(crate) fn reserve(bytes: usize) {
    if cfg!(target_arch = "wasm32") {
        let mut memory = Vec::<u8>::new();
        // If this much is not available, memory is requested when it is needed.
        let _ = memory.try_reserve_exact(bytes.min(MOST));
        drop(std::hint::black_box(memory));
    }
}

/// Keeps a value until the end of the call. A component's memory returns to the host as a whole, so freeing large values piece by
/// piece before that is wasted work. On other targets, the value is dropped.
pub(crate) fn leave<T>(value: T) {
    if cfg!(target_arch = "wasm32") {
        std::mem::forget(value);
    }
}
