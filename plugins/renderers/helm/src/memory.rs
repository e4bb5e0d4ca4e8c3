//! Memory of a component, which lives for one call.

/// What a render of a small chart needs, in bytes.
pub(crate) const AT_FIRST: usize = 4 << 20;

/// So much is asked for ahead at most.
const MOST: usize = 32 << 20;

/// What the templates of a chart are made into takes so many times their size, with what they give.
pub(crate) const TIMES: usize = 8;

/// A render makes and drops hundreds of thousands of small values: this allocator is faster at that than the usual one, and
/// smaller.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// Gets so many bytes from the host at once, which would otherwise be asked for page by page, with a system call for each.
/// Nothing is written to them: what is not used costs nothing.
pub(crate) fn reserve(bytes: usize) {
    if cfg!(target_arch = "wasm32") {
        let mut memory = Vec::<u8>::new();
        // If there is not so much, what is needed is asked for when it is needed.
        let _ = memory.try_reserve_exact(bytes.min(MOST));
        drop(std::hint::black_box(memory));
    }
}

/// Leaves a value to the end of the call. A component's memory goes back to the host as a whole: taking large values apart
/// before that, piece by piece, is work for nothing. Elsewhere the value is dropped.
pub(crate) fn leave<T>(value: T) {
    if cfg!(target_arch = "wasm32") {
        std::mem::forget(value);
    }
}
