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

/// Converge a Kubernetes cluster to the state in git
#[derive(Debug, Parser)]
#[command(name = "pintle", version, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 success, 1 failure, 2 invalid arguments or settings, 3 differences found, 4 refused by a policy."
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
    /// Messages to log to standard error: `info`, `debug`, or a filter such as `pintle_cluster=debug`; by default, the value of
    /// `PINTLE_LOG`, or else warnings; for `pintle agent`, `info`
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        value_parser = log_filter,
        help_heading = "Logs"
    )]
    pub(crate) log: Option<String>,
    /// Log lines as JSON; the default of `pintle agent` if standard error is not a terminal
    #[arg(long, global = true, help_heading = "Logs")]
    pub(crate) log_json: bool,
}

// Only the arguments of the given command are built: building all of them takes longer than some commands do. Arguments that are
// built this late determine the description of their command, so structs of arguments have no doc comments.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Print the objects that a folder renders to, as one YAML stream
    Render(RenderCommand),
    /// Show what an apply would change, field by field
    Diff(ClusterCommand),
    /// Show the plan: a dry run by the server, the findings of policies, and the plan's digest
    Plan(ClusterCommand),
    /// Apply a folder or a commit and wait until it is healthy
    Converge(ConvergeCommand),
    /// Delete everything that `converge` created under a name
    Dismiss(DismissCommand),
    /// Take over what another tool has installed, without replacing pods
    #[command(subcommand)]
    Adopt(AdoptCommand),
    /// Run the tests of an Application in the cluster and wait for their results
    Test(TestCommand),
    /// Show the state of applications; for a single one, also the state of each object and its cause
    Status(StatusCommand),
    /// Stop all work on an application until it is resumed, without deleting anything
    Suspend(SuspendCommand),
    /// Resume work on a suspended application
    Resume(OneApplication),
    /// Check an application's source now, retry what failed, and wait for the result
    Reconcile(ReconcileCommand),
    /// Roll an application back to an earlier revision, until a new commit supersedes it
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
    /// Check what Pintle needs: plugins, a cache, git, ssh and a cluster
    Doctor(DoctorCommand),
    /// Print a completion script for a shell
    Completion {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version(OutputArgs),
    /// Compile the component on standard input into the agent's cache; the agent runs this in a separate process
    #[command(hide = true)]
    Compile {
        /// Cache of the agent
        #[arg(long, value_name = "FOLDER")]
        cache: PathBuf,
        /// Maximum size of the compiled code in the cache, in bytes
        #[arg(long, value_name = "BYTES")]
        cache_bytes: u64,
        /// Maximum memory for compiling, in bytes; by default, there is no limit
        #[arg(long, value_name = "BYTES")]
        memory: Option<u64>,
    },
}

// The input: which revision of what.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    /// Folder, packed chart (.tgz), URL of a git repository (https, http, ssh, file), artifact (`oci://HOST/REPOSITORY:TAG`), or
    /// with --repo the name of a chart
    #[arg(value_name = "PATH|URL|CHART", default_value = ".")]
    pub(crate) source: String,
    /// Use the files as they are now, instead of the last commit
    #[arg(long)]
    pub(crate) dev: bool,
    /// Run again on each change of the files (with --dev) or on each new commit
    #[arg(long)]
    pub(crate) follow: bool,
    /// Environment in the folder's pintle.yaml
    #[arg(long = "env", value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// Chart repository, by its URL or by its name in Helm (`@NAME`)
    #[arg(long, value_name = "URL", help_heading = "Chart")]
    pub(crate) repo: Option<String>,
    /// Version of the chart, or a range: `1.2.3`, `^1.2`; by default, the highest release
    #[arg(long, value_name = "VERSION", help_heading = "Chart")]
    pub(crate) version: Option<String>,
    /// Branch of the repository at the URL
    #[arg(
        long,
        value_name = "NAME",
        group = "reference",
        help_heading = "Git URL"
    )]
    pub(crate) branch: Option<String>,
    /// Tag in the repository at the URL
    #[arg(
        long,
        value_name = "NAME",
        group = "reference",
        help_heading = "Git URL"
    )]
    pub(crate) tag: Option<String>,
    /// Range whose highest tag is used
    #[arg(
        long,
        value_name = "RANGE",
        group = "reference",
        help_heading = "Git URL"
    )]
    pub(crate) semver: Option<String>,
    /// Commit in the repository at the URL, by its full id
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
    /// User name for http and https. The password is read from `PINTLE_GIT_PASSWORD`, or a token without a user name from
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
    /// Certificate authority of the git server, in PEM format
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
    /// Built-in renderer, component file, or OCI reference; by default, the built-in renderer that recognises the files
    #[arg(long, value_name = "NAME|FILE|OCI-REF", help_heading = "Rendering")]
    pub(crate) renderer: Option<String>,
    /// File with settings for the renderer, in YAML or JSON
    #[arg(long, value_name = "FILE", help_heading = "Rendering")]
    pub(crate) settings: Option<PathBuf>,
    /// Single setting for the renderer, with a value in YAML: `a.b=value`. May be repeated. For values of a chart, see --set
    #[arg(long = "setting", value_name = "KEY=VALUE", help_heading = "Rendering")]
    pub(crate) assignments: Vec<String>,
    #[command(flatten)]
    pub(crate) helm: HelmArgs,
    /// Namespace of the application, and of objects that name none; by default, the one in pintle.yaml, then that of the
    /// kubeconfig's context; for `render`, `default`
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Rendering")]
    pub(crate) namespace: Option<String>,
    /// Name of the application; by default, the name of the folder, or for `adopt helm` of the release
    #[arg(
        long,
        value_name = "NAME",
        value_parser = application_name,
        help_heading = "Rendering"
    )]
    pub(crate) name: Option<String>,
    /// Seed for generated values; by default, a fresh one without a cluster, and the application's own with one
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
    /// File with values for the chart, or `-` for standard input; separate several by commas. May be repeated; the last one wins
    #[arg(
        short = 'f',
        long,
        value_name = "FILE",
        value_parser = list::checked,
        help_heading = "Chart"
    )]
    pub(crate) values: Vec<String>,
    /// Values for the chart: `a.b=1,c[0]=x`. May be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Chart")]
    pub(crate) set: Vec<String>,
    /// Values for the chart, as strings
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Chart")]
    pub(crate) set_string: Vec<String>,
    /// Values for the chart, in JSON: `a.b={"c":1}`, or one object
    #[arg(long, value_name = "KEY=JSON", help_heading = "Chart")]
    pub(crate) set_json: Vec<String>,
    /// Values for the chart, read from files
    #[arg(long, value_name = "KEY=FILE", help_heading = "Chart")]
    pub(crate) set_file: Vec<String>,
    /// Single value for the chart, as a literal string
    #[arg(long, value_name = "KEY=TEXT", help_heading = "Chart")]
    pub(crate) set_literal: Vec<String>,
    /// Include the definitions in crds/; by default, only `render` of a bare chart leaves them out
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
    /// Use only the output of this template: `templates/deployment.yaml`. May be repeated
    #[arg(short, long, value_name = "TEMPLATE", help_heading = "Chart")]
    pub(crate) show_only: Vec<String>,
    /// Do not check values against the chart's schema
    #[arg(long, help_heading = "Chart")]
    pub(crate) skip_schema_validation: bool,
}

// Options for access to registries.
#[derive(Debug, Clone, Args)]
pub(crate) struct RegistryArgs {
    /// Certificate authority of registries, in PEM format
    #[arg(
        long,
        value_name = "FILE",
        env = variable("PINTLE_REGISTRY_CA"),
        help_heading = "Registry"
    )]
    pub(crate) registry_ca: Option<PathBuf>,
    /// Registry host that may be accessed over http without TLS; loopback hosts may always be. May be repeated
    #[arg(long, value_name = "HOST", help_heading = "Registry")]
    pub(crate) plain_http: Vec<String>,
}

// The choice of the cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionArgs {
    /// Context of the kubeconfig; by default, the current one
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// Kubeconfig file; by default, `KUBECONFIG` or ~/.kube/config, and in a pod its service account
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

// Options for the output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// Format of machine-readable output; by default, text for people is printed
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Yaml,
    /// One JSON document per line, as things happen; the result comes last
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
    /// API that the renderer sees in addition to those of Kubernetes: `example.com/v1/Widget`; separate several by commas. May be
    /// repeated
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
    /// Number of renders after the first one
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
}

// What `diff`, `plan` and `converge` share.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterCommand {
    /// Kinds that the renderer and policies may read from the cluster, with your permissions: `v1/ConfigMap`, or `*` for any; by
    /// default, none. May be repeated
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        help_heading = "Rendering"
    )]
    pub(crate) cluster_reads: Vec<String>,
    /// Policy to evaluate in addition to those of pintle.yaml, with its default settings: a built-in one, a component file, or an
    /// OCI reference. May be repeated
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
    /// Time that objects have to become healthy: `5m`, `1h30m`
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<pintle_core::duration::Span>,
    /// Digest that an earlier refusal printed, to confirm exactly these deletions
    #[arg(long, value_name = "DIGEST")]
    pub(crate) confirm_prune: Option<pintle_core::digest::Digest>,
    /// Take over fields that other managers own
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Run the tests when everything is healthy
    #[arg(long)]
    pub(crate) test: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DismissCommand {
    /// Name that `converge` used; by default, the name of the current folder
    #[arg(value_name = "NAME|PATH", default_value = ".")]
    pub(crate) name: String,
    /// Namespace of the inventory
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Also delete namespaces, claims and definitions, which otherwise stay
    #[arg(long)]
    pub(crate) all_kinds: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdoptCommand {
    /// Show what taking over a Helm release would change; with --yes, take it over
    Helm(Box<AdoptHelmCommand>),
}

#[derive(Debug, Args)]
pub(crate) struct AdoptHelmCommand {
    /// Name of the release that Helm or Flux has installed
    pub(crate) release: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterCommand,
    /// Take the release over; otherwise, nothing is written
    #[arg(long)]
    pub(crate) yes: bool,
    /// Take the release over even if pods are replaced
    #[arg(long)]
    pub(crate) allow_restarts: bool,
    /// Delete Helm's record of the release once it is taken over and healthy; the objects stay
    #[arg(long)]
    pub(crate) forget: bool,
    /// Time that objects have to become healthy: `5m`, `1h30m`
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<pintle_core::duration::Span>,
}

#[derive(Debug, Args)]
pub(crate) struct TestCommand {
    /// Name of the Application
    pub(crate) name: String,
    /// Namespace of the Application
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Time to wait for the results: `5m`, `1h30m`
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub(crate) timeout: pintle_core::duration::Span,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GetCommand {
    /// Resources to list
    #[arg(value_enum, default_value = "applications")]
    pub(crate) what: GetWhat,
    /// Name of a single resource to list
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Namespace of the resources; by default, all
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
        /// Component file, or name of a built-in plugin
        #[arg(value_name = "FILE|NAME")]
        component: String,
        /// Reference to push to: `registry.example.com/plugins/mine:1.0.0`
        reference: String,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Pull a component from a registry and verify it
    Pull {
        /// Reference to pull: `registry.example.com/plugins/mine:1.0.0`
        reference: String,
        /// File to write the component to
        file: PathBuf,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show what a plugin is, what it asks for and what settings it takes
    Inspect {
        /// Component file, OCI reference, or name of a built-in plugin
        #[arg(value_name = "FILE|OCI-REF|NAME")]
        plugin: String,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Measure a renderer that stays loaded, as in the agent
    Bench(Box<BenchCommand>),
    /// List the built-in plugins
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
