//! Objects that move between applications, and objects that two applications claim.

use anyhow::{Context as _, Result};
use pintle_harness::{Agent, until};
use serde_json::Value;

use crate::charts::Database;
use crate::replicas::Fleet;
use crate::world::{LIMIT, Stage, config_map};

fn uid(stage: &Stage, name: &str) -> Result<Value> {
    Ok(stage.object("ConfigMap", name)?["metadata"]["uid"].clone())
}

fn owner(stage: &Stage, name: &str) -> Result<Value> {
    Ok(stage.object("ConfigMap", name)?["metadata"]["labels"]["pintle.dev/application"].clone())
}

/// Returns the names in an application's inventory.
fn listed(stage: &Stage, application: &str) -> Result<Vec<String>> {
    let application = stage.object("Application", application)?;
    let entries = application["status"]["inventory"]["entries"]
        .as_array()
        .cloned();
    let names = entries.unwrap_or_default().into_iter();
    Ok(names
        .map(|entry| entry["name"].as_str().unwrap_or_default().to_owned())
        .collect())
}

/// Two applications of one repository, each with an object of its own and one that will move to the other application.
struct Two {
    a: String,
    b: String,
}

/// The number of applications from which two in different replicas are picked: one time in a thousand there are no such two.
const MANY: usize = 11;

impl Two {
    /// Creates both applications, reconciled by one agent.
    fn together(stage: &Stage) -> Result<Self> {
        let two = Self {
            a: "a".to_owned(),
            b: "b".to_owned(),
        };
        two.write(stage)?;
        let commit = stage.repository.push_files(&[], "two")?;
        stage.apply(&(stage.application("a", "a", "") + &stage.application("b", "b", "")))?;
        two.ready_at(stage, &commit)?;
        Ok(two)
    }

    /// Creates both applications, each reconciled by a replica of its own.
    fn apart(fleet: &Fleet) -> Result<Self> {
        let (stage, names) = (&fleet.stage, (0..MANY).map(|index| format!("app-{index}")));
        let names: Vec<String> = names.collect();
        let mut applications = String::new();
        for name in &names {
            let only = config_map(&format!("only-{name}"), "1");
            stage.repository.write(&format!("{name}/only.yaml"), only)?;
            applications += &stage.application(name, name, "");
        }
        let commit = stage.repository.push_files(&[], "many")?;
        stage.apply(&applications)?;
        for name in &names {
            stage.ready_at(name, &commit)?;
        }
        let of = |agent: &Agent| -> Result<Vec<String>> {
            let mut found = Vec::new();
            for name in &names {
                let labels = format!("{{namespace=\"{}\",name=\"{name}\"}}", stage.namespace);
                if agent.metric(&format!("pintle_application_objects{labels}"))? > 0.0 {
                    found.push(name.clone());
                }
            }
            Ok(found)
        };
        let (ours, others) = (of(&stage.agent)?, of(&fleet.others[0])?);
        assert_eq!(ours.len() + others.len(), MANY, "{ours:?} {others:?}");
        let two = Self {
            a: ours.first().context("all are the other's")?.clone(),
            b: others.first().context("all are the first one's")?.clone(),
        };
        two.write(stage)?;
        let commit = stage.push(&two.a, &[])?;
        stage.request(&two.b)?;
        two.ready_at(stage, &commit)?;
        Ok(two)
    }

    fn write(&self, stage: &Stage) -> Result<()> {
        let Self { a, b } = self;
        let files = [
            (format!("{a}/own.yaml"), config_map("own-a", "1")),
            (format!("{a}/moves.yaml"), config_map("to-b", "1")),
            (format!("{b}/own.yaml"), config_map("own-b", "1")),
            (format!("{b}/moves.yaml"), config_map("to-a", "1")),
        ];
        for (path, text) in &files {
            stage.repository.write(path, text)?;
        }
        Ok(())
    }

    fn ready_at(&self, stage: &Stage, commit: &str) -> Result<()> {
        stage.ready_at(&self.a, commit)?;
        stage.ready_at(&self.b, commit)
    }

    /// Moves an object each way in one commit that only the first application is notified of.
    fn move_both(&self, stage: &Stage) -> Result<()> {
        let Self { a, b } = self;
        let before = (uid(stage, "to-a")?, uid(stage, "to-b")?);
        let mark = stage.mark()?;
        // The objects move both ways, so whichever application runs first, one of them gives an object up before the other takes
        // it.
        let moves = format!("{b}/moves.yaml");
        stage.repository.write(&moves, config_map("to-b", "2"))?;
        let moves = format!("{a}/moves.yaml");
        let commit = stage.push(a, &[(&moves, &config_map("to-a", "2"))])?;
        self.ready_at(stage, &commit)?;
        assert_eq!((uid(stage, "to-a")?, uid(stage, "to-b")?), before);
        assert_eq!(owner(stage, "to-a")?, format!("{}.{a}", stage.namespace));
        assert_eq!(owner(stage, "to-b")?, format!("{}.{b}", stage.namespace));
        assert_eq!(stage.object("ConfigMap", "to-a")?["data"]["value"], "2");
        let writes = stage.writes_since(mark)?;
        assert!(
            !writes.keys().any(|write| write.starts_with("delete")),
            "{writes:?}"
        );
        until("each lists what it has now", LIMIT, || {
            let lists = (listed(stage, a)?, listed(stage, b)?);
            let has = |list: &[String], wanted: [&str; 2], not: &str| {
                wanted.iter().all(|name| list.iter().any(|one| one == name))
                    && list.iter().all(|one| one != not)
            };
            let is_so = has(&lists.0, ["own-a", "to-a"], "to-b")
                && has(&lists.1, ["own-b", "to-b"], "to-a");
            Ok(if is_so {
                Ok(())
            } else {
                Err(format!("{lists:?}"))
            })
        })?;
        // The old application leaves nothing behind, so a field that is dropped really goes.
        for (object, old) in [("to-a", b), ("to-b", a)] {
            let managed =
                stage.object("ConfigMap", object)?["metadata"]["managedFields"].to_string();
            let of_old = format!("pintle/{}/{old}\"", stage.namespace);
            assert!(!managed.contains(&of_old), "{managed}");
        }
        Ok(())
    }

    /// Makes the second application claim an object of the first one, until the first one releases it. Each is notified of its
    /// own commits only.
    fn contest(&self, stage: &Stage) -> Result<()> {
        let Self { a, b } = self;
        let more = format!("{b}/more.yaml");
        stage.push(b, &[(&more, &config_map("own-a", "9"))])?;
        let failed = stage.condition(b, "Stalled", "ApplyFailed")?;
        let message = failed["message"].as_str().unwrap_or_default();
        let said = format!(
            "the applications {0}.{a} and {0}.{b} both render it, and it is {0}.{a}'s",
            stage.namespace
        );
        assert!(message.contains(&said), "{message}");
        assert_eq!(stage.object("ConfigMap", "own-a")?["data"]["value"], "1");
        let before = uid(stage, "own-a")?;
        stage.repository.remove(&format!("{a}/own.yaml"))?;
        let commit = stage.push(a, &[])?;
        self.ready_at(stage, &commit)?;
        assert_eq!(uid(stage, "own-a")?, before);
        assert_eq!(owner(stage, "own-a")?, format!("{}.{b}", stage.namespace));
        assert_eq!(stage.object("ConfigMap", "own-a")?["data"]["value"], "9");
        Ok(())
    }

    /// Does the same with an object that is not deleted when it leaves the first application, so that nobody is asked whether it
    /// may be deleted.
    fn contest_what_stays(&self, stage: &Stage) -> Result<()> {
        let Self { a, b } = self;
        let (first, second) = (format!("{a}/stays.yaml"), format!("{b}/stays.yaml"));
        let stays = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stays, annotations: {pintle.dev/prune: disabled}}\n\
                     data: {value: '1'}\n";
        let commit = stage.push(a, &[(&first, stays)])?;
        stage.ready_at(a, &commit)?;
        let wanted = stage.push(b, &[(&second, &config_map("stays", "9"))])?;
        stage.condition(b, "Stalled", "ApplyFailed")?;
        let before = uid(stage, "stays")?;
        stage.repository.remove(&first)?;
        stage.push(a, &[])?;
        // The second application was not notified of the newest commit.
        stage.ready_at(b, &wanted)?;
        assert_eq!(uid(stage, "stays")?, before);
        assert_eq!(owner(stage, "stays")?, format!("{}.{b}", stage.namespace));
        Ok(())
    }

    /// Makes the second application claim an object of the first one, until the first one is deleted and orphans its objects.
    fn inherit(&self, stage: &Stage) -> Result<()> {
        let Self { a, b } = self;
        let more = format!("{b}/inherited.yaml");
        let wanted = stage.push(b, &[(&more, &config_map("to-a", "9"))])?;
        stage.condition(b, "Stalled", "ApplyFailed")?;
        let before = uid(stage, "to-a")?;
        stage.patch(a, r#"{"spec":{"deletionPolicy":"Orphan"}}"#)?;
        stage.kubectl(&["delete", "application", a])?;
        stage.ready_at(b, &wanted)?;
        assert_eq!(uid(stage, "to-a")?, before);
        assert_eq!(owner(stage, "to-a")?, format!("{}.{b}", stage.namespace));
        Ok(())
    }
}

#[test]
fn an_object_that_moves_is_handed_over_and_never_deleted() -> Result<()> {
    let stage = Stage::new("moves")?;
    Two::together(&stage)?.move_both(&stage)
}

#[test]
fn what_two_applications_want_is_refused_with_both_names_until_one_lets_go() -> Result<()> {
    let stage = Stage::new("contested")?;
    Two::together(&stage)?.contest(&stage)
}

#[test]
fn who_was_refused_an_object_asks_again_when_an_application_goes_and_is_not_rendered_anew()
-> Result<()> {
    let stage = Stage::new("contested-anew")?;
    stage
        .repository
        .write("c/own.yaml", config_map("own-c", "1"))?;
    let two = Two::together(&stage)?;
    stage.apply(&stage.application("c", "c", ""))?;
    stage.ready_at("c", &stage.repository.head()?)?;
    stage.push(&two.b, &[("b/more.yaml", &config_map("own-a", "9"))])?;
    stage.condition(&two.b, "Stalled", "ApplyFailed")?;
    let renders = || {
        stage
            .agent
            .metric("pintle_renders_total{outcome=\"rendered\"}")
    };
    let refusals = || stage.agent.metric("pintle_runs_total{outcome=\"stalled\"}");
    let (rendered, refused) = (renders()?, refusals()?);
    stage.kubectl(&["delete", "application", "c"])?;
    // Once when the other application is about to be deleted, and once when it is gone.
    until("it has asked again", LIMIT, || {
        let more = refusals()? - refused;
        Ok(if more >= 2.0 {
            Ok(())
        } else {
            Err(format!("{more} more refusals"))
        })
    })?;
    let more = renders()? - rendered;
    // The deleted application's spec is evaluated once more before it goes. If refusals rendered anew, each would be one more
    // render.
    assert!(more <= 1.0, "{more} more renders");
    Ok(())
}

#[test]
fn an_object_that_moves_to_where_a_kind_is_not_served_yet_stays() -> Result<()> {
    let stage = Stage::new("moves-unserved")?;
    let two = Two::together(&stage)?;
    let before = uid(&stage, "to-b")?;
    stage.repository.remove("a/moves.yaml")?;
    let nowhere = "apiVersion: nowhere.example.com/v1\nkind: Nowhere\nmetadata: {name: nowhere}\n";
    let files = [
        ("b/more.yaml", config_map("to-b", "2")),
        ("b/nowhere.yaml", nowhere.to_owned()),
    ];
    for (path, text) in files {
        stage.repository.write(path, text)?;
    }
    let commit = stage.push(&two.a, &[])?;
    stage.condition(&two.b, "Ready", "ApplyFailed")?;
    // The application that releases the object waits neither for the kind nor for anybody to install it.
    stage.ready_at(&two.a, &commit)?;
    assert_eq!(uid(&stage, "to-b")?, before);
    stage.repository.remove("b/nowhere.yaml")?;
    let commit = stage.push(&two.b, &[])?;
    two.ready_at(&stage, &commit)?;
    assert_eq!(uid(&stage, "to-b")?, before);
    assert_eq!(owner(&stage, "to-b")?, format!("{}.b", stage.namespace));
    assert_eq!(stage.object("ConfigMap", "to-b")?["data"]["value"], "2");
    Ok(())
}

#[test]
fn an_object_that_moves_to_what_cannot_be_rendered_for_a_moment_stays() -> Result<()> {
    let stage = Stage::new("moves-late")?;
    let (two, database) = (Two::together(&stage)?, Database::of(&stage));
    let before = uid(&stage, "to-b")?;
    stage.repository.remove("a/moves.yaml")?;
    let objects = ["own-b", "to-a", "to-b"].map(|name| config_map(name, "2"));
    let objects = objects.concat();
    let files = [
        ("b/Chart.yaml", database.chart.as_str()),
        ("b/Chart.lock", database.lock.as_str()),
        ("b/templates/all.yaml", objects.as_str()),
    ];
    let commit = stage.push(&two.a, &files)?;
    stage.condition(&two.b, "Ready", "RenderFailed")?;
    database.publish()?;
    two.ready_at(&stage, &commit)?;
    assert_eq!(uid(&stage, "to-b")?, before);
    assert_eq!(owner(&stage, "to-b")?, format!("{}.b", stage.namespace));
    Ok(())
}

#[test]
fn an_application_gets_another_name_and_its_objects_stay() -> Result<()> {
    let stage = Stage::new("renamed")?;
    Two::together(&stage)?;
    let before = (uid(&stage, "own-a")?, uid(&stage, "to-b")?);
    let mark = stage.mark()?;
    stage.apply(&stage.application("new", "a", ""))?;
    stage.condition("new", "Stalled", "ApplyFailed")?;
    stage.kubectl(&["delete", "application", "a"])?;
    let commit = stage.repository.head()?;
    stage.ready_at("new", &commit)?;
    assert_eq!((uid(&stage, "own-a")?, uid(&stage, "to-b")?), before);
    assert_eq!(owner(&stage, "own-a")?, format!("{}.new", stage.namespace));
    let writes = stage.writes_since(mark)?;
    assert!(
        !writes.keys().any(|write| write.starts_with("delete")),
        "{writes:?}"
    );
    Ok(())
}

#[test]
fn an_object_moves_between_applications_of_two_replicas() -> Result<()> {
    let fleet = Fleet::start("moves-far", 2, "15s")?;
    let two = Two::apart(&fleet)?;
    two.move_both(&fleet.stage)?;
    two.contest(&fleet.stage)?;
    two.contest_what_stays(&fleet.stage)?;
    two.inherit(&fleet.stage)
}
