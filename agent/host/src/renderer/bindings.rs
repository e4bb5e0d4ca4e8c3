//! The exports of a renderer, generated from `wit/renderer`.

wasmtime::component::bindgen!({
    path: ["../../wit/types", "../../wit/renderer"],
    inline: "
        package pintle:host-renderer;
        world renders { export pintle:renderer/renderer@1.0.0; }
    ",
    exports: { default: async },
    with: {
        "pintle:types/types": crate::bindings::wit::types,
        "pintle:types/tree": crate::bindings::wit::tree,
    },
});

pub(crate) use exports::pintle::renderer::renderer;
