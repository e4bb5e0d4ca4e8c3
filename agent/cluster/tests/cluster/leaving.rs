//! Who is told about objects that leave an application.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, future::BoxFuture};
use pintle_cluster::{Claim, Claims, UnknownClaims};
use pintle_core::object::ObjectId;

use crate::world::{World, annotated, config_map};

/// Other applications, which want nothing and record what they are told.
#[derive(Debug, Default)]
struct Others(Mutex<Vec<String>>);

impl Others {
    fn hear(&self, what: &str, ids: &[ObjectId]) {
        let heard = ids.iter().map(|id| format!("{what} {}", id.name));
        self.0.lock().unwrap().extend(heard);
    }

    /// Returns what they have been told since the last call.
    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).collect()
    }
}

impl Claims for Others {
    fn claimants<'a>(
        &'a self,
        ids: &'a [ObjectId],
    ) -> BoxFuture<'a, Result<BTreeMap<ObjectId, String>, UnknownClaims>> {
        self.hear("asked about", ids);
        async { Ok(BTreeMap::new()) }.boxed()
    }

    fn left(&self, ids: &[ObjectId]) {
        self.hear("told of", ids);
    }

    fn claim<'a>(&'a self, _: &'a str, _: &'a ObjectId) -> BoxFuture<'a, Claim> {
        async { Claim::Unknown }.boxed()
    }
}

#[tokio::test]
async fn others_are_asked_about_what_goes_and_told_once_of_what_leaves_and_stays() {
    let mut world = World::new("heard").await;
    let others = Arc::new(Others::default());
    world.release.claims = Some(Arc::clone(&others) as _);
    let objects = [
        config_map("goes", "1"),
        annotated(config_map("stays", "1"), "pintle.dev/prune", "disabled"),
        config_map("rest", "1"),
        config_map("rest-too", "1"),
    ];
    world.converge(&objects).await.unwrap();
    assert_eq!(others.heard(), Vec::<String>::new());
    world.converge(&objects[2..]).await.unwrap();
    assert_eq!(others.heard(), ["told of stays", "asked about goes"]);
    world.converge(&objects[2..]).await.unwrap();
    assert_eq!(others.heard(), Vec::<String>::new());
    world.release.prune.enabled = false;
    world.converge(&objects[2..3]).await.unwrap();
    assert_eq!(others.heard(), ["told of rest-too"]);
}
