//! What a user sees on a terminal. `cargo xtask record` makes the recordings in `docs/recordings/` with these tests.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use pintle_harness::{Recording, record};

use crate::desk::Desk;
use crate::rollouts::misbehaving;
use crate::world::{LIMIT, config_map, deployment, service};

/// Writes a recording into the documentation, if the tests run for that purpose.
pub(crate) fn keep(name: &str, about: &str, recording: &Recording) -> Result<()> {
    let Some(folder) = std::env::var_os("PINTLE_RECORDINGS").map(PathBuf::from) else {
        return Ok(());
    };
    let path = folder.join(format!("{name}.txt"));
    let text = format!(
        "{about}\nRecorded by `cargo xtask record`.\n\n{}",
        recording.text()
    );
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Compiles plugins before a recording. This happens once on a machine, and is not what the recording is about.
fn warm(desk: &Desk) -> Result<()> {
    let differs = 3;
    desk.pintle(&["plan", ".", "--name", "shop"], differs)?;
    Ok(())
}

/// Runs pintle at a desk, on a terminal.
fn at(desk: &Desk, args: &[&str]) -> Result<Recording> {
    let typed = format!("pintle {}", args.join(" "));
    record(desk.command(args)?, &typed, LIMIT, |_| false)
}

#[test]
fn a_rollout_that_succeeds() -> Result<()> {
    let desk = Desk::new("seen")?;
    // Pods without a kubelet are ready at once. This setting gives the rollout a visible duration.
    let web = deployment("web", 3, "registry.k8s.io/pause:3.9")
        .replace("  replicas: 3", "  minReadySeconds: 2\n  replicas: 3")
        + &service("web", 80);
    let files = [
        ("web.yaml", web.as_str()),
        ("settings.yaml", &config_map("settings", "1")),
    ];
    desk.repository.push_files(&files, "first")?;
    warm(&desk)?;
    let recording = at(&desk, &["converge", ".", "--name", "shop"])?;
    assert_eq!(recording.code, Some(0), "{}", recording.text());
    let last = recording.last();
    let row = |kind: &str| {
        last.lines()
            .find(|line| line.contains(kind))
            .unwrap_or_default()
    };
    for kind in ["Deployment.apps", "Service ", "ConfigMap", "ServiceAccount"] {
        assert!(
            row(kind).contains("created") && row(kind).contains("healthy"),
            "{last}"
        );
    }
    assert!(last.contains("is healthy: 4 objects"), "{last}");
    // Rows are redrawn in place: whatever the Deployment goes through, it is on the screen once.
    for (_, screen) in &recording.frames {
        assert!(screen.matches("Deployment.apps").count() <= 1, "{screen}");
    }
    let went = |text: &str| {
        recording
            .frames
            .iter()
            .any(|(_, screen)| screen.contains(text))
    };
    assert!(went("progressing"), "{}", recording.text());
    // An unchanged object is not mentioned, and none is unknown even for a moment.
    let again = at(&desk, &["converge", ".", "--name", "shop"])?;
    let text = again.text();
    assert!(!text.contains("has not been seen"), "{text}");
    assert!(!again.last().contains("Deployment.apps"), "{text}");
    keep(
        "rollout-succeeds",
        "A rollout that succeeds, as `pintle converge` shows it on a terminal.",
        &recording,
    )
}

#[test]
fn a_rollout_that_fails() -> Result<()> {
    let desk = Desk::new("unseen")?;
    let files = [
        ("web.yaml", misbehaving("web", "crash-loop", "")),
        ("settings.yaml", config_map("settings", "1")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    desk.repository.push_files(&files, "first")?;
    warm(&desk)?;
    let recording = at(
        &desk,
        &["converge", ".", "--name", "shop", "--timeout", "20s"],
    )?;
    assert_eq!(recording.code, Some(1), "{}", recording.text());
    let why = "main keeps ending with exit code 1 (CrashLoopBackOff, 3 restarts)";
    let mut screens = recording.frames.iter().map(|(_, screen)| screen);
    let explained = screens
        .find(|screen| screen.contains(why))
        .with_context(|| recording.text())?;
    // The explanation appears while the command is still waiting, and the line is drawn once.
    assert!(
        explained.contains("waiting until all is healthy"),
        "{explained}"
    );
    for (_, screen) in &recording.frames {
        assert!(screen.matches("waiting until").count() <= 1, "{screen}");
    }
    assert!(
        recording.last().contains("not healthy after 20s"),
        "{}",
        recording.last()
    );
    keep(
        "rollout-fails",
        "A rollout that fails, as `pintle converge` shows it on a terminal. On this cluster no container runs, so there is no\nlog to be read; on others its last lines are there.",
        &recording,
    )
}
