//! `pintle agent`: keeps Applications converged.
//!
//! One task, the [`controller`], linearises everything that happens and asks the state machine of each application what to
//! do; other tasks do it and report back. Sources, plugins and the cluster are watched beside it.

mod chronicle;
mod controller;
mod drift;
mod job;
mod judges;
mod lease;
mod logins;
mod lookups;
mod metrics;
mod notify;
mod observer;
mod plugins;
mod report;
mod run;
mod secrets;
mod server;
mod shared;
mod sources;
mod webhook;

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use pintle_cluster::{
    Applications, Cluster, Connection, Events, Options, Seeds, ServiceAccount, Tracker,
    TrackerOptions,
};
use pintle_host::{Compiler, Host};
use pintle_source::Repositories;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::{judges::AllJudges, metrics::Metrics, server::Probes, shared::Shared};
use crate::{
    cli::{
        args::AgentCommand,
        exit::{Exit, Usage},
    },
    pipeline::{catalog::Catalog, input::cache_dir, remotes::Remotes},
};

/// Runs until it is told to stop, or until it fails in a way that a restart may mend.
pub(crate) async fn run(args: AgentCommand) -> anyhow::Result<Exit> {
    let stop = stop_on_signal()?;
    let metrics = Arc::new(Metrics::new());
    let probes = Arc::new(Probes::default());
    let shared = Arc::new(set_up(&args, &metrics).await?);
    let (tell_push, pushes) = mpsc::channel(64);
    let mut servers = tokio::task::JoinSet::new();
    let routes = server::routes(Arc::clone(&metrics), Arc::clone(&probes));
    servers.spawn(server::listen(
        args.listen,
        "the server of metrics and probes",
        routes,
        stop.clone(),
    ));
    if let Some(address) = args.webhook_listen {
        let token = secrets::follow(
            &shared.connection,
            &args.namespace,
            &args.webhook_secret,
            "token",
        );
        let routes = webhook::routes(webhook::Receiver {
            token,
            pushed: tell_push.clone(),
        });
        servers.spawn(server::listen(
            address,
            "the receiver of webhooks",
            routes,
            stop.clone(),
        ));
    }
    let work = work(&args, &shared, probes, pushes, stop.clone());
    tokio::select! {
        result = work => result?,
        Some(ended) = servers.join_next() => ended.context("a server crashed")??,
    }
    stop.cancel();
    while let Some(ended) = servers.join_next().await {
        ended.context("a server crashed")??;
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

async fn set_up(args: &AgentCommand, metrics: &Arc<Metrics>) -> anyhow::Result<Shared> {
    let options = Options {
        kubeconfig: args.connection.kubeconfig.clone(),
        context: args.connection.context.clone(),
        ..Options::default()
    };
    let connection = Connection::connect(options).await?;
    let version = connection.version().await?;
    tracing::info!(
        server = connection.server(),
        version = version.text,
        "connected"
    );
    let cache = match &args.cache {
        Some(cache) => cache.clone(),
        None => cache_dir()?.join("agent"),
    };
    let host = Host::new(pintle_host::Options {
        compiler: compiler(&cache),
        observer: Arc::new(observer::CallCounter(Arc::clone(metrics))),
        ..host_options(&cache)
    })?;
    let remotes = Remotes::of_agent(args.registry.clone(), cache.clone());
    let seeds = Seeds::of_agent(&connection, &args.namespace)
        .await
        .with_context(|| {
            format!(
                "the agent keeps its seed in namespace {}: is deploy/install.yaml applied?",
                args.namespace
            )
        })?;
    let judges = Arc::new(AllJudges::default());
    let tracker = Tracker::new(
        &connection,
        Arc::clone(&judges) as _,
        TrackerOptions::default(),
    );
    Ok(Shared {
        applications: Applications::applications(&connection),
        cluster: Cluster::new(connection.clone()).with_tracker(tracker.clone()),
        catalog: Catalog::for_agent(host, remotes),
        repositories: Repositories::new(pintle_source::Options::new(cache.join("git")))?,
        events: Events::new(&connection, lease::identity()),
        default_account: args
            .default_service_account
            .as_deref()
            .map(account)
            .transpose()?,
        namespace: args.namespace.clone(),
        slots: Semaphore::new(args.concurrency.max(1)),
        kube_version: version.text,
        connection,
        judges,
        tracker,
        seeds,
        metrics: Arc::clone(metrics),
    })
}

/// What decides where compiled code is kept, and whether it fits: the same here and in `pintle compile`.
pub(crate) fn host_options(cache: &Path) -> pintle_host::Options {
    pintle_host::Options {
        cache: Some(cache.join("compiled")),
        ..pintle_host::Options::default()
    }
}

/// Is this program, called to compile; nothing if it is not known where it is.
fn compiler(cache: &Path) -> Option<Compiler> {
    let program = std::env::current_exe().ok()?;
    let arguments = ["compile".into(), "--cache".into(), cache.into()].to_vec();
    Some(Compiler { program, arguments })
}

fn account(text: &str) -> anyhow::Result<ServiceAccount> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(ServiceAccount::new(namespace, name))
        }
        _ => Err(Usage(format!(
            "--default-service-account {text}: expected NAMESPACE/NAME"
        ))
        .into()),
    }
}

/// Works while it holds the lease, until it is told to stop.
async fn work(
    args: &AgentCommand,
    shared: &Arc<Shared>,
    probes: Arc<Probes>,
    pushes: mpsc::Receiver<Vec<String>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let lease = if args.no_lease {
        None
    } else {
        probes
            .ready
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let Some(lease) = lease::Lease::acquire(&shared.connection, &args.namespace, &stop).await?
        else {
            return Ok(());
        };
        Some(lease)
    };
    shared.metrics.leader.set(1);
    let controller =
        controller::Controller::new(Arc::clone(shared), args.watch_namespace.clone(), probes);
    match lease {
        None => controller.run(pushes, stop).await,
        Some(mut lease) => {
            let ended = tokio::select! {
                result = controller.run(pushes, stop) => result,
                // Another replica may work already: nothing more may be written here, so the process ends at once.
                () = lease.lost() => Err(anyhow::anyhow!("the lease was lost: another replica may have taken over")),
            };
            lease.release().await;
            ended
        }
    }
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping: what is under way is brought to a safe point");
        token.cancel();
    });
    Ok(stop)
}
