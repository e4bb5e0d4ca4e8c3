//! The arguments of the command line.

mod agent;
mod list;
mod names;
mod operations;
mod variables;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::variables::{seed, variable};
pub(crate) use self::{
    agent::AgentCommand,
    list::listed,
    names::application_name,
    operations::{
        AwaitArgs, HistoryCommand, OneApplication, ReasonArgs, ReconcileCommand, RollbackCommand,
        StatusCommand, SuspendCommand,
    },
};

/// Pintle converges a Kubernetes cluster to what git says.
#[derive(Debug, Parser)]
#[command(name = "pintle", version, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments or settings, 3 there are differences, 4 refused by policy."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) logs: LogArgs,
}

// Options for the log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What is logged to standard error: `info`, `debug`, or a filter such as `pintle_cluster=debug`; by default what
    /// `PINTLE_LOG` says, else warnings, of `pintle agent` `info`
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        value_parser = log_filter,
        help_heading = "Logs"
    )]
    pub(crate) log: Option<String>,
    /// Logs JSON lines; the default of `pintle agent` when standard error is no terminal
    #[arg(long, global = true, help_heading = "Logs")]
    pub(crate) log_json: bool,
}

// Only the arguments of the given command are built: building all of them takes longer than some commands do. Arguments that are
// built this late determine the description of their command, so structs of arguments have no doc comments.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Print the objects that a folder stands for, as one YAML stream
    Render(RenderCommand),
    /// Show what an apply would change, field by field
    Diff(ClusterCommand),
    /// Show the plan: a dry run by the server, policies and the plan's digest
    Plan(ClusterCommand),
    /// Apply a folder or a commit and wait until it is healthy
    Converge(ConvergeCommand),
    /// Delete everything that `converge` made under a name
    Dismiss(DismissCommand),
    /// Take over what another tool has installed, without replacing a pod
    #[command(subcommand)]
    Adopt(AdoptCommand),
    /// Run the tests of an Application in the cluster and wait for their results
    Test(TestCommand),
    /// Show how applications are, and of one why each of its objects is as it is
    Status(StatusCommand),
    /// Stop all work on an application until it is resumed; nothing is deleted
    Suspend(SuspendCommand),
    /// Take up the work on an application that was suspended
    Resume(OneApplication),
    /// Look at an application's source now, try again what failed, and wait for it
    Reconcile(ReconcileCommand),
    /// Go back to an earlier revision of an application, until a new commit supersedes it
    Rollback(RollbackCommand),
    /// Show the revisions of an application: who wrote them, what they changed, and how they ended
    History(HistoryCommand),
    /// List applications or plugins in the cluster
    Get(GetCommand),
    /// Push, pull and inspect plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Run the agent that keeps Applications converged
    Agent(AgentCommand),
    /// Check what pintle needs: plugins, a cache, git, ssh, a cluster
    Doctor(DoctorCommand),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version(OutputArgs),
    /// Compile the component on standard input into the agent's cache: what the agent has a process of its own for
    #[command(hide = true)]
    Compile {
        /// The agent's cache
        #[arg(long, value_name = "FOLDER")]
        cache: PathBuf,
        /// Most bytes of compiled code in it
        #[arg(long, value_name = "BYTES")]
        cache_bytes: u64,
        /// Most bytes of memory that compiling takes; without it there is no limit
        #[arg(long, value_name = "BYTES")]
        memory: Option<u64>,
    },
}

// The input: which revision of what.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    /// A folder, a packed chart (.tgz), the URL of a git repository (https, http, ssh, file), an artifact
    /// (`oci://HOST/REPOSITORY:TAG`), or with --repo the name of a chart
    #[arg(value_name = "PATH|URL|CHART", default_value = ".")]
    pub(crate) source: String,
    /// Take the files as they are now, instead of the last commit
    #[arg(long)]
    pub(crate) dev: bool,
    /// Run again on each change of the files (with --dev) or on each new commit
    #[arg(long)]
    pub(crate) follow: bool,
    /// Environment in the folder's pintle.yaml
    #[arg(long = "env", value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// Chart repository in which the chart is, by its URL or by its name in Helm (`@NAME`)
    #[arg(long, value_name = "URL", help_heading = "Chart")]
    pub(crate) repo: Option<String>,
    /// Version of the chart, or a range: `1.2.3`, `^1.2`; by default the highest release
    #[arg(long, value_name = "VERSION", help_heading = "Chart")]
    pub(crate) version: Option<String>,
    /// Branch to take from the URL
    #[arg(
        long,
        value_name = "NAME",
        group = "reference",
        help_heading = "Git URL"
    )]
    pub(crate) branch: Option<String>,
    /// Tag to take from the URL
    #[arg(
        long,
        value_name = "NAME",
        group = "reference",
        help_heading = "Git URL"
    )]
    pub(crate) tag: Option<String>,
    /// Highest tag in this range
    #[arg(
        long,
        value_name = "RANGE",
        group = "reference",
        help_heading = "Git URL"
    )]
    pub(crate) semver: Option<String>,
    /// Commit to take from the URL, by its full id
    #[arg(long, value_name = "ID", group = "reference", help_heading = "Git URL")]
    pub(crate) commit: Option<String>,
    /// Folder within the repository at the URL
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "",
        help_heading = "Git URL"
    )]
    pub(crate) path: String,
    /// User name for http and https; the password is read from `PINTLE_GIT_PASSWORD`, or a token without a name from
    /// `PINTLE_GIT_TOKEN`
    #[arg(
        long,
        value_name = "NAME",
        env = variable("PINTLE_GIT_USERNAME"),
        help_heading = "Git URL"
    )]
    pub(crate) git_username: Option<String>,
    /// SSH private key; without it, ssh uses its own configuration
    #[arg(
        long,
        value_name = "FILE",
        env = variable("PINTLE_GIT_IDENTITY"),
        help_heading = "Git URL"
    )]
    pub(crate) git_identity: Option<PathBuf>,
    /// Known hosts for --git-identity
    #[arg(
        long,
        value_name = "FILE",
        env = variable("PINTLE_GIT_KNOWN_HOSTS"),
        help_heading = "Git URL"
    )]
    pub(crate) git_known_hosts: Option<PathBuf>,
    /// Certificate authority of the git server, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = variable("PINTLE_GIT_CA"),
        help_heading = "Git URL"
    )]
    pub(crate) git_ca: Option<PathBuf>,
}

// Options for rendering.
#[derive(Debug, Clone, Args)]
pub(crate) struct RendererArgs {
    /// Built-in renderer, component file, or OCI reference; by default the built-in one that recognises the files
    #[arg(long, value_name = "NAME|FILE|OCI-REF", help_heading = "Rendering")]
    pub(crate) renderer: Option<String>,
    /// Settings of the renderer, YAML or JSON
    #[arg(long, value_name = "FILE", help_heading = "Rendering")]
    pub(crate) settings: Option<PathBuf>,
    /// One setting: `a.b=value`; the value is YAML. May be repeated. For values of a chart see --set
    #[arg(long = "setting", value_name = "KEY=VALUE", help_heading = "Rendering")]
    pub(crate) assignments: Vec<String>,
    #[command(flatten)]
    pub(crate) helm: HelmArgs,
    /// Namespace of the application, and of objects that name none; by default that of pintle.yaml, then that of the
    /// kubeconfig's context, of `render` `default`
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Rendering")]
    pub(crate) namespace: Option<String>,
    /// Name of the application; by default the folder's, and of `adopt helm` the release's
    #[arg(
        long,
        value_name = "NAME",
        value_parser = application_name,
        help_heading = "Rendering"
    )]
    pub(crate) name: Option<String>,
    /// Seed for generated values; by default a fresh one without a cluster, and the application's own with one
    // Unlike elsewhere, an empty variable does not count as unset here: most often it is a secret that is missing.
    #[arg(
        long,
        value_name = "TEXT",
        env = "PINTLE_SEED",
        hide_env_values = true,
        value_parser = seed,
        help_heading = "Rendering"
    )]
    pub(crate) seed: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

// Values and choices for charts, as `helm template` takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that can be typed"
)]
pub(crate) struct HelmArgs {
    /// File with values of the chart, `-` for standard input; several with commas between them. May be repeated; the
    /// last one wins
    #[arg(
        short = 'f',
        long,
        value_name = "FILE",
        value_parser = list::checked,
        help_heading = "Chart"
    )]
    pub(crate) values: Vec<String>,
    /// Values of the chart: `a.b=1,c[0]=x`. May be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Chart")]
    pub(crate) set: Vec<String>,
    /// Values of the chart that are texts
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Chart")]
    pub(crate) set_string: Vec<String>,
    /// Values of the chart in JSON: `a.b={"c":1}`, or one object
    #[arg(long, value_name = "KEY=JSON", help_heading = "Chart")]
    pub(crate) set_json: Vec<String>,
    /// Values of the chart that are the contents of files
    #[arg(long, value_name = "KEY=FILE", help_heading = "Chart")]
    pub(crate) set_file: Vec<String>,
    /// One value of the chart that is a text, taken as it is
    #[arg(long, value_name = "KEY=TEXT", help_heading = "Chart")]
    pub(crate) set_literal: Vec<String>,
    /// Take the definitions in crds/ too; only `render` of a bare chart leaves them out without it
    #[arg(long, overrides_with = "skip_crds", help_heading = "Chart")]
    pub(crate) include_crds: bool,
    /// Leave out the definitions in crds/
    #[arg(long, help_heading = "Chart")]
    pub(crate) skip_crds: bool,
    /// Leave out hooks
    #[arg(long, help_heading = "Chart")]
    pub(crate) no_hooks: bool,
    /// Leave out hooks that are tests
    #[arg(long, help_heading = "Chart")]
    pub(crate) skip_tests: bool,
    /// Let the chart see an upgrade instead of an installation
    #[arg(long, help_heading = "Chart")]
    pub(crate) is_upgrade: bool,
    /// Only what this template makes: `templates/deployment.yaml`. May be repeated
    #[arg(short, long, value_name = "TEMPLATE", help_heading = "Chart")]
    pub(crate) show_only: Vec<String>,
    /// Do not check values against the chart's schema
    #[arg(long, help_heading = "Chart")]
    pub(crate) skip_schema_validation: bool,
}

// Options for access to registries.
#[derive(Debug, Clone, Args)]
pub(crate) struct RegistryArgs {
    /// Certificate authority of registries, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = variable("PINTLE_REGISTRY_CA"),
        help_heading = "Registry"
    )]
    pub(crate) registry_ca: Option<PathBuf>,
    /// Registry host that speaks http without TLS; loopback hosts may anyway. May be repeated
    #[arg(long, value_name = "HOST", help_heading = "Registry")]
    pub(crate) plain_http: Vec<String>,
}

// The choice of the cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionArgs {
    /// Context of the kubeconfig; by default the current one
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// Kubeconfig file; by default `KUBECONFIG` or ~/.kube/config, and in a pod its service account
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

// Options for the output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// Machine output instead of text for people
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Yaml,
    /// One JSON document in each line, as things happen; the result comes last
    Jsonl,
}

#[derive(Debug, Args)]
pub(crate) struct RenderCommand {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) renderer: RendererArgs,
    /// Kubernetes version that the renderer sees
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "v1.37.0",
        value_parser = kube_version,
        help_heading = "Rendering"
    )]
    pub(crate) kube_version: String,
    /// API that the renderer sees, beside those of Kubernetes: `example.com/v1/Widget`; several with commas between them.
    /// May be repeated
    #[arg(
        short = 'a',
        long,
        value_name = "API",
        value_parser = list::checked,
        help_heading = "Rendering"
    )]
    pub(crate) api_versions: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchCommand {
    #[command(flatten)]
    pub(crate) render: RenderCommand,
    /// How often it is rendered, after the first time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
}

// What `diff`, `plan` and `converge` share.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterCommand {
    /// Kinds that renderer and policies may read from the cluster, in your name: `v1/ConfigMap`, or `*` for any; none by default.
    /// May be repeated
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        help_heading = "Rendering"
    )]
    pub(crate) cluster_reads: Vec<String>,
    /// Policy that is asked beside those of pintle.yaml, with its default settings: a built-in one, a component file, or an OCI
    /// reference. May be repeated
    #[arg(
        long = "policy",
        value_name = "NAME|FILE|OCI-REF",
        help_heading = "Policies"
    )]
    pub(crate) policies: Vec<String>,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) renderer: RendererArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ConvergeCommand {
    #[command(flatten)]
    pub(crate) cluster: ClusterCommand,
    /// How long objects may take to become healthy: `5m`, `1h30m`
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<pintle_core::duration::Span>,
    /// Digest that an earlier refusal printed: confirms exactly these deletions
    #[arg(long, value_name = "DIGEST")]
    pub(crate) confirm_prune: Option<pintle_core::digest::Digest>,
    /// Take over fields that other managers own
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Run the tests when all is healthy
    #[arg(long)]
    pub(crate) test: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DismissCommand {
    /// Name under which it was converged; by default the current folder's
    #[arg(value_name = "NAME|PATH", default_value = ".")]
    pub(crate) name: String,
    /// Namespace of its inventory
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Also delete namespaces, claims and definitions, which stay otherwise
    #[arg(long)]
    pub(crate) all_kinds: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdoptCommand {
    /// Show what a takeover of a Helm release would change, and with --yes do it
    Helm(Box<AdoptHelmCommand>),
}

#[derive(Debug, Args)]
pub(crate) struct AdoptHelmCommand {
    /// Name of the release that Helm, or Flux, has installed
    pub(crate) release: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterCommand,
    /// Take it over; without this nothing is written
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do it even if pods are replaced
    #[arg(long)]
    pub(crate) allow_restarts: bool,
    /// Delete Helm's record of the release when it is taken over and healthy; its objects stay
    #[arg(long)]
    pub(crate) forget: bool,
    /// How long objects may take to become healthy: `5m`, `1h30m`
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<pintle_core::duration::Span>,
}

#[derive(Debug, Args)]
pub(crate) struct TestCommand {
    /// Name of the Application
    pub(crate) name: String,
    /// Its namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// How long to wait for the results: `5m`, `1h30m`
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub(crate) timeout: pintle_core::duration::Span,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GetCommand {
    /// What to show
    #[arg(value_enum, default_value = "applications")]
    pub(crate) what: GetWhat,
    /// Only this one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Namespace; by default all
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GetWhat {
    #[value(aliases = ["application", "apps", "app"])]
    Applications,
    #[value(aliases = ["plugin"])]
    Plugins,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Push a component to a registry
    Push {
        /// The component, or the name of a built-in plugin
        #[arg(value_name = "FILE|NAME")]
        component: String,
        /// Where to: `registry.example.com/plugins/mine:1.0.0`
        reference: String,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Pull a component from a registry and verify it
    Pull {
        /// Which: `registry.example.com/plugins/mine:1.0.0`
        reference: String,
        /// Where to
        file: PathBuf,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show what a plugin is, wants and takes
    Inspect {
        /// A component file, an OCI reference, or the name of a built-in plugin
        #[arg(value_name = "FILE|OCI-REF|NAME")]
        plugin: String,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Measure a renderer where it stays loaded, as in the agent
    Bench(Box<BenchCommand>),
    /// List the plugins that are built in
    List(OutputArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DoctorCommand {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Accepts a log filter.
fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}: expected `info`, `debug`, or a filter such as `pintle_cluster=debug`"
        )),
    }
}

/// Accepts `v1.33.4`, `1.33`, and the suffixes of distributions: `v1.33.4-gke.1245000`.
fn kube_version(text: &str) -> Result<String, String> {
    let numbers = text.strip_prefix('v').unwrap_or(text);
    let is_version = numbers.split_once('.').is_some_and(|(major, minor)| {
        !major.is_empty()
            && major.bytes().all(|byte| byte.is_ascii_digit())
            && minor.starts_with(|first: char| first.is_ascii_digit())
    });
    if is_version {
        Ok(format!("v{numbers}"))
    } else {
        Err("expected a version of Kubernetes, such as v1.33.4".to_owned())
    }
}

#[cfg(test)]
mod tests;
