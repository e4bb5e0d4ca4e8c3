//! What size costs: questions that nobody has the machines to try out.

mod fleet;
mod plot;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use fleet::{Costs, Course, Fleet, LEASE, Micros, Setting, Work};
use plot::{Line, Plot};

/// Measured with the release build on two CPUs that the control plane and the agent share: 100 applications of four objects were
/// Ready 3.81 s after the push, the agent used 2.13 CPU seconds, and 802 requests were sent. (`cargo xtask bench`)
const MEASURED_WALL: Micros = 3_810_000;
const MEASURED_AGENT: Micros = 2_130_000;
const MEASURED_REQUESTS: u64 = 802;
const MEASURED_CPUS: u64 = 2;
/// A commit to one application, from the push to Ready.
const MEASURED_COMMIT: Micros = 210_000;

/// The marks in the page around what the command writes.
const BEGIN: &str = "<!-- cargo xtask sim scale wrote this -->";
const END: &str = "<!-- until here -->";

/// Returns the cost of one request, according to the measurement.
fn costs() -> Costs {
    let all = MEASURED_WALL * MEASURED_CPUS;
    Costs {
        agent: MEASURED_AGENT / MEASURED_REQUESTS,
        server: (all - MEASURED_AGENT) / MEASURED_REQUESTS,
    }
}

fn setting(applications: u32, objects: u32, replicas: usize, server_cpus: usize) -> Setting {
    Setting {
        applications,
        objects,
        replicas,
        replica_cpus: 2,
        server_cpus,
        // The API server's limits on requests in flight, 200 for writes and 400 for others, and its queues behind them.
        queue: 10_000,
        costs: costs(),
        one_machine: false,
        lost: None,
        work: Work::Build,
    }
}

/// Plays the scenarios with fleets of up to `applications` applications of 100 objects. Returns the section of the page, and the
/// plots by file name.
fn scenarios(applications: u32, tell: &dyn Fn(&str)) -> (String, Vec<(&'static str, String)>) {
    let mut text = String::new();
    check(&mut text, tell);
    let plots = vec![
        ("rebuild.svg", rebuild(applications, &mut text, tell)),
        (
            "lost-replica.svg",
            lost_replica(applications, &mut text, tell),
        ),
    ];
    idle(&mut text);
    (text, plots)
}

fn play(setting: Setting, tell: &dyn Fn(&str)) -> Course {
    let course = Fleet::new(setting).play();
    tell(&format!(
        "{} applications of {}, {} replicas, {} CPUs of the control plane: {:.1} s, {} requests, {} refused",
        setting.applications,
        setting.objects,
        setting.replicas,
        setting.server_cpus,
        seconds(course.took),
        course.requests,
        course.refused
    ));
    course
}

/// Compares the model with the measurement, including the figures that the model was not derived from.
fn check(text: &mut String, tell: &dyn Fn(&str)) {
    let bench = Setting {
        one_machine: true,
        ..setting(100, 4, 1, 2)
    };
    let build = play(bench, tell);
    let commit = play(
        Setting {
            applications: 1,
            work: Work::Change,
            ..bench
        },
        tell,
    );
    let Costs { agent, server } = costs();
    let _ = writeln!(
        text,
        "### The model beside the measurement\n\n\
         A request costs the control plane {:.1} ms of CPU time and the agent {:.1} ms.\n\n\
         | | measured | model |\n|---|---|---|\n\
         | 100 applications of 4 objects, first push to all Ready | {:.2} s | {:.2} s |\n\
         | requests | {MEASURED_REQUESTS} | {} |\n\
         | a commit to one application, push to Ready | {:.2} s | {:.2} s, without fetch, render and webhook |\n",
        milliseconds(server),
        milliseconds(agent),
        seconds(MEASURED_WALL),
        seconds(build.took),
        build.requests,
        seconds(MEASURED_COMMIT),
        seconds(commit.took),
    );
}

/// Simulates rebuilding a lost cluster from git.
fn rebuild(most: u32, text: &mut String, tell: &dyn Fn(&str)) -> String {
    text.push_str(
        "### A lost cluster is built again from git\n\n\
         Applications of 100 objects; each replica has two CPUs.\n\n\
         | applications | objects | CPUs of the control plane | replicas | until all have converged | requests | refused \
         with 429 |\n|---|---|---|---|---|---|---|\n",
    );
    let mut lines = Vec::new();
    for (server_cpus, replicas) in [(16, 1), (16, 4), (64, 4), (64, 16)] {
        let mut points = Vec::new();
        for applications in [most / 100, most / 10, most]
            .into_iter()
            .filter(|count| *count > 0)
        {
            let course = play(setting(applications, 100, replicas, server_cpus), tell);
            points.push((f64::from(applications), seconds(course.took)));
            let _ = writeln!(
                text,
                "| {} | {} | {server_cpus} | {replicas} | {} | {} | {} |",
                grouped(applications.into()),
                grouped(u64::from(applications) * 100),
                span(course.took),
                grouped(course.requests),
                grouped(course.refused),
            );
        }
        lines.push(Line {
            name: format!("{server_cpus} CPUs, {replicas} replicas"),
            points,
        });
    }
    text.push('\n');
    Plot {
        title: "A lost cluster is built again from git",
        x: "applications of 100 objects",
        y: "seconds until all have converged",
        logarithmic: true,
        lines,
    }
    .svg()
}

/// Simulates the death of one of eight replicas in the middle of a commit to everything.
fn lost_replica(applications: u32, text: &mut String, tell: &dyn Fn(&str)) -> String {
    let whole = Setting {
        work: Work::Change,
        ..setting(applications, 100, 8, 64)
    };
    let without = play(whole, tell);
    let with = play(
        Setting {
            lost: Some(without.took / 3),
            ..whole
        },
        tell,
    );
    let late = with.took.saturating_sub(without.took);
    let _ = writeln!(
        text,
        "### A replica is lost\n\n\
         One commit changes an object in each of {} applications; eight replicas, 64 CPUs of the control plane. With all of \
         them it takes {}. If one dies after a third of that, its {} applications wait for the end of its lease ({} s), \
         and the last of all converges {} later than without the loss. {} requests are sent instead of {}: what the dead \
         replica was at is begun again, and nothing else.\n",
        grouped(applications.into()),
        span(without.took),
        grouped(u64::from(applications) / 8),
        LEASE / 1_000_000,
        span(late),
        grouped(with.requests),
        grouped(without.requests),
    );
    let line = |name: &str, course: &Course| Line {
        name: name.to_owned(),
        points: course
            .curve
            .iter()
            .map(|(at, count)| (seconds(*at), f64::from(*count)))
            .collect(),
    };
    Plot {
        title: "One of eight replicas dies during a commit to everything",
        x: "seconds",
        y: "applications that have converged",
        logarithmic: false,
        lines: vec![line("all live", &without), line("one dies", &with)],
    }
    .svg()
}

/// Calculates the requests to the API server while nothing changes. They follow from periods, so no simulation is needed.
fn idle(text: &mut String) {
    let (renewals, watches) = (60.0 / 5.0, 60.0 / 290.0);
    text.push_str(
        "### While nothing changes\n\nA replica that renews its lease every 5 s, and each of its watches every 290 s, one for \
         each kind in use, asks this whatever the number of objects:\n\n| replicas | kinds | requests a minute |\n|---|---|---|\n",
    );
    for (replicas, kinds) in [(1, 10), (4, 40), (16, 100)] {
        let requests = f64::from(replicas) * (renewals + f64::from(kinds) * watches);
        let _ = writeln!(text, "| {replicas} | {kinds} | {requests:.0} |");
    }
}

/// Plays the scenarios, prints the results, and writes the page and the plots below `docs`.
pub fn write(applications: u32, docs: &Path, tell: &dyn Fn(&str)) -> Result<()> {
    let (text, plots) = scenarios(applications, tell);
    let page = docs.join("scale.md");
    let before =
        std::fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    std::fs::write(&page, replace(&before, &text)?)
        .with_context(|| format!("write {}", page.display()))?;
    let folder = docs.join("scale");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for (name, svg) in plots {
        let file = folder.join(name);
        std::fs::write(&file, svg).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Replaces the text between the two marks of a page.
fn replace(page: &str, text: &str) -> Result<String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .with_context(|| format!("the page has no {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("the page has no {END}"))?;
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        text.trim()
    ))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people: virtual time is far below 2^53 microseconds"
)]
fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
}

fn milliseconds(micros: Micros) -> f64 {
    seconds(micros) * 1000.0
}

fn span(micros: Micros) -> String {
    let seconds = seconds(micros);
    if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else if seconds < 7200.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_comes_to_what_was_measured() {
        let course = Fleet::new(Setting {
            one_machine: true,
            ..setting(100, 4, 1, 2)
        })
        .play();
        let wall = seconds(course.took) / seconds(MEASURED_WALL);
        assert!((0.9..1.15).contains(&wall), "{course:?}");
        assert!(course.requests.abs_diff(MEASURED_REQUESTS) < 20);
    }

    #[test]
    fn what_is_written_is_replaced_and_all_else_stays() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        assert_eq!(
            replace(&page, "new\n").unwrap(),
            format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n")
        );
        assert!(replace("nothing", "new").is_err());
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!((&*grouped(5), &*grouped(1_234_567)), ("5", "1,234,567"));
        assert_eq!(span(90_000_000), "90.0 s");
        assert_eq!(span(180_000_000), "3.0 min");
    }
}
