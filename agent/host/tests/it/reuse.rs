//! A render is valid exactly as long as what it read is unchanged.

use std::{cell::Cell, collections::BTreeMap};

use pintle_core::{seed::Seed, tree::memory::MemoryTree};
use pintle_host::{Facts, Renderer, Settings};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

use crate::support::{context, hostile, request, text_of};

type Files = BTreeMap<String, String>;

/// A few files with few different contents, so that changes often hit and often miss what is read.
fn files() -> impl Strategy<Value = Files> {
    prop::collection::btree_map("(app/)?[ab]\\.(yaml|txt)", "[xy]", 0..5)
}

fn steps() -> impl Strategy<Value = Vec<String>> {
    let path = prop::sample::select(vec!["a.yaml", "b.txt", "app/a.yaml", "app", "none"]);
    let step = prop_oneof![
        path.clone().prop_map(|path| format!("read {path}")),
        path.clone().prop_map(|path| format!("stat {path}")),
        path.prop_map(|path| format!("entries {path}")),
        prop::sample::select(vec!["*.yaml", "**/*.txt", "app/*", "**"])
            .prop_map(|pattern| format!("glob {pattern}")),
        Just("namespace".to_owned()),
    ];
    prop::collection::vec(step, 1..4)
}

async fn rendered(
    renderer: &Renderer,
    settings: &Settings,
    files: &Files,
    namespace: &str,
) -> pintle_host::Rendering {
    let mut request = request(settings.clone(), MemoryTree::new(files));
    request.context.namespace = namespace.to_owned();
    renderer.render(request).await.unwrap()
}

#[test]
fn a_render_is_reused_only_if_rendering_again_gives_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let renderer = runtime.block_on(hostile());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let (reused, renewed) = (Cell::new(0), Cell::new(0));
    let inputs = (steps(), files(), files(), any::<bool>());
    runner
        .run(&inputs, |(steps, before, after, moved)| {
            let settings = Settings::new(json!({"mode": "script", "script": steps.join(";")}));
            let namespace = if moved { "other" } else { "shop" };
            let first = runtime.block_on(rendered(&renderer, &settings, &before, "shop"));
            let mut facts = Facts {
                context: context(),
                seed: Seed::from_text("seed"),
            };
            // With nothing changed, the render is always valid.
            let change = first.reads.first_change(&MemoryTree::new(&before), &facts);
            prop_assert_eq!(change, None);
            facts.context.namespace = namespace.to_owned();
            let change = first.reads.first_change(&MemoryTree::new(&after), &facts);
            let second = runtime.block_on(rendered(&renderer, &settings, &after, namespace));
            if change.is_none() {
                reused.set(reused.get() + 1);
                prop_assert_eq!(&first, &second);
            } else {
                renewed.set(renewed.get() + 1);
                prop_assert_ne!(&first.reads, &second.reads);
            }
            prop_assert!(!text_of(first.objects[0].object.value()).is_empty());
            Ok(())
        })
        .unwrap();
    let (reused, renewed) = (reused.get(), renewed.get());
    assert!(
        reused > 0 && renewed > 0,
        "{reused} reused, {renewed} renewed"
    );
}
