//! The reference implementation, kstatus, gives the same verdicts, except for the intended differences.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::SystemTime;

use pintle_health_kubernetes::{Kubernetes, Settings};
use pintle_sdk::{Health, Status};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::Value;

use crate::differences::{self, Difference};
use crate::{fixtures, variations};

/// The number of objects made that differ from a recorded one in several places.
const FAR_VARIATIONS: usize = 3000;

/// The answer of kstatus. The status is empty if kstatus fails.
#[derive(Deserialize)]
struct Answer {
    status: String,
    message: String,
}

impl Answer {
    fn status(&self) -> Status {
        match self.status.as_str() {
            "Current" => Status::Healthy,
            "InProgress" | "Terminating" => Status::Progressing,
            "Failed" => Status::Degraded,
            "" => Status::Unknown,
            other => panic!("kstatus says {other}, which it should not for an object that exists"),
        }
    }
}

#[test]
fn kstatus_says_the_same_but_for_intended_differences() {
    let objects = objects();
    let answers = ask(&objects);
    let now_ms = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .try_into()
        .unwrap();

    let mut hits: BTreeMap<&str, usize> = differences::ALL.iter().map(|it| (it.name, 0)).collect();
    let mut wrong = Vec::new();
    for (object, answer) in objects.iter().zip(&answers) {
        let ours = Kubernetes::assess(&Settings::default(), object, now_ms).unwrap();
        let theirs = answer.status();
        if ours.status == theirs {
            continue;
        }
        let intended = |it: &&Difference| {
            it.theirs.contains(&theirs) && it.ours == ours.status && (it.applies)(object)
        };
        if let Some(difference) = differences::ALL.iter().find(intended) {
            *hits.entry(difference.name).or_default() += 1;
        } else {
            wrong.push(format!(
                "kstatus: {theirs}: {}\nours: {}: {}\n{}",
                answer.message,
                ours.status,
                ours.message,
                serde_json::to_string(object).unwrap(),
            ));
        }
    }
    let shown: Vec<_> = wrong.iter().take(10).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} objects differ:\n{}",
        wrong.len(),
        objects.len(),
        shown.join("\n\n")
    );
    let stale: Vec<_> = hits
        .iter()
        .filter(|(_, hits)| **hits == 0)
        .map(|(name, _)| name)
        .collect();
    assert!(
        stale.is_empty(),
        "differences that no object shows: {stale:?}"
    );
}

/// Returns the recorded objects, all objects that differ from one of them in one place, and some that differ in several.
fn objects() -> Vec<Value> {
    let recorded: Vec<Value> = fixtures::load()
        .into_iter()
        .filter(fixtures::Case::has_default_settings)
        .map(|case| case.object)
        .collect();
    let near: Vec<Value> = recorded.iter().flat_map(variations::of).collect();
    let mut runner = TestRunner::deterministic();
    let places = (
        0..recorded.len(),
        proptest::collection::vec(0..usize::MAX, 2..5),
    );
    let far = (0..FAR_VARIATIONS).map(|_| {
        let (index, steps) = places
            .new_tree(&mut runner)
            .expect("nothing is filtered")
            .current();
        steps
            .into_iter()
            .fold(recorded[index].clone(), |object, step| {
                let mut all = variations::of(&object);
                let chosen = step % all.len();
                all.swap_remove(chosen)
            })
    });
    let far: Vec<Value> = far.collect();
    recorded.into_iter().chain(near).chain(far).collect()
}

/// Asks kstatus about all objects.
fn ask(objects: &[Value]) -> Vec<Answer> {
    let mut oracle = Command::new(build())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle that was just built starts");
    let mut stdin = oracle.stdin.take().expect("it is piped");
    let input = serde_json::to_vec(objects).unwrap();
    // The oracle may answer before it has read everything.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = oracle.wait_with_output().unwrap();
    writer.join().unwrap().expect("the oracle reads its input");
    assert!(
        output.status.success(),
        "the oracle failed: {}",
        output.status
    );
    let answers: Vec<Answer> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), objects.len());
    answers
}

fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/kstatus");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kstatus-oracle");
    let built = Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(&source)
        .output()
        .expect("the tests need Go on the PATH: https://go.dev/doc/install");
    assert!(
        built.status.success(),
        "go build in {}: {}",
        source.display(),
        String::from_utf8_lossy(&built.stderr)
    );
    binary
}
