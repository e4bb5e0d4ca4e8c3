//! The exports of a notifier, generated from `wit/notifier`.

wasmtime::component::bindgen!({
    path: ["../../wit/types", "../../wit/notifier"],
    inline: "
        package pintle:host-notifier;
        world notifies { export pintle:notifier/notifier@1.0.0; }
    ",
    exports: { default: async },
    with: {
        "pintle:types/types": crate::bindings::wit::types,
    },
});

pub(crate) use exports::pintle::notifier::notifier;
