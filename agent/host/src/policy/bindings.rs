//! The exports of a policy, generated from `wit/policy`.

wasmtime::component::bindgen!({
    path: ["../../wit/types", "../../wit/policy"],
    inline: "
        package pintle:host-policy;
        world evaluates { export pintle:policy/policy@1.0.0; }
    ",
    exports: { default: async },
    with: {
        "pintle:types/types": crate::bindings::wit::types,
        "pintle:types/plan": crate::bindings::wit::plan,
    },
});

pub(crate) use exports::pintle::policy::policy;
