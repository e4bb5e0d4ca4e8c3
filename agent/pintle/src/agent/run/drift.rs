//! Drift in a run: what is repaired, what is left as it is, and how both are reported.

use std::collections::{BTreeMap, BTreeSet};

use pintle_cluster::Application;
use pintle_cluster::{Drift, Leave, Planned, Release};
use pintle_core::{
    application::{ApplicationSpec, FightStatus, ObjectDrift},
    drift::{DriftMode, DriftedObject, Fight},
    event::Reason,
    names::ApplicationName,
    object::ObjectId,
    plan::Action,
};
use serde_json::{Value, json};

use super::{converge::Run, tell};
use crate::{
    agent::{
        drift::{DriftReport, left_unseen, sights},
        metrics::ApplicationLabels,
        report::{object_document, time_text},
    },
    pipeline::time_of_day,
};

/// The maximum number of fields that are named for one object, and of managers.
const LISTED: usize = 20;

impl Run {
    /// Sets in a release what this run does about drift.
    pub(super) fn set_drift_rules(&self, release: &mut Release, spec: &ApplicationSpec) {
        release.drift = spec.drift.clone();
        release.leaves = match spec.drift.mode {
            // A person who requests a reconciliation asks for repairs. The status may show the request as handled already, by a
            // run that made none.
            _ if self.job.repairs_for.is_some() => Leave::Nothing,
            DriftMode::Report => Leave::Everything,
            DriftMode::Repair => Leave::Objects(self.job.disputed.held.clone()),
        };
    }

    /// Keeps what a plan has found out about drift, for the status and for the controller.
    pub(super) fn learn_drift(
        &mut self,
        seen: &[Drift],
        out_of_sight: BTreeSet<ObjectId>,
        planned: &Planned,
    ) {
        let name = self.job.application.application_name();
        let fights = &self.job.disputed.fights;
        let (left, repaired): (Vec<_>, Vec<_>) = planned
            .drifted
            .iter()
            .cloned()
            .partition(|object| object.is_left);
        let cleared = cleared(seen, planned);
        let ids: BTreeSet<&ObjectId> = left.iter().map(|object| &object.id).collect();
        let mut seen = sights(seen);
        seen.retain(|id, _| ids.contains(id));
        self.learned.drift = Some(statuses(&left, fights));
        self.found.drift = Some(DriftReport {
            repaired,
            left: seen,
            told: by_id(&left),
            cleared,
            gone: left_unseen(&left, &self.shared.tracker, &name),
            fights: fights.iter().map(|fight| fight.id.clone()).collect(),
            out_of_sight,
        });
    }

    /// Counts repairs for the metrics.
    pub(super) fn count_repairs(&self, name: &ApplicationName, repairs: usize) {
        if repairs == 0 {
            return;
        }
        let labels = ApplicationLabels::of(name);
        self.shared
            .metrics
            .repairs
            .get_or_create(&labels)
            .inc_by(repairs as u64);
    }

    /// Reports what is new: repairs, drift that is left as it is, and fights that have begun or ended.
    pub(super) async fn tell_drift(&self, application: &Application, drifted: &[DriftedObject]) {
        let before = &self.before.drift;
        let fights = &self.job.disputed.fights;
        let is_fought = |object: &str| {
            let known = before.iter().find(|known| known.object == object);
            known.is_some_and(|known| known.fight.is_some())
        };
        let mut news = Vec::new();
        let repaired: Vec<&DriftedObject> = drifted
            .iter()
            .filter(|one| !one.is_left && !fights.iter().any(|fight| fight.id == one.id))
            .collect();
        news.extend(tell_repairs(&repaired).map(|told| (Reason::DriftRepaired, told)));
        let now = self.learned.drift.as_deref().unwrap_or_default();
        let left: Vec<&DriftedObject> = drifted
            .iter()
            .filter(|one| one.is_left && !fights.iter().any(|fight| fight.id == one.id))
            .filter(|one| !is_told(before, &self.job.disputed.told, one))
            .collect();
        news.extend(tell_left(&left).map(|told| (Reason::DriftDetected, told)));
        for fight in fights
            .iter()
            .filter(|fight| !is_fought(&fight.id.to_string()))
        {
            news.push((Reason::DriftFight, tell_fight(fight, &self.manager())));
        }
        for known in before.iter().filter(|known| known.fight.is_some()) {
            let goes_on = now
                .iter()
                .any(|one| one.object == known.object && one.fight.is_some());
            if !goes_on {
                let text = tell_end(known, now);
                news.push((Reason::DriftFightEnded, (text, json!({}))));
            }
        }
        for (reason, (message, details)) in news {
            let (learned, notifiers) = (&self.learned, &self.notifiers);
            tell(
                &self.shared,
                application,
                reason,
                &message,
                &details,
                learned,
                notifiers,
            )
            .await;
        }
    }

    fn manager(&self) -> String {
        self.job.application.application_name().field_manager()
    }
}

/// Returns the objects that a plan has found as applied although they were seen as drift, each with the tracker report that said
/// so.
fn cleared(seen: &[Drift], planned: &Planned) -> BTreeMap<ObjectId, String> {
    let all = planned.plan.changes().iter();
    let changed = all.filter(|change| change.action != Action::Unchanged);
    let drifted = planned.drifted.iter().map(|object| &object.id);
    let touched: BTreeSet<&ObjectId> = changed.map(|change| &change.id).chain(drifted).collect();
    let cleared = seen.iter().filter(|one| !touched.contains(&one.id));
    cleared
        .map(|one| (one.id.clone(), one.telling.clone()))
        .collect()
}

/// Returns whether drift is no news: the status has it, or it was reported when the status had no room for all of it. Otherwise
/// each run would report the rest again.
pub(super) fn is_told(
    before: &[ObjectDrift],
    told: &BTreeMap<ObjectId, ObjectDrift>,
    object: &DriftedObject,
) -> bool {
    let one = status(object, None);
    let is_same = |known: &ObjectDrift| {
        known.object == one.object && known.fields == one.fields && known.deleted == one.deleted
    };
    before.iter().any(is_same) || told.get(&object.id).is_some_and(is_same)
}

/// Returns the drift of each object.
pub(super) fn by_id(left: &[DriftedObject]) -> BTreeMap<ObjectId, ObjectDrift> {
    let one = |object: &DriftedObject| (object.id.clone(), status(object, None));
    left.iter().map(one).collect()
}

pub(super) fn statuses(left: &[DriftedObject], fights: &[Fight]) -> Vec<ObjectDrift> {
    let fight_of = |id: &ObjectId| fights.iter().find(|fight| fight.id == *id);
    let drifted = left
        .iter()
        .map(|object| status(object, fight_of(&object.id)));
    // Objects that are fought over, and are as they should be at the moment.
    let quiet = fights
        .iter()
        .filter(|fight| !left.iter().any(|object| object.id == fight.id));
    let quiet = quiet.map(|fight| ObjectDrift {
        object: fight.id.to_string(),
        deleted: fight.opponents.is_empty(),
        fields: fields(fight),
        managers: managers(fight),
        changed_at: None,
        fight: Some(fight_status(fight)),
    });
    drifted.chain(quiet).collect()
}

fn status(object: &DriftedObject, fight: Option<&Fight>) -> ObjectDrift {
    ObjectDrift {
        object: object.id.to_string(),
        deleted: object.is_gone,
        fields: listed(object.fields.iter().map(|field| field.pointer.to_string())),
        managers: listed(object.managers().into_iter().map(ToOwned::to_owned)),
        changed_at: object.time().map(ToOwned::to_owned),
        fight: fight.map(fight_status),
    }
}

fn fight_status(fight: &Fight) -> FightStatus {
    FightStatus {
        repairs: fight.repairs,
        next_repair: time_text(time_of_day(fight.until)),
    }
}

fn fields(fight: &Fight) -> Vec<String> {
    let fields: BTreeSet<String> = fight
        .opponents
        .iter()
        .map(|(_, field)| field.to_string())
        .collect();
    listed(fields.into_iter())
}

fn managers(fight: &Fight) -> Vec<String> {
    let managers: BTreeSet<&String> = fight.opponents.iter().map(|(manager, _)| manager).collect();
    listed(managers.into_iter().cloned())
}

/// Returns the first items of a list that may be too long for a status, and how many more there are.
fn listed(mut all: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let mut listed: Vec<String> = all.by_ref().take(LISTED).collect();
    match all.len() {
        0 => {}
        more => listed.push(format!("and {more} more")),
    }
    listed
}

fn more(count: usize) -> String {
    match count - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    }
}

pub(super) fn documents(objects: &[&DriftedObject]) -> Value {
    let objects: Vec<Value> = objects
        .iter()
        .map(|one| {
            let mut document = object_document(&one.id, None);
            let known = status(one, None);
            document["managers"] = json!(known.managers);
            document["fields"] = json!(known.fields);
            document["changedAt"] = json!(known.changed_at);
            document["deleted"] = json!(one.is_gone);
            document
        })
        .collect();
    json!({ "objects": objects })
}

/// Describes repairs in one line and in detail. Returns `None` if there was none.
fn tell_repairs(repaired: &[&DriftedObject]) -> Option<(String, Value)> {
    let first = repaired.first()?;
    let what = if first.is_gone {
        "had been deleted and was made again".to_owned()
    } else {
        format!("was put right after a change{}", first.by_and_fields())
    };
    let text = format!("{} {what}{}", first.id, more(repaired.len()));
    Some((text, documents(repaired)))
}

/// Describes drift that is left as it is.
fn tell_left(left: &[&DriftedObject]) -> Option<(String, Value)> {
    let what = what_drifted(left)?;
    let text = format!("{what}: left as it is until a reconciliation is asked for");
    Some((text, documents(left)))
}

/// Describes drift that is left as it is because it cannot be repaired, for how long it is left, and why.
pub(super) fn tell_unrepaired(
    left: &[&DriftedObject],
    is_tried_again: bool,
    why: &str,
) -> Option<String> {
    let what = what_drifted(left)?;
    let how_long = if is_tried_again {
        "while the newest revision is tried again"
    } else {
        "as long as the application waits for a change"
    };
    Some(format!("{what}: left as it is {how_long}, for {why}"))
}

fn what_drifted(left: &[&DriftedObject]) -> Option<String> {
    let first = left.first()?;
    let what = if first.is_gone {
        "was deleted".to_owned()
    } else {
        format!("was changed{}", first.by_and_fields())
    };
    Some(format!("{} {what}{}", first.id, more(left.len())))
}

fn tell_fight(fight: &Fight, manager: &str) -> (String, Value) {
    let text = match &managers(fight)[..] {
        [] => format!(
            "{} keeps being deleted and made again by {manager}",
            fight.id
        ),
        others => format!(
            "{}: {} and {manager} undo each other's changes of {}",
            fight.id,
            others.join(", "),
            fields(fight).join(", ")
        ),
    };
    let mut document = object_document(&fight.id, None);
    document["managers"] = json!(managers(fight));
    document["fields"] = json!(fields(fight));
    let text = format!(
        "{text}: put right {} times in a row, and from now on less and less often",
        fight.repairs
    );
    (
        text,
        json!({ "objects": [document], "repairs": fight.repairs }),
    )
}

/// Describes why a fight is over: the repair holds, or none is tried any more.
fn tell_end(known: &ObjectDrift, left: &[ObjectDrift]) -> String {
    let object = &known.object;
    if left.iter().any(|one| one.object == *object) {
        format!("{object}: it is not put right any more, and only reported")
    } else {
        format!("{object}: what was put right holds now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pintle_core::{
        application::PROBLEM_LIMIT,
        drift::{DriftedField, Opponent},
        inventory::Inventory,
        plan::{Change, Depth, Plan},
        seed::Seed,
    };

    fn object(name: &str, fields: &[(&str, &str)]) -> DriftedObject {
        let field = |(pointer, manager): &(&str, &str)| DriftedField {
            pointer: pointer.parse().unwrap(),
            by: Some(Opponent {
                manager: (*manager).to_owned(),
                time: "2026-01-01T00:00:00Z".into(),
            }),
        };
        DriftedObject {
            id: ObjectId {
                group: String::new(),
                kind: "Service".into(),
                namespace: None,
                name: name.into(),
            },
            is_gone: fields.is_empty(),
            fields: fields.iter().map(field).collect(),
            is_left: false,
        }
    }

    #[test]
    fn names_who_did_what() {
        let edit = object("a", &[("/spec/type", "kubectl-edit")]);
        let gone = object("b", &[]);
        let (text, details) = tell_repairs(&[&edit, &gone]).unwrap();
        assert_eq!(
            text,
            "Service a was put right after a change by kubectl-edit of /spec/type, and 1 more"
        );
        assert_eq!(details["objects"][0]["fields"], json!(["/spec/type"]));
        assert_eq!(details["objects"][0]["changedAt"], "2026-01-01T00:00:00Z");
        assert_eq!(details["objects"][1]["deleted"], true);
        assert_eq!(
            tell_repairs(&[&gone]).unwrap().0,
            "Service b had been deleted and was made again"
        );
        assert!(tell_repairs(&[]).is_none());
        assert_eq!(
            tell_left(&[&edit]).unwrap().0,
            "Service a was changed by kubectl-edit of /spec/type: left as it is until a reconciliation is asked for"
        );
        assert_eq!(
            tell_unrepaired(&[&gone, &edit], false, "a policy refuses it").unwrap(),
            "Service b was deleted, and 1 more: left as it is as long as the application waits for a change, for a policy refuses it"
        );
        assert_eq!(
            tell_unrepaired(&[&gone], true, "something newer was begun").unwrap(),
            "Service b was deleted: left as it is while the newest revision is tried again, for something newer was begun"
        );
    }

    #[test]
    fn what_was_seen_as_drift_and_is_neither_changed_nor_left_was_found_as_applied() {
        let id = |name: &str| object(name, &[]).id;
        let seen = ["fine", "left", "changed"].map(|name| Drift {
            id: id(name),
            managers: Vec::new(),
            is_gone: false,
            now: None,
            telling: "7".into(),
        });
        let change = |name: &str, action| Change {
            id: id(name),
            version: "v1".into(),
            action,
            desired: None,
            live: None,
            before: Value::Null,
            after: Value::Null,
            source: None,
            hook: BTreeSet::new(),
            for_removal: None,
            conflicts: Vec::new(),
        };
        let changes = vec![
            change("fine", Action::Unchanged),
            change("left", Action::Unchanged),
            change("changed", Action::Update),
        ];
        let planned = Planned {
            plan: Plan::new(Depth::Local, changes, &Seed::from_text("s")),
            inventory: Inventory::default(),
            kept: Vec::new(),
            drifted: vec![object("left", &[("/x", "eve")])],
        };
        let found = cleared(&seen, &planned);
        assert_eq!(found, [(id("fine"), "7".to_owned())].into());
    }

    #[test]
    fn a_fight_names_both_sides() {
        let mut fight = Fight {
            id: object("a", &[]).id,
            opponents: [("eve".to_owned(), "/spec/type".parse().unwrap())].into(),
            repairs: 3,
            until: 0,
        };
        let text = |fight: &Fight| tell_fight(fight, "pintle/shop/web").0;
        insta::assert_snapshot!(text(&fight), @"Service a: eve and pintle/shop/web undo each other's changes of /spec/type: put right 3 times in a row, and from now on less and less often");
        fight.opponents.clear();
        insta::assert_snapshot!(text(&fight), @"Service a keeps being deleted and made again by pintle/shop/web: put right 3 times in a row, and from now on less and less often");
    }

    #[test]
    fn a_fight_ends_because_the_repair_holds_or_because_none_is_tried_any_more() {
        let fought = status(&object("a", &[("/spec/type", "eve")]), None);
        insta::assert_snapshot!(tell_end(&fought, &[]), @"Service a: what was put right holds now");
        let left = [fought.clone()];
        insta::assert_snapshot!(tell_end(&fought, &left), @"Service a: it is not put right any more, and only reported");
    }

    #[test]
    fn drift_is_told_once_also_if_the_status_has_no_room_for_all() {
        let number = |number: usize| object(&format!("s{number:02}"), &[("/x", "eve")]);
        let all: Vec<DriftedObject> = (0..=PROBLEM_LIMIT).map(number).collect();
        let (last, listed) = all.split_last().unwrap();
        let before = statuses(listed, &[]);
        let nothing = BTreeMap::new();
        assert!(listed.iter().all(|one| is_told(&before, &nothing, one)));
        assert!(!is_told(&before, &nothing, last));
        assert!(is_told(&before, &by_id(&all), last));
    }

    #[test]
    fn what_drifts_otherwise_is_told_anew_whether_or_not_the_status_had_room_for_it() {
        let number = |number: usize| object(&format!("s{number:02}"), &[("/x", "eve")]);
        let all: Vec<DriftedObject> = (0..=PROBLEM_LIMIT).map(number).collect();
        let (last, listed) = all.split_last().unwrap();
        let (before, told) = (statuses(listed, &[]), by_id(&all));
        let is_news = |object: &DriftedObject| !is_told(&before, &told, object);
        assert!(is_news(&object("s01", &[("/y", "mallory")])));
        assert!(is_news(&object("s01", &[])));
        let rest = last.id.name.as_str();
        assert!(is_news(&object(rest, &[("/x", "eve"), ("/y", "mallory")])));
        assert!(is_news(&object(rest, &[])));
    }

    #[test]
    fn of_very_many_fields_the_first_ones_are_listed_and_how_many_more_there_are() {
        let names: Vec<String> = (100..130).map(|number| format!("/data/{number}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "eve")).collect();
        let found = status(&object("a", &fields), None);
        assert_eq!(found.fields.len(), LISTED + 1);
        assert_eq!(found.fields[LISTED], "and 10 more");
        let opponent = |name: &String| ("eve".to_owned(), name.parse().unwrap());
        let fight = Fight {
            id: object("a", &[]).id,
            opponents: names.iter().map(opponent).collect(),
            repairs: 4,
            until: 0,
        };
        assert_eq!(super::fields(&fight), found.fields);
        let exactly = status(&object("a", &fields[..LISTED]), None);
        assert_eq!(exactly.fields, names[..LISTED]);
    }

    #[test]
    fn the_status_has_what_is_left_and_what_is_fought_for() {
        let left = object("a", &[("/spec/type", "eve")]);
        let fight = |name: &str| Fight {
            id: object(name, &[]).id,
            opponents: [("bob".to_owned(), "/x".parse().unwrap())].into(),
            repairs: 4,
            until: 0,
        };
        let found = statuses(&[left], &[fight("a"), fight("b")]);
        assert_eq!(
            (found[0].managers.as_slice(), found[0].fight.is_some()),
            (&["eve".to_owned()][..], true)
        );
        assert_eq!(
            (found[1].object.as_str(), found[1].fields.as_slice()),
            ("Service b", &["/x".to_owned()][..])
        );
        assert_eq!(
            found[1].fight.as_ref().unwrap().next_repair,
            "1970-01-01T00:00:00Z"
        );
    }
}
