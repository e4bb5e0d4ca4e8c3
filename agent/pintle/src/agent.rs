//! `pintle agent`: keeps Applications converged.
//!
//! One task, the [`controller`], linearises all events, asks each application's state machine what to do next, and starts the
//! work. Other tasks do that work and report back. Sources, plugins and the cluster are watched by tasks of their own.

mod accounts;
mod awaited;
mod bounds;
mod chronicle;
mod claims;
mod controller;
mod drift;
mod fetching;
mod files;
mod job;
mod judges;
mod logins;
mod lookups;
mod metrics;
mod moves;
mod notify;
mod observer;
mod pauses;
mod plugins;
mod reasons;
mod refused;
mod replicas;
mod report;
mod run;
mod secrets;
mod server;
mod shared;
mod sight;
mod sources;
mod targets;
mod told;
mod volume;
mod webhook;

use std::{ffi::OsString, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use pintle_cluster::{
    Applications, Cluster, Connection, Events, Fence, Options, Seeds, Tracker, TrackerOptions,
};
use pintle_host::{Compiler, Host};
use pintle_registry::CacheOptions;
use pintle_source::Repositories;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    accounts::Accounts,
    judges::AllJudges,
    metrics::Metrics,
    notify::Deliveries,
    replicas::{Portion, Pushed, Replicas, Talk},
    run::Slots,
    server::Probes,
    shared::Shared,
    volume::Shares,
};
use crate::{
    cli::{
        args::AgentCommand,
        cache::cache_dir,
        exit::{Exit, Usage},
        signals,
    },
    pipeline::{catalog::Catalog, remotes::Remotes},
};

/// Runs until it is told to stop, or until it fails in a way that a restart may fix.
pub(crate) async fn run(args: AgentCommand) -> anyhow::Result<Exit> {
    files::raise_limit();
    let stop = signals::listen(|| {
        tracing::info!("stopping: what is under way is brought to a safe point");
    })
    .context("SIGINT and SIGTERM cannot be handled")?;
    let metrics = Arc::new(Metrics::new());
    let probes = Arc::new(Probes::default());
    // The servers stay up until all work has ended, so that requests to this replica are answered until then.
    let listening = CancellationToken::new();
    let mut servers = JoinSet::new();
    let routes = server::routes(Arc::clone(&metrics), Arc::clone(&probes));
    servers.spawn(server::listen(
        args.listen,
        "the server of metrics and probes",
        routes,
        listening.clone(),
    ));
    let identity = replicas::identity();
    let fence = Fence::closed();
    // Connecting to an API server that does not answer may take minutes. Meanwhile the agent is live, and can be stopped.
    let shared = tokio::select! {
        biased;
        made = Box::pin(set_up(&args, &metrics, &identity, &fence)) => Arc::new(made?),
        () = stop.cancelled() => return ended(&listening, servers).await,
        Some(ended) = servers.join_next() => {
            ended.context("a server crashed")??;
            bail!("the server of metrics and probes has ended");
        }
    };
    let (tell_push, pushes) = mpsc::channel(64);
    if let Some(address) = args.webhook_listen {
        let token = secrets::follow(&shared.home, &args.namespace, &args.webhook_secret, "token");
        let routes = webhook::routes(webhook::Receiver::new(token, tell_push.clone()));
        servers.spawn(server::listen(
            address,
            "the receiver of webhooks",
            routes,
            listening.clone(),
        ));
    }
    let taking_part = (!args.no_lease)
        .then(|| taking_part(&args, identity))
        .transpose()?;
    let work = work(
        &args,
        &shared,
        probes,
        pushes,
        taking_part,
        fence,
        stop.clone(),
    );
    let mut work = std::pin::pin!(work);
    tokio::select! {
        result = &mut work => result?,
        Some(ended) = servers.join_next() => {
            stop.cancel();
            let result = work.await;
            ended.context("a server crashed")??;
            result?;
        }
    }
    shared.deliveries.end().await;
    ended(&listening, servers).await
}

/// Ends an agent that was told to stop while nothing else is in progress.
async fn ended(
    listening: &CancellationToken,
    mut servers: JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Exit> {
    listening.cancel();
    while let Some(ended) = servers.join_next().await {
        ended.context("a server crashed")??;
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

async fn set_up(
    args: &AgentCommand,
    metrics: &Arc<Metrics>,
    identity: &str,
    fence: &Fence,
) -> anyhow::Result<Shared> {
    let accounts = Accounts::new(args.default_service_account.as_deref(), args.trusted())
        .map_err(|error| Usage(error.to_string()))?;
    let options = Options {
        kubeconfig: args.connection.kubeconfig.clone(),
        context: args.connection.context.clone(),
        ..Options::default()
    };
    let connection = Connection::connect(options).await?;
    let server = connection.server();
    tracing::info!(server, "connecting");
    let version = connection.version().await?;
    tracing::info!(server, version = version.text, "connected");
    let cache = match &args.cache {
        Some(cache) => cache.clone(),
        None => cache_dir()?.join("agent"),
    };
    let shares = Shares::of(args.cache_size);
    let memory = bounds::for_plugins();
    tracing::info!(bytes = memory, "memory for plugins");
    let host = Host::new(pintle_host::Options {
        compiler: compiler(&cache, shares.compiled, bounds::for_compiling()),
        memory,
        observer: Arc::new(observer::CallCounter(Arc::clone(metrics))),
        ..host_options(&cache, shares.compiled)
    })?;
    let pulled = CacheOptions {
        max_bytes: shares.components,
        max_index_bytes: shares.indexes,
        ..CacheOptions::new(cache.join("components"))
    };
    let remotes = Remotes::of_agent(args.registry.clone(), pulled, shares.archives);
    let repositories = Repositories::new(pintle_source::Options {
        cache_bytes: shares.git,
        limits: args.git.limits(),
        ..pintle_source::Options::new(cache.join("git"))
    })?;
    let seeds = Seeds::of_agent(&connection, &args.namespace)
        .await
        .with_context(|| {
            format!(
                "the agent keeps its seed in namespace {}: is deploy/install.yaml applied?",
                args.namespace
            )
        })?;
    // The seed is created before there is a lease. From here on, nothing is written without one.
    let connection = if args.no_lease {
        connection
    } else {
        connection.with_fence(fence.clone())
    };
    let judges = Arc::new(AllJudges::default());
    let tracker = Tracker::new(
        &connection,
        Arc::clone(&judges) as _,
        TrackerOptions::default(),
    );
    let cluster = Cluster::new(connection.clone()).with_tracker(tracker.clone());
    let concurrency = args.concurrency.max(1);
    Ok(Shared {
        applications: Applications::applications(&connection),
        home: cluster.clone(),
        problem: None,
        cluster,
        catalog: Catalog::for_agent(host, remotes),
        repositories: Arc::new(repositories),
        events: Events::new(&connection, identity),
        deliveries: Deliveries::default(),
        accounts,
        namespace: args.namespace.clone(),
        slots: Slots::new(concurrency),
        concurrency,
        kube_version: version.text,
        connection,
        judges,
        tracker,
        seeds,
        claims: Arc::default(),
        metrics: Arc::clone(metrics),
    })
}

/// Returns the options that decide where compiled code is kept, how much of it is kept, and whether it is compatible.
/// `pintle compile` uses the same ones.
pub(crate) fn host_options(cache: &Path, cache_bytes: u64) -> pintle_host::Options {
    pintle_host::Options {
        cache: Some(cache.join("compiled")),
        cache_bytes,
        ..pintle_host::Options::default()
    }
}

/// The time limit for compiling one component. A large one takes seconds, or minutes where there is hardly any CPU.
const COMPILE_LIMIT: Duration = Duration::from_mins(5);

/// Environment variables for the allocator of a process whose memory is limited. By default, the allocator makes a GiB writable
/// at once. All of that counts towards the limit, and the process could then fill it without any allocation that the limit could
/// refuse.
const COUNTED_MEMORY: [(&str, &str); 2] = [
    ("MIMALLOC_ARENA_EAGER_COMMIT", "0"),
    ("MIMALLOC_PAGE_COMMIT_ON_DEMAND", "1"),
];

/// Returns the command that runs this program as a compiler, or `None` if the path of the program is unknown.
fn compiler(cache: &Path, cache_bytes: u64, memory: Option<u64>) -> Option<Compiler> {
    let program = std::env::current_exe().ok()?;
    let mut arguments: Vec<OsString> = vec![
        "compile".into(),
        "--cache".into(),
        cache.into(),
        "--cache-bytes".into(),
        cache_bytes.to_string().into(),
    ];
    let mut environment = Vec::new();
    if let Some(memory) = memory {
        arguments.push("--memory".into());
        arguments.push(memory.to_string().into());
        for (name, value) in COUNTED_MEMORY {
            environment.push((name.into(), value.into()));
        }
    }
    Some(Compiler {
        program,
        arguments,
        environment,
        memory,
        time: COMPILE_LIMIT,
    })
}

/// The shortest lease. A lease is renewed at every third of its duration, and Kubernetes counts whole seconds.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);
/// The time limit for handing everything over to the other replicas.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

fn taking_part(args: &AgentCommand, identity: String) -> anyhow::Result<replicas::Options> {
    let duration = args.lease_duration.get();
    if duration < SHORTEST_LEASE || duration.subsec_nanos() > 0 {
        return Err(Usage(format!(
            "--lease-duration {duration:?}: expected whole seconds, at least {SHORTEST_LEASE:?}"
        ))
        .into());
    }
    Ok(replicas::Options {
        namespace: args.namespace.clone(),
        fleet: args.lease_name.clone(),
        identity,
        duration,
    })
}

/// Works on this replica's share until it is told to stop.
async fn work(
    args: &AgentCommand,
    shared: &Arc<Shared>,
    probes: Arc<Probes>,
    pushes: mpsc::Receiver<Pushed>,
    taking_part: Option<replicas::Options>,
    fence: Fence,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let controller = |portion: Portion| {
        let namespaces = args.watched();
        controller::Controller::new(Arc::clone(shared), namespaces, probes, portion)
    };
    let Some(options) = taking_part else {
        return controller(Portion::everything()).run(pushes, stop).await;
    };
    let (ask, asks) = mpsc::channel(64);
    let (questions, asked) = mpsc::channel(64);
    shared.claims.join(ask);
    tokio::spawn(claims::serve(Arc::clone(&shared.claims), asked));
    let talk = Talk {
        pushes,
        asks,
        questions,
    };
    let (mut replicas, portion, pushes) =
        Replicas::start(&shared.connection, options, fence, &shared.metrics, talk)?;
    tokio::select! {
        result = controller(portion).run(pushes, stop) => result?,
        // Other replicas may already have taken over. Nothing more may be written here, so the process ends at once.
        error = replicas.ended() => return Err(error),
    }
    let left = tokio::time::timeout(LEAVE_LIMIT, replicas.leave()).await;
    left.unwrap_or_else(|_| {
        tracing::warn!("the others could not be notified: they take over when the lease expires");
        Ok(())
    })
}
