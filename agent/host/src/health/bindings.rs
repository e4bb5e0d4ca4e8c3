//! The exports of a health check, generated from `wit/health`.

wasmtime::component::bindgen!({
    path: ["../../wit/types", "../../wit/health"],
    inline: "
        package pintle:host-health;
        world assesses { export pintle:health/health@1.0.0; }
    ",
    exports: { default: async },
    with: {
        "pintle:types/types": crate::bindings::wit::types,
    },
});

pub(crate) use exports::pintle::health::health;
