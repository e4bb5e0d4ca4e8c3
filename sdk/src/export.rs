//! The macros that turn plugins into components.
//!
//! On native targets they only check that the type implements the trait of its kind, so that a plugin's native library
//! has no exported symbols and no `unsafe`.

/// Exports a type that implements [`Renderer`](crate::Renderer) as a renderer component.
///
/// On native targets it only checks the trait.
#[macro_export]
macro_rules! export_renderer {
    ($plugin:ty) => {
        $crate::__export!($plugin, $crate::Renderer, renderer);
    };
}

/// Exports a type that implements [`Policy`](crate::Policy) as a policy component.
///
/// On native targets it only checks the trait.
#[macro_export]
macro_rules! export_policy {
    ($plugin:ty) => {
        $crate::__export!($plugin, $crate::Policy, policy);
    };
}

/// Exports a type that implements [`Health`](crate::Health) as a health component.
///
/// On native targets it only checks the trait.
#[macro_export]
macro_rules! export_health {
    ($plugin:ty) => {
        $crate::__export!($plugin, $crate::Health, health);
    };
}

/// Exports a type that implements [`Notifier`](crate::Notifier) as a notifier component.
///
/// On native targets it only checks the trait.
#[macro_export]
macro_rules! export_notifier {
    ($plugin:ty) => {
        $crate::__export!($plugin, $crate::Notifier, notifier);
    };
}

#[doc(hidden)]
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
macro_rules! __export {
    ($plugin:ty, $kind:path, $module:ident) => {
        const _: fn() = || {
            fn implements<T: $kind>() {}
            implements::<$plugin>();
        };
    };
}

#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! __export {
    ($plugin:ty, $kind:path, $module:ident) => {
        const _: () = {
            type Exported = $crate::glue::Adapter<$plugin>;
    $crate::glue::plugin::export!(Exported with_types_in $crate::glue::plugin);
    $crate::glue::$module::export!(Exported with_types_in $crate::glue::$module);
        };
    };
}
