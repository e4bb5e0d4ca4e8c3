//! `pintle plugin bench`: the cost of a renderer that stays loaded, as in the agent.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pintle_host::{Host, LoadRequest, Options};
use serde_json::json;

use super::{
    input::Origin,
    render::Prepared,
    session::{Session, compiled_dir},
};
use crate::cli::{args::BenchCommand, cache::cache_dir, exit::Exit, output};

pub(super) async fn run(args: &BenchCommand) -> anyhow::Result<Exit> {
    let session = Session::warm(&args.render.renderer.registry)?;
    let origin = Origin::of(&args.render.input, &session.remotes)?;
    let session = session.with_standard_input(&args.render.renderer.helm)?;
    let input = session.open(&origin, &args.render.renderer).await?;
    let prepared = Prepared::new(&session, &args.render, &input)?;
    let render = async || {
        let context = prepared.context.clone();
        let outcome = session
            .outcome(&prepared.release, &input, context, &prepared.seed, None)
            .await?;
        // The agent computes the digest, to find out whether anything has changed.
        std::hint::black_box(outcome.rendered.digest());
        anyhow::Ok(outcome)
    };
    // The first render loads the plugin.
    let outcome = render().await?;
    let name = match &prepared.release.spec.renderer {
        Some(named) if !named.plugin.is_empty() => &named.plugin,
        _ => &outcome.renderer,
    };
    let component = session.catalog.bytes(name).await?;
    let compile = compile(name, component.clone()).await?;
    let load = load(name, component.clone()).await?;
    let mut renders = Vec::with_capacity(usize::from(args.runs));
    for _ in 0..args.runs {
        let start = Instant::now();
        render().await?;
        renders.push(start.elapsed());
    }
    renders.sort_unstable();
    let (fastest, median) = (renders[0], renders[renders.len() / 2]);
    let objects = outcome.rendered.objects().len() + outcome.rendered.hooks().len();
    match args.render.output.output {
        None => output::text(&format!(
            "{name}: {} bytes, compiled in {}, loaded in {}\n{objects} objects in {} (median of {}; the fastest took {})",
            component.len(),
            text(compile),
            text(load),
            text(median),
            renders.len(),
            text(fastest)
        )),
        Some(format) => output::machine(
            format,
            &json!({
                "plugin": name,
                "componentBytes": component.len(),
                "compileMicros": micros(compile),
                "loadMicros": micros(load),
                "objects": objects,
                "runs": renders.len(),
                "medianMicros": micros(median),
                "fastestMicros": micros(fastest),
            }),
        )?,
    }
    Ok(Exit::Done)
}

/// Compiles a component as if it had never been seen.
async fn compile(name: &str, component: Bytes) -> anyhow::Result<Duration> {
    let host = Host::new(Options::default())?;
    let start = Instant::now();
    host.load(LoadRequest::new(name, component)).await?;
    Ok(start.elapsed())
}

/// Loads a component that was compiled before, as a new process does.
async fn load(name: &str, component: Bytes) -> anyhow::Result<Duration> {
    let host = Host::new(Options {
        cache: cache_dir().ok().map(|dir| compiled_dir(&dir)),
        ..Options::default()
    })?;
    let request = LoadRequest::new(name, component);
    let start = Instant::now();
    host.load(request).await?;
    Ok(start.elapsed())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn text(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
