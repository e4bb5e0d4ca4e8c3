use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    hook::{Hook, HookEvent},
    object::ObjectId,
    release::{Candidate, ReleaseRecord},
};

fn id(kind: &str, name: &str) -> ObjectId {
    ObjectId {
        group: if kind == "Job" { "batch" } else { "" }.into(),
        kind: kind.into(),
        namespace: Some("n".into()),
        name: name.into(),
    }
}

fn run(id: ObjectId, deletion: &[HookDeletion]) -> HookRun {
    let record = ReleaseRecord::next(
        None,
        false,
        Candidate {
            rendered: Digest::of("render"),
            tells_rollbacks: false,
        },
    );
    HookRun {
        ticket: record.ticket(HookEvent::PreInstall, &id, Digest::of(&id.name), ""),
        hook: Hook {
            events: [HookEvent::PreInstall].into(),
            deletion: deletion.iter().copied().collect(),
            ..Hook::default()
        },
        id,
    }
}

fn present(ticket: Option<Digest>, state: HookState) -> Event {
    Event::Found(Sighting::Present { ticket, state })
}

#[test]
fn what_is_found_decides_what_is_done() {
    use HookDeletion::{BeforeCreation, Succeeded};
    let job = run(id("Job", "a"), &[]);
    let next = |run: &HookRun, event: Event| {
        Stage::new(vec![run.clone()], BTreeSet::new())
            .step(event)
            .effect()
    };
    let failed = || HookState::Failed("no".into());
    let ours = Some(job.ticket);
    assert_eq!(next(&job, Event::Found(Sighting::Absent)), Effect::Make(0));
    assert_eq!(
        next(&job, present(ours, HookState::Running)),
        Effect::Await(0)
    );
    assert_eq!(
        next(&job, present(ours, HookState::Succeeded)),
        Effect::Await(0)
    );
    assert_eq!(next(&job, present(ours, failed())), Effect::Delete(0));
    assert_eq!(
        next(&job, present(None, HookState::Running)),
        Effect::Delete(0)
    );
    let kept = run(id("Job", "a"), &[Succeeded]);
    assert_eq!(
        next(&kept, present(None, HookState::Succeeded)),
        Effect::Delete(0),
        "a Job that has ended cannot run again"
    );
    let map = |deletion: &[HookDeletion]| run(id("ConfigMap", "a"), deletion);
    let there = || present(None, HookState::Succeeded);
    assert_eq!(next(&map(&[]), there()), Effect::Delete(0));
    assert_eq!(next(&map(&[BeforeCreation]), there()), Effect::Delete(0));
    assert_eq!(next(&map(&[Succeeded]), there()), Effect::Make(0));
    let namespace = run(id("Namespace", "a"), &[BeforeCreation]);
    assert_eq!(next(&namespace, there()), Effect::Make(0));
}

#[test]
fn a_failure_ends_it_and_cleans_up_what_had_succeeded() {
    let runs = vec![
        run(id("Job", "a"), &[HookDeletion::Succeeded]),
        run(id("Job", "b"), &[HookDeletion::Failed]),
        run(id("Job", "c"), &[]),
    ];
    let stage = Stage::new(runs.clone(), [runs[0].ticket].into())
        .step(Event::Found(Sighting::Absent))
        .step(Event::Made)
        .step(Event::Ended(Err("no luck".into())));
    assert_eq!(stage.effect(), Effect::CleanUp(1));
    let stage = stage.step(Event::Gone);
    assert_eq!(stage.effect(), Effect::CleanUp(0));
    let stage = stage.step(Event::Gone);
    assert_eq!(stage.effect(), Effect::Failed(1, "no luck".into()));
}

/// A cluster and the record next to it: everything that survives a crash.
#[derive(Default)]
struct World {
    objects: BTreeMap<ObjectId, (Digest, HookState)>,
    succeeded: BTreeSet<Digest>,
    made: Vec<Digest>,
    failed: BTreeMap<Digest, usize>,
}

impl World {
    /// Performs an effect. `fails` decides how an awaited hook ends.
    fn perform(&mut self, runs: &[HookRun], effect: &Effect, fails: bool) -> Option<Event> {
        Some(match effect {
            Effect::Look(at) => Event::Found(match self.objects.get(&runs[*at].id) {
                None => Sighting::Absent,
                Some((ticket, state)) => Sighting::Present {
                    ticket: Some(*ticket),
                    state: state.clone(),
                },
            }),
            Effect::Delete(at) => {
                self.objects.remove(&runs[*at].id);
                Event::Gone
            }
            Effect::CleanUp(at) => {
                let run = &runs[*at];
                if self
                    .objects
                    .get(&run.id)
                    .is_some_and(|(ticket, _)| *ticket == run.ticket)
                {
                    self.objects.remove(&run.id);
                }
                Event::Gone
            }
            Effect::Make(at) => {
                let run = &runs[*at];
                assert!(
                    !self.objects.contains_key(&run.id),
                    "never on top of another"
                );
                let before = &runs[..*at];
                assert!(
                    before
                        .iter()
                        .all(|run| self.succeeded.contains(&run.ticket)),
                    "in order"
                );
                self.objects
                    .insert(run.id.clone(), (run.ticket, HookState::Running));
                self.made.push(run.ticket);
                Event::Made
            }
            Effect::Await(at) => {
                let run = &runs[*at];
                let (ticket, state) = self.objects.get_mut(&run.id).expect("it was made");
                assert_eq!(*ticket, run.ticket);
                if *state == HookState::Running {
                    *state = if fails {
                        *self.failed.entry(run.ticket).or_default() += 1;
                        HookState::Failed("no".into())
                    } else {
                        HookState::Succeeded
                    };
                }
                Event::Ended(match state {
                    HookState::Failed(why) => Err(why.clone()),
                    _ => Ok(()),
                })
            }
            Effect::Record(at) => {
                self.succeeded.insert(runs[*at].ticket);
                Event::Recorded
            }
            Effect::Succeeded | Effect::Failed(..) => return None,
        })
    }
}

fn deletion() -> impl Strategy<Value = Vec<HookDeletion>> {
    use HookDeletion::{BeforeCreation, Failed, Succeeded};
    prop::sample::subsequence(vec![BeforeCreation, Succeeded, Failed], 0..=3)
}

proptest! {
    /// Killed at any point, before or after an effect was performed, hooks run in order and each of them once. Only hooks that
    /// failed run once more for each failure.
    #[test]
    fn crashes_repeat_nothing_and_skip_nothing(
        deletions in prop::collection::vec(deletion(), 1..5),
        fates in prop::collection::vec((any::<bool>(), 0..12_u8), 0..60),
        leftover in any::<bool>(),
    ) {
        let runs: Vec<HookRun> = deletions
            .iter()
            .enumerate()
            .map(|(index, deletion)| run(id("Job", &format!("j{index}")), deletion))
            .collect();
        let mut world = World::default();
        if leftover {
            world.objects.insert(runs[0].id.clone(), (Digest::of("before"), HookState::Succeeded));
        }
        let mut fates = fates.into_iter();
        let mut stage = Stage::new(runs.clone(), world.succeeded.clone());
        for _ in 0..1000 {
            let effect = stage.effect();
            let (fails, crash) = fates.next().unwrap_or((false, 9));
            if crash == 0 {
                stage = Stage::new(runs.clone(), world.succeeded.clone());
                continue;
            }
            match world.perform(&runs, &effect, fails) {
                _ if crash == 1 => stage = Stage::new(runs.clone(), world.succeeded.clone()),
                Some(event) => stage = stage.step(event),
                None if effect == Effect::Succeeded => break,
                // The next attempt begins.
                None => stage = Stage::new(runs.clone(), world.succeeded.clone()),
            }
        }
        prop_assert_eq!(stage.effect(), Effect::Succeeded);
        for run in &runs {
            let made = world.made.iter().filter(|ticket| **ticket == run.ticket).count();
            let failed = world.failed.get(&run.ticket).copied().unwrap_or_default();
            prop_assert_eq!(made, 1 + failed);
            let is_left = world.objects.contains_key(&run.id);
            prop_assert_eq!(is_left, !run.hook.is_deleted(HookDeletion::Succeeded));
        }
    }
}
