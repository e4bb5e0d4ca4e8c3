//! When drift is repaired at once, when the repair waits, and when it is called a fight.
//!
//! A repair that the same manager undoes at the same field again and again helps nobody: each side's write causes the other's.
//! From the third repair on, repairs of such an object wait, longer each time, and both sides are named. Once the other side has
//! stopped for long enough, the fight ends by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{DriftMode, DriftedObject, FieldPointer};
use crate::{
    digest::{Digest, Digester},
    machine::Millis,
    object::ObjectId,
};

/// The current state of an object that has drifted: its UID and the digest over the fields that the application owns, or `None`
/// if it is gone. Tells one drift from the next.
pub type Sight = Option<(String, Option<Digest>)>;

/// The number of repairs in a row from which on it is a fight.
const FIGHT: u32 = 3;
/// The first pause between the repairs of a fight. It doubles with each further repair.
pub const FIRST_TRUCE: Duration = Duration::from_secs(10);
/// The longest pause.
pub const LONGEST_TRUCE: Duration = Duration::from_mins(10);
/// A repair that holds for this long, and for twice the last pause, counts as not undone.
pub const QUIET: Duration = Duration::from_mins(1);

/// A repair that keeps being undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fight {
    /// The object that is fought over.
    pub id: ObjectId,
    /// The other side: each manager with a field that it keeps changing. Empty if the object keeps being deleted.
    pub opponents: BTreeSet<(String, FieldPointer)>,
    /// The number of repairs in a row.
    pub repairs: u32,
    /// When the object is repaired next, if the repair is undone again.
    pub until: Millis,
}

/// What has to be done about drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// Whether there is something to repair or report now.
    pub is_now: bool,
    /// When to look again if nothing happens before then.
    pub at: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dispute {
    opponents: BTreeSet<(String, FieldPointer)>,
    repairs: u32,
    last: Millis,
}

/// The history of an application's drift so far. It is lost with the process; counting then starts anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disputes {
    open: BTreeMap<ObjectId, Dispute>,
    /// Drift that was left as it is and has been reported.
    told: BTreeMap<ObjectId, Sight>,
    /// The objects that the last plan found deleted and left so. The plan may know this from the server while a broken watch
    /// keeps drift from being reported.
    found_gone: BTreeSet<ObjectId>,
    /// The objects that the last plan found as applied although watches reported drift, each with the report that was checked.
    cleared: BTreeMap<ObjectId, String>,
    /// The fights that have been reported.
    told_fights: BTreeSet<ObjectId>,
    /// The objects that were out of sight and have been looked for.
    sought: BTreeSet<ObjectId>,
}

impl Disputes {
    /// Returns what has to be done about the current drift, and ends the fights that are over.
    pub fn look(&mut self, drift: &BTreeMap<ObjectId, Sight>, mode: DriftMode, now: Millis) -> Due {
        self.open
            .retain(|id, dispute| drift.contains_key(id) || now < dispute.ends(id));
        let mut due = Due {
            // Drift that was reported and no longer exists has to be reported as well.
            is_now: self.told.keys().any(|id| !drift.contains_key(id)),
            at: None,
        };
        for (id, sight) in drift {
            let is_left = mode == DriftMode::Report || self.is_held(id, now);
            due.is_now |= !is_left || self.told.get(id) != Some(sight);
        }
        let fights: BTreeSet<&ObjectId> = self.fights().map(|(id, _)| id).collect();
        due.is_now |= !self.told_fights.iter().eq(fights);
        let next = self.open.iter().filter_map(|(id, dispute)| {
            if drift.contains_key(id) {
                (mode == DriftMode::Repair).then(|| dispute.until(id))
            } else {
                Some(dispute.ends(id))
            }
        });
        due.at = next.filter(|time| *time > now).min();
        due
    }

    /// Returns the objects whose repair is waiting at `now`.
    pub fn held(&self, now: Millis) -> BTreeSet<ObjectId> {
        let held = self.open.keys().filter(|id| self.is_held(id, now));
        held.cloned().collect()
    }

    /// Returns the objects that are deleted and left so, either as reported or as the last plan found.
    pub fn gone(&self) -> BTreeSet<ObjectId> {
        let told = self.told.iter().filter(|(_, sight)| sight.is_none());
        let told = told.map(|(id, _)| id);
        told.chain(&self.found_gone).cloned().collect()
    }

    /// Returns the ongoing fights in order of identity.
    pub fn going_on(&self) -> Vec<Fight> {
        let fight = |(id, dispute): (&ObjectId, &Dispute)| Fight {
            id: id.clone(),
            opponents: dispute.opponents.clone(),
            repairs: dispute.repairs,
            until: dispute.until(id),
        };
        self.fights().map(fight).collect()
    }

    /// Records what a run repaired, which drift it left and reported, and which fights it reported.
    pub fn ran(
        &mut self,
        repaired: &[DriftedObject],
        left: BTreeMap<ObjectId, Sight>,
        fights: BTreeSet<ObjectId>,
        now: Millis,
    ) {
        self.told = left;
        self.told_fights = fights;
        for object in repaired {
            self.repaired(object, now);
        }
    }

    /// Records all objects that a run found deleted and left so, replacing what the previous run found.
    pub fn found_gone(&mut self, gone: BTreeSet<ObjectId>) {
        self.found_gone = gone;
    }

    /// Records all objects that a run found as applied although drift was reported for them, each with the report that was
    /// checked. Replaces what the previous run found.
    pub fn cleared(&mut self, cleared: BTreeMap<ObjectId, String>) {
        self.cleared = cleared;
    }

    /// Returns whether a run has already looked at an object because of this very report and found nothing to repair. Another run
    /// would find nothing again: whatever reports the drift is behind, or wrong.
    pub fn is_cleared(&self, id: &ObjectId, telling: &str) -> bool {
        self.cleared.get(id).is_some_and(|known| known == telling)
    }

    /// Ends all fights: nothing is repaired automatically any more, so there is nothing to undo.
    pub fn surrender(&mut self) {
        self.open.clear();
    }

    /// Returns whether there is an object to look for that left the source and is now out of sight: it is gone, another owner has
    /// taken it over, or only its label is missing. No repair brings such an object back into sight, so an object that has been
    /// looked for is not looked for again until it has been in sight in between.
    pub fn misses(&mut self, out_of_sight: &BTreeSet<ObjectId>) -> bool {
        self.sought.retain(|id| out_of_sight.contains(id));
        self.sought != *out_of_sight
    }

    /// Records what was out of sight before a run looked for it.
    pub fn sought(&mut self, out_of_sight: BTreeSet<ObjectId>) {
        self.sought = out_of_sight;
    }

    fn repaired(&mut self, object: &DriftedObject, now: Millis) {
        let opponents: BTreeSet<_> = object
            .fields
            .iter()
            .filter_map(|field| Some((field.by.as_ref()?.manager.clone(), field.pointer.clone())))
            .collect();
        let before = self.open.get(&object.id);
        let again = before.filter(|before| now < before.ends(&object.id));
        let next = match again {
            Some(before) if before.opponents.is_empty() && opponents.is_empty() => Dispute {
                opponents,
                repairs: before.repairs.saturating_add(1),
                last: now,
            },
            Some(before) if !before.opponents.is_disjoint(&opponents) => Dispute {
                opponents: before.opponents.intersection(&opponents).cloned().collect(),
                repairs: before.repairs.saturating_add(1),
                last: now,
            },
            _ => Dispute {
                opponents,
                repairs: 1,
                last: now,
            },
        };
        self.open.insert(object.id.clone(), next);
    }

    fn is_held(&self, id: &ObjectId, now: Millis) -> bool {
        self.open
            .get(id)
            .is_some_and(|dispute| now < dispute.until(id))
    }

    fn fights(&self) -> impl Iterator<Item = (&ObjectId, &Dispute)> {
        self.open
            .iter()
            .filter(|(_, dispute)| dispute.repairs >= FIGHT)
    }
}

impl Dispute {
    /// Returns how long the next repair waits after the last one.
    fn pause(&self, id: &ObjectId) -> Duration {
        let Some(doublings) = self.repairs.checked_sub(FIGHT) else {
            return Duration::ZERO;
        };
        let pause = FIRST_TRUCE
            .saturating_mul(1 << doublings.min(16))
            .min(LONGEST_TRUCE);
        // Spreads the repairs, so that objects whose fights began together are not repaired together.
        let spread = Digester::new("truce")
            .part(id.to_string())
            .part(self.repairs.to_be_bytes())
            .finish()
            .as_bytes()[0];
        pause.mul_f64(1.0 - f64::from(spread) / 1024.0)
    }

    fn until(&self, id: &ObjectId) -> Millis {
        after(self.last, self.pause(id))
    }

    /// Returns the time from which on the last repair counts as not undone.
    fn ends(&self, id: &ObjectId) -> Millis {
        after(self.last, QUIET.max(self.pause(id) * 2))
    }
}

fn after(time: Millis, pause: Duration) -> Millis {
    time.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{DriftedField, Opponent};
    use proptest::prelude::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: name.into(),
        }
    }

    fn changed(name: &str, manager: &str, field: &str) -> DriftedObject {
        DriftedObject {
            id: id(name),
            is_gone: false,
            fields: vec![DriftedField {
                pointer: field.parse().unwrap(),
                by: Some(Opponent {
                    manager: manager.into(),
                    time: String::new(),
                }),
            }],
            is_left: false,
        }
    }

    fn drift(name: &str, now: u64) -> BTreeMap<ObjectId, Sight> {
        let digest = Digest::of(now.to_string());
        [(id(name), Some(("u".into(), Some(digest))))].into()
    }

    /// Simulates an application that repairs when due, against someone who undoes each repair, until a given time. Returns the
    /// times of the repairs.
    fn play(
        disputes: &mut Disputes,
        object: &DriftedObject,
        from: Millis,
        end: Millis,
    ) -> Vec<Millis> {
        let (mut now, mut repairs) = (from, Vec::new());
        while now < end {
            let drift = drift(&object.id.name, repairs.len() as u64);
            let due = disputes.look(&drift, DriftMode::Repair, now);
            if due.is_now {
                let held = disputes.held(now);
                let fights = disputes
                    .going_on()
                    .into_iter()
                    .map(|fight| fight.id)
                    .collect();
                let left = drift
                    .into_iter()
                    .filter(|(id, _)| held.contains(id))
                    .collect();
                if held.is_empty() {
                    repairs.push(now);
                    disputes.ran(std::slice::from_ref(object), left, fights, now);
                } else {
                    disputes.ran(&[], left, fights, now);
                }
                now += 1;
            } else {
                now = due.at.expect("what is held is held until a time");
            }
        }
        repairs
    }

    #[test]
    fn a_repair_that_keeps_being_undone_waits_longer_and_longer_and_is_called_a_fight() {
        let mut disputes = Disputes::default();
        let object = changed("a", "eve", "/data/k");
        let repairs = play(&mut disputes, &object, 0, 60_000);
        assert!(repairs[..3].iter().all(|time| *time < 10), "{repairs:?}");
        assert!(repairs.len() < 8, "{repairs:?}");
        let [fight] = &disputes.going_on()[..] else {
            panic!("{disputes:?}")
        };
        assert_eq!(
            fight.opponents,
            [("eve".to_owned(), "/data/k".parse().unwrap())].into()
        );
        assert_eq!(fight.repairs as usize, repairs.len());
        assert!(fight.until > *repairs.last().unwrap());
    }

    #[test]
    fn it_ends_by_itself_and_what_comes_then_is_put_right_at_once() {
        let mut disputes = Disputes::default();
        let object = changed("a", "eve", "/data/k");
        play(&mut disputes, &object, 0, 30_000);
        // The last repair holds.
        let none = BTreeMap::new();
        let fights: BTreeSet<_> = disputes
            .going_on()
            .into_iter()
            .map(|fight| fight.id)
            .collect();
        disputes.ran(&[], none.clone(), fights, 30_000);
        let due = disputes.look(&none, DriftMode::Repair, 30_001);
        assert!(!due.is_now && !disputes.going_on().is_empty());
        let end = due.at.unwrap();
        assert!(
            disputes.look(&none, DriftMode::Repair, end).is_now,
            "its end is told"
        );
        assert!(disputes.going_on().is_empty());
        disputes.ran(&[], none, BTreeSet::new(), end);
        assert!(disputes.look(&drift("a", 9), DriftMode::Repair, end).is_now);
        assert!(disputes.held(end).is_empty());
    }

    #[test]
    fn nobody_fights_who_puts_nothing_right_and_that_is_told() {
        let mut disputes = Disputes::default();
        play(&mut disputes, &changed("a", "eve", "/data/k"), 0, 30_000);
        let seen = drift("a", 9);
        let fights = disputes.going_on().into_iter().map(|fight| fight.id);
        let fights = fights.collect();
        disputes.ran(&[], seen.clone(), fights, 30_000);
        let look = |disputes: &mut Disputes| disputes.look(&seen, DriftMode::Report, 30_001);
        assert!(!look(&mut disputes).is_now);
        disputes.surrender();
        assert!(look(&mut disputes).is_now, "its end is told");
        assert!(disputes.going_on().is_empty());
        disputes.ran(&[], seen.clone(), BTreeSet::new(), 30_002);
        assert_eq!(look(&mut disputes), Due::default());
        assert_eq!(disputes.told, seen);
    }

    #[test]
    fn an_object_that_keeps_being_deleted_is_fought_for_too() {
        let mut disputes = Disputes::default();
        let object = DriftedObject {
            is_gone: true,
            fields: Vec::new(),
            ..changed("a", "eve", "/x")
        };
        play(&mut disputes, &object, 0, 1000);
        assert!(disputes.going_on()[0].opponents.is_empty());
    }

    #[test]
    fn what_is_only_reported_is_told_once_and_its_end_too() {
        let mut disputes = Disputes::default();
        let look = |disputes: &mut Disputes, drift: &BTreeMap<_, _>| {
            disputes.look(drift, DriftMode::Report, 5)
        };
        let seen = drift("a", 1);
        assert!(look(&mut disputes, &seen).is_now);
        disputes.ran(&[], seen.clone(), BTreeSet::new(), 5);
        assert_eq!(look(&mut disputes, &seen), Due::default());
        assert!(
            look(&mut disputes, &drift("a", 2)).is_now,
            "it changed again"
        );
        assert!(
            look(&mut disputes, &BTreeMap::new()).is_now,
            "it is as it was"
        );
        disputes.ran(&[], [(id("b"), None)].into(), BTreeSet::new(), 5);
        assert_eq!(disputes.gone(), [id("b")].into());
    }

    #[test]
    fn what_is_found_gone_while_nobody_watches_is_gone_and_no_news() {
        let mut disputes = Disputes::default();
        let look = |disputes: &mut Disputes, drift: &BTreeMap<_, _>| {
            disputes.look(drift, DriftMode::Report, 5)
        };
        let (seen, unseen) = (BTreeMap::from([(id("a"), None)]), BTreeMap::new());
        disputes.ran(&[], seen.clone(), BTreeSet::new(), 5);
        disputes.found_gone([id("a")].into());
        assert_eq!(look(&mut disputes, &seen), Due::default());
        // The watch breaks, and a run asks the server.
        assert!(look(&mut disputes, &unseen).is_now);
        disputes.ran(&[], unseen.clone(), BTreeSet::new(), 5);
        disputes.found_gone([id("a")].into());
        assert_eq!(look(&mut disputes, &unseen), Due::default());
        assert_eq!(disputes.gone(), [id("a")].into());
        // The watch works again.
        assert!(look(&mut disputes, &seen).is_now);
        // Someone creates the object again.
        disputes.ran(&[], unseen.clone(), BTreeSet::new(), 5);
        disputes.found_gone(BTreeSet::new());
        assert_eq!(look(&mut disputes, &unseen), Due::default());
        assert!(disputes.gone().is_empty());
    }

    #[test]
    fn what_left_the_source_is_looked_for_once_each_time_that_it_goes_out_of_sight() {
        let mut disputes = Disputes::default();
        let both: BTreeSet<_> = [id("a"), id("b")].into();
        let one: BTreeSet<_> = [id("a")].into();
        assert!(!disputes.misses(&BTreeSet::new()));
        assert!(disputes.misses(&one) && disputes.misses(&one));
        disputes.sought(one.clone());
        assert!(!disputes.misses(&one), "it was not found, and stays");
        assert!(disputes.misses(&both), "another is missed");
        disputes.sought(both.clone());
        assert!(!disputes.misses(&both) && !disputes.misses(&one));
        assert!(disputes.misses(&both), "it was in sight in between");
        assert!(disputes.told.is_empty() && disputes.gone().is_empty());
    }

    #[test]
    fn what_a_run_has_found_as_it_should_be_is_looked_at_again_only_when_it_is_told_anew() {
        let mut disputes = Disputes::default();
        assert!(!disputes.is_cleared(&id("a"), "7"));
        disputes.cleared([(id("a"), "7".to_owned())].into());
        assert!(disputes.is_cleared(&id("a"), "7"));
        assert!(!disputes.is_cleared(&id("a"), "8"), "it was told anew");
        assert!(!disputes.is_cleared(&id("b"), "7"));
        disputes.cleared(BTreeMap::new());
        assert!(
            !disputes.is_cleared(&id("a"), "7"),
            "a later run found it otherwise"
        );
    }

    proptest! {
        #[test]
        fn others_at_other_fields_are_no_fight(steps in prop::collection::vec((0..3u8, 0..3u8), 1..30)) {
            let mut disputes = Disputes::default();
            let mut last = None;
            for (now, step) in steps.into_iter().enumerate() {
                if last == Some(step) { continue }
                last = Some(step);
                let object = changed("a", &format!("m{}", step.0), &format!("/f{}", step.1));
                let now = now as u64;
                prop_assert!(disputes.look(&drift("a", now), DriftMode::Repair, now).is_now);
                prop_assert!(disputes.held(now).is_empty());
                disputes.ran(&[object], BTreeMap::new(), BTreeSet::new(), now);
            }
            prop_assert!(disputes.going_on().is_empty());
        }

        #[test]
        fn a_day_of_fighting_costs_little_and_never_stops_for_good(offset in 0..1_000_000u64) {
            const DAY: Millis = 24 * 3600 * 1000;
            let mut disputes = Disputes::default();
            let repairs = play(&mut disputes, &changed("a", "eve", "/data/k"), offset, offset + DAY);
            prop_assert!(repairs.len() < 220, "{} repairs", repairs.len());
            let longest = u64::try_from(LONGEST_TRUCE.as_millis()).unwrap();
            prop_assert!(repairs.windows(2).all(|pair| pair[1] - pair[0] <= longest + 10));
            prop_assert!(offset + DAY - repairs.last().unwrap() <= longest + 10);
        }

        #[test]
        fn whatever_happened_drift_is_due_in_the_end(
            events in prop::collection::vec((any::<bool>(), 0..3u8, 0..60_000u64), 0..40), mode in any::<bool>(),
        ) {
            let mode = if mode { DriftMode::Repair } else { DriftMode::Report };
            let (mut disputes, mut now) = (Disputes::default(), 0);
            for (index, (is_there, manager, pause)) in events.into_iter().enumerate() {
                now += pause;
                let drift = if is_there { drift("a", index as u64) } else { BTreeMap::new() };
                if disputes.look(&drift, mode, now).is_now {
                    let fights = disputes.going_on().into_iter().map(|fight| fight.id).collect();
                    if mode == DriftMode::Report || disputes.held(now).contains(&id("a")) {
                        disputes.ran(&[], drift, fights, now);
                    } else if is_there {
                        disputes.ran(&[changed("a", &format!("m{manager}"), "/f")], BTreeMap::new(), fights, now);
                    } else {
                        disputes.ran(&[], BTreeMap::new(), fights, now);
                    }
                }
            }
            let new = drift("a", 1000);
            let due = disputes.look(&new, mode, now);
            prop_assert!(due.is_now, "it is put right, or told");
            if mode == DriftMode::Repair && !disputes.held(now).is_empty() {
                let at = due.at.unwrap();
                prop_assert!(disputes.look(&new, mode, at).is_now && disputes.held(at).is_empty());
            }
        }
    }
}
