//! Replicas in virtual time, with a slow API server that loses answers, and with replicas that are killed and paused.

mod world;

use proptest::prelude::*;

use self::world::{Arrival, DURATION, RENEWAL, World};
use super::{
    ReplicaId, ShardSet, Table,
    replica::{Effect, Event, Replica, Stored},
};
use crate::machine::Millis;

fn id(number: u64) -> ReplicaId {
    ReplicaId::new(format!("replica-{number}"))
}

/// Something that happens to the fleet.
#[derive(Debug, Clone)]
enum Fate {
    Start(u64),
    Kill(u64),
    Stop(u64),
    Pause(u64, Millis),
    DeleteLease(u64),
}

fn any_fate() -> impl Strategy<Value = (Millis, Fate)> {
    let fate = prop_oneof![
        4 => (0..4u64).prop_map(Fate::Start),
        2 => (0..4u64).prop_map(Fate::Kill),
        1 => (0..4u64).prop_map(Fate::Stop),
        2 => (0..4u64, 100..40_000u64).prop_map(|(who, long)| Fate::Pause(who, long)),
        1 => (0..4u64).prop_map(Fate::DeleteLease),
    ];
    (1..30_000u64, fate)
}

fn befall(world: &mut World, fate: &Fate) {
    match fate {
        Fate::Start(who) => {
            if !world.nodes.contains_key(&id(*who)) {
                world.start(&id(*who));
            }
        }
        Fate::Kill(who) => {
            world.nodes.remove(&id(*who));
        }
        Fate::Stop(who) => {
            if world.nodes.contains_key(&id(*who)) {
                world.send(&id(*who), 0, Arrival::Machine(Event::Stop));
            }
        }
        Fate::Pause(who, long) => {
            let now = world.now;
            if let Some(node) = world.nodes.get_mut(&id(*who)) {
                node.paused_until = now + long;
            }
        }
        Fate::DeleteLease(who) => world.delete_lease(&id(*who)),
    }
}

/// Checks that, after long enough without faults, the live replicas share everything evenly and each works on what it holds.
fn all_is_shared(world: &World) -> Result<(), TestCaseError> {
    let mut all = ShardSet::NONE;
    for (id, node) in &world.nodes {
        let held = world.table.table.held_by(id);
        let even = 128 / u32::try_from(world.nodes.len()).expect("few");
        prop_assert!(node.open_until > world.now, "{id} may not write");
        prop_assert_eq!(node.active, held, "{} works on what it holds", id);
        prop_assert!((even..=even + 1).contains(&held.len()), "{id} holds {held}");
        all = all.or(held);
    }
    prop_assert_eq!(all, ShardSet::ALL);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn two_never_work_on_one_shard_and_in_the_end_all_are_worked_on(
        seed in any::<u64>(),
        fates in prop::collection::vec(any_fate(), 0..25),
    ) {
        let mut world = World::new(seed);
        world.start(&id(0));
        for (after, fate) in &fates {
            let until = world.now + after;
            world.run(until).map_err(TestCaseError::fail)?;
            befall(&mut world, fate);
        }
        // Things calm down. Replicas that were told to stop are gone by then, so one is started if none is left.
        world.calm = true;
        let until = world.now + 200_000;
        world.run(until).map_err(TestCaseError::fail)?;
        if world.nodes.is_empty() {
            world.start(&id(9));
        }
        let until = world.now + 100_000;
        world.run(until).map_err(TestCaseError::fail)?;
        all_is_shared(&world)?;
        // In the steady state, only renewals are written.
        let writes = world.writes;
        let until = world.now + 300_000;
        world.run(until).map_err(TestCaseError::fail)?;
        prop_assert_eq!(world.writes, writes);
        prop_assert!(world.leases.keys().all(|id| world.nodes.contains_key(id)), "the dead are forgotten");
    }
}

/// A replica that is asked to stop hands everything over without waiting for its lease to expire.
#[test]
fn a_graceful_stop_hands_over_at_once() {
    let mut world = World::new(1);
    world.calm = true;
    world.start(&id(0));
    world.start(&id(1));
    world.run(60_000).expect("one at a time");
    assert_eq!(world.table.table.held_by(&id(0)).len(), 64);
    world.send(&id(0), 0, Arrival::Machine(Event::Stop));
    // Finishing work takes up to nine seconds in this world.
    world.run(60_000 + 10_000).expect("one at a time");
    assert!(!world.nodes.contains_key(&id(0)));
    assert_eq!(world.table.table.held_by(&id(1)), ShardSet::ALL);
    assert_eq!(world.nodes[&id(1)].active, ShardSet::ALL);
}

#[test]
fn a_dead_replica_is_replaced_when_its_lease_has_ended() {
    let mut world = World::new(2);
    world.calm = true;
    world.start(&id(0));
    world.start(&id(1));
    world.run(60_000).expect("one at a time");
    world.nodes.remove(&id(0));
    world
        .run(60_000 + DURATION - RENEWAL - 100)
        .expect("one at a time");
    assert_eq!(world.table.table.held_by(&id(1)).len(), 64);
    world.run(60_000 + DURATION + 1000).expect("one at a time");
    assert_eq!(world.nodes[&id(1)].active, ShardSet::ALL);
}

#[test]
fn one_that_was_robbed_stops_until_its_work_has_ended() {
    let mut world = World::new(3);
    world.calm = true;
    world.start(&id(0));
    world.run(30_000).expect("one at a time");
    assert_eq!(world.nodes[&id(0)].active, ShardSet::ALL);
    world.version += 1;
    world.table = Stored {
        table: Table::all_held_by(ReplicaId::new("a thief")),
        version: world.version,
        exists: true,
    };
    world.tell_all_of_table();
    world.run(30_100).expect("one at a time");
    assert_eq!(world.nodes[&id(0)].open_until, 0);
    // The thief never renews anything.
    world.run(30_000 + DURATION + 1000).expect("one at a time");
    assert_eq!(world.nodes[&id(0)].active, ShardSet::ALL);
    assert!(world.nodes[&id(0)].open_until > world.now);
}

#[test]
fn a_table_that_was_deleted_is_made_again_as_it_was() {
    let mut world = World::new(4);
    world.calm = true;
    world.start(&id(0));
    world.start(&id(1));
    world.run(60_000).expect("one at a time");
    let before = world.table.table.clone();
    world.version += 1;
    world.table = Stored {
        table: Table::default(),
        version: world.version,
        exists: false,
    };
    world.tell_all_of_table();
    world.run(70_000).expect("one at a time");
    assert!(world.table.exists);
    assert_eq!(world.table.table, before);
}

/// The table was read before another replica created it, and the answer came after the watch had reported it.
#[test]
fn an_answer_that_comes_too_late_does_not_hide_the_table_for_ever() {
    let table = |version, exists| Stored {
        table: Table::default(),
        version,
        exists,
    };
    let mut replica = Replica::new(id(0), DURATION);
    let mut read = |number, stored| {
        let stored = Some(stored);
        replica.step(Event::Read { number, stored }, 0)
    };
    assert!(read(1, table(0, false)).is_empty());
    assert!(read(2, table(7, true)).is_empty());
    assert!(read(3, table(0, false)).is_empty());
    assert!(read(4, table(7, true)).is_empty());
    let renewed = Event::Renewed {
        sent: 0,
        lapsed: true,
    };
    let effects = replica.step(renewed, 0);
    let replaced = effects.into_iter().find_map(|effect| match effect {
        Effect::Write { replaces, .. } => Some(replaces),
        _ => None,
    });
    assert_eq!(replaced, Some(Some(7)));
}

/// The replica may have renewed just before its Lease was deleted, and may write on that basis, although nobody saw the renewal.
#[test]
fn from_one_whose_lease_somebody_deleted_is_taken_a_duration_later() {
    let owner = ReplicaId::new("owner");
    let mut taker = Replica::new(id(0), DURATION);
    let mut stored = Stored {
        table: Table::all_held_by(owner.clone()),
        version: 1,
        exists: true,
    };
    let (deleted, mut robbery) = (14_000, None);
    for now in (0..2 * DURATION).step_by(500) {
        let mut events = vec![Event::Tick];
        if now % RENEWAL == 0 {
            let (sent, lapsed) = (now, now == 0);
            events.push(Event::Renewed { sent, lapsed });
        }
        if now == 0 {
            events.push(Event::Member {
                replica: owner.clone(),
                renewal: "1".to_owned(),
                duration: DURATION,
            });
        }
        if now == deleted {
            events.push(Event::MemberGone(owner.clone()));
        }
        while let Some(event) = events.pop() {
            for effect in taker.step(event, now) {
                match effect {
                    Effect::Read { number } => events.push(Event::Read {
                        number,
                        stored: Some(stored.clone()),
                    }),
                    Effect::Work { number, shards } => events.push(Event::Busy { number, shards }),
                    Effect::Write { table, robbed, .. } => {
                        if !robbed.is_empty() {
                            robbery = robbery.or(Some((now, robbed)));
                        }
                        stored = Stored {
                            table,
                            version: stored.version + 1,
                            exists: true,
                        };
                        // The last one is handled first.
                        events.push(Event::Wrote { done: true });
                        events.push(Event::Table(stored.clone()));
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(
        robbery,
        Some((deleted + DURATION, [(owner, None)].into_iter().collect()))
    );
}
