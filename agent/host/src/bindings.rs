//! The contract's shared interfaces, generated from `wit/types`.
//!
//! They are generated once. The bindings of each kind take their types from here, so that one implementation of an import serves
//! every kind.

wasmtime::component::bindgen!({
    path: ["../../wit/types"],
    inline: "
        package pintle:host-shared;
        world described {
            import pintle:types/types@1.0.0;
            import pintle:types/log@1.0.0;
            import pintle:types/tree@1.0.0;
            import pintle:types/context@1.0.0;
            import pintle:types/arithmetic@1.0.0;
            import pintle:types/cluster@1.0.0;
            import pintle:types/plan@1.0.0;
            import pintle:types/http@1.0.0;
            export pintle:types/plugin@1.0.0;
        }
    ",
    imports: {
        "pintle:types/cluster": async | trappable,
        "pintle:types/http": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "pintle:types/tree.tree": crate::capability::tree::Folder,
        "pintle:types/plan.plan": crate::capability::plan::PlanView,
    },
});

pub(crate) use exports::pintle::types::plugin;
pub(crate) use pintle::types as wit;
