//! Two tenants of one cluster, one of which tries to exceed its permissions.

use anyhow::{Context as _, Result};
use pintle_harness::{AgentOptions, until};
use serde_json::Value;

use crate::desk::as_administrator;
use crate::hooks::hook;
use crate::world::{LIMIT, Stage, condition, config_map, namespace, world};

/// A stage for the tenant that tries to escape, and the namespace of the other tenant.
struct Tenants {
    stage: Stage,
    victim: String,
}

impl Tenants {
    /// Starts an agent as `deploy/` does: with a default account that may do everything, for trusted users.
    fn new(prefix: &str) -> Result<Self> {
        let victim = namespace(&format!("{prefix}-victim"))?;
        world().control_plane.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: treasure, namespace: {victim}}}\n\
             stringData: {{username: jim, password: pieces-of-eight}}\n"
        ))?;
        let stage = Stage::with(prefix, |namespace| {
            let mut options = AgentOptions::new(world().agent_kubeconfig());
            let args = ["--watch-namespace", namespace, "--watch-namespace", &victim];
            options.args.extend(args.map(ToOwned::to_owned));
            options
                .args
                .push("--default-service-account=pintle-system/pintle-applier".to_owned());
            options
        })?;
        Ok(Self { stage, victim })
    }

    /// Waits until an application is not Ready, and returns the reason and the message.
    fn refused(&self, application: &str) -> Result<(String, String)> {
        let mut found = (String::new(), String::new());
        until(&format!("{application} is refused"), LIMIT, || {
            let ready = condition(&self.stage.object("Application", application)?, "Ready");
            let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
            // While it is being applied, it is not refused yet.
            let is_refused = ready["status"] == "False" && text("reason") != "Applying";
            found = (text("reason"), text("message"));
            Ok(if is_refused {
                Ok(())
            } else {
                Err(ready.to_string())
            })
        })?;
        Ok(found)
    }

    /// Returns a `ConfigMap` of the other tenant, or null if it does not exist.
    fn of_victim(&self, name: &str) -> Result<Value> {
        let args = [
            "-n",
            &self.victim,
            "get",
            "configmap",
            name,
            "-o",
            "json",
            "--ignore-not-found",
        ];
        let text = self.stage.world.control_plane.kubectl(&args)?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Asserts that since a mark, nothing but the tracker's watches has successfully read the other tenant's Secrets.
    fn treasure_is_safe(&self, mark: u64) -> Result<()> {
        let mut requests = self.stage.world.control_plane.requests_since(mark)?;
        requests.retain(|request| {
            // Without impersonation, and limited to objects of an application.
            let is_tracker = request.impersonated.is_none()
                && matches!(request.verb.as_str(), "list" | "watch")
                && request.uri.contains("labelSelector=");
            request.resource == "secrets"
                && (request.namespace == self.victim || request.uri.contains(&self.victim))
                && !is_tracker
                && request.code < 400
        });
        assert!(requests.is_empty(), "{requests:?}");
        Ok(())
    }
}

#[test]
fn nobody_acts_in_the_name_of_another() -> Result<()> {
    let tenants = Tenants::new("names")?;
    let (stage, victim) = (&tenants.stage, &tenants.victim);
    let claim = config_map("claim", "mine");
    stage
        .repository
        .push_files(&[("claim.yaml", &claim)], "claim")?;
    let named = |name: &str, account: &str| {
        let text = stage.application(name, "", "");
        text.replace("serviceAccountName: deployer", account)
    };
    let colon = format!("serviceAccountName: '{victim}:deployer'");
    let applications = [
        named("unnamed", "suspend: false"),
        named("colon", &colon),
        named(
            "path",
            &format!("serviceAccountName: '../{victim}/deployer'"),
        ),
    ];
    let mark = stage.mark()?;
    stage.apply(&applications.concat())?;
    let (reason, message) = tenants.refused("unnamed")?;
    assert_eq!(reason, "NoServiceAccount");
    assert!(message.contains("--trust-namespace"), "{message}");
    for name in ["colon", "path"] {
        let (reason, message) = tenants.refused(name)?;
        assert_eq!(reason, "NoServiceAccount");
        assert!(
            message.contains("no name of a service account"),
            "{message}"
        );
    }
    let mut requests = stage.world.control_plane.requests_since(mark)?;
    requests.retain(|request| {
        let by = request.impersonated.as_deref().unwrap_or_default();
        by.contains(victim)
            || (by.contains("pintle-applier") && request.namespace == stage.namespace)
    });
    assert!(requests.is_empty(), "{requests:?}");
    assert!(stage.find("ConfigMap", "claim")?.is_none());
    Ok(())
}

#[test]
fn an_application_can_do_what_its_account_can() -> Result<()> {
    let tenants = Tenants::new("rights")?;
    let (stage, victim) = (&tenants.stage, &tenants.victim);
    let foreign = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: planted, namespace: {victim}}}\n"
    );
    let binding = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {ns}-king}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {ns}}}]\n",
        ns = stage.namespace
    );
    let own_king = binding
        .replace("ClusterRoleBinding", "RoleBinding")
        .replace(
            "-king}",
            &format!("-king, namespace: {}}}", stage.namespace),
        );
    // A file in the repository names another account, and disables what the operator of the application wants.
    let file = format!(
        "serviceAccountName: pintle-applier\nprune: {{maxPercent: 100}}\nnamespace: {}\n",
        stage.namespace
    );
    let files = [
        ("foreign/a.yaml", foreign.as_str()),
        ("cluster/a.yaml", &binding),
        ("king/a.yaml", &own_king),
        ("file/pintle.yaml", &file),
        ("file/a.yaml", &config_map("own", "1")),
    ];
    let commit = stage.repository.push_files(&files, "all")?;
    let applications = ["foreign", "cluster", "king", "file"];
    let applications = applications.map(|name| stage.application(name, name, ""));
    let target = stage.application("target", "file", &format!("namespace: {victim}"));
    let mark = stage.mark()?;
    stage.apply(&(applications.concat() + &target))?;
    for name in ["foreign", "cluster", "king", "target"] {
        let (reason, message) = tenants.refused(name)?;
        assert_eq!(reason, "ApplyFailed", "{name}: {message}");
        assert!(message.contains("may not do this"), "{name}: {message}");
    }
    stage.ready_at("file", &commit)?;
    let own = stage.writes_since(mark)?;
    assert_eq!(own.get("patch configmaps/own"), Some(&1), "{own:?}");
    let planted = ["-n", victim, "get", "configmaps", "-o", "name"];
    let planted = stage.world.control_plane.kubectl(&planted)?;
    assert!(
        !planted.contains("planted") && !planted.contains("own"),
        "{planted}"
    );

    // A user who may edit a namespace may create Applications there, but neither Plugins nor statuses.
    let may = |verb: &str, what: &[&str], namespace: &str| {
        let user = format!("--as=system:serviceaccount:{}:deployer", stage.namespace);
        let args = [&["auth", "can-i", verb, "-n", namespace, &user], what].concat();
        stage.world.control_plane.kubectl(&args).is_ok()
    };
    let applications = "applications.pintle.dev";
    assert!(may("create", &[applications], &stage.namespace));
    assert!(!may("create", &[applications], victim));
    let status = [applications, "--subresource=status"];
    assert!(!may("patch", &status, &stage.namespace));
    assert!(!may("create", &["plugins.pintle.dev"], &stage.namespace));
    Ok(())
}

#[test]
fn nobody_keeps_what_another_deletes_by_rendering_it() -> Result<()> {
    let tenants = Tenants::new("keeping")?;
    let (stage, victim) = (&tenants.stage, &tenants.victim);
    let of_victim = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {victim}}}\n"
        )
    };
    let (waited, hooked) = (of_victim("waited"), of_victim("hooked"));
    let failing = hook("failing", "pre-install,pre-upgrade", "failed");
    let files = [
        ("owner/own.yaml", of_victim("own")),
        ("owner/waited.yaml", waited.clone()),
        ("owner/hooked.yaml", hooked.clone()),
        ("waits/waited.yaml", waited),
        ("fails/hooked.yaml", hooked),
        ("fails/hook.yaml", failing),
    ];
    for (path, text) in &files {
        stage.repository.write(path, text)?;
    }
    stage.repository.push_files(&[], "all")?;
    let has = |names: [&str; 2], is_there: bool| {
        until(&format!("{names:?} are there: {is_there}"), LIMIT, || {
            let list = ["-n", victim, "get", "configmaps", "-o", "name"];
            let found = stage.world.control_plane.kubectl(&list)?;
            let has = |name: &str| {
                found
                    .lines()
                    .any(|line| line == format!("configmap/{name}"))
            };
            Ok(if names.iter().all(|name| has(name) == is_there) {
                Ok(())
            } else {
                Err(found)
            })
        })
    };
    let owner = stage.application("owner", "owner", "").replace(
        &format!("namespace: {}}}", stage.namespace),
        &format!("namespace: {victim}}}"),
    );
    stage.apply(&owner)?;
    has(["waited", "hooked"], true)?;
    // Neither gets far enough to be refused the other tenant's object.
    let waits = stage.application("waits", "waits", "dependsOn: [{name: never-there}]");
    stage.apply(&(waits + &stage.application("fails", "fails", "")))?;
    stage.condition("waits", "Ready", "DependencyNotReady")?;
    tenants.refused("fails")?;

    stage.repository.remove("owner/waited.yaml")?;
    stage.repository.remove("owner/hooked.yaml")?;
    stage.repository.push_files(&[], "less")?;
    let request = "pintle.dev/reconcile-requested-at=less";
    let annotate = ["-n", victim, "annotate", "application", "owner", request];
    stage.world.control_plane.kubectl(&annotate)?;
    has(["waited", "hooked"], false)?;
    has(["own", "own"], true)
}

#[test]
fn what_waited_for_others_first_is_handed_over_as_all_else() -> Result<()> {
    let tenants = Tenants::new("waited")?;
    let (stage, victim) = (&tenants.stage, &tenants.victim);
    stage.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: neighbour, namespace: {victim}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {}}}]\n",
        stage.namespace
    ))?;
    let of_victim = |name: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {victim}}}\ndata: {{value: '{value}'}}\n"
        )
    };
    let files = [
        ("own.yaml", of_victim("own", "1")),
        ("moves.yaml", of_victim("moves", "1")),
    ];
    for (path, text) in &files {
        stage.repository.write(path, text)?;
    }
    stage.repository.push_files(&[], "all")?;
    let owner = stage.application("owner", "", "").replace(
        &format!("namespace: {}}}", stage.namespace),
        &format!("namespace: {victim}}}"),
    );
    stage.apply(&owner)?;
    let before = until("the owner has it", LIMIT, || {
        let found = tenants.of_victim("moves")?;
        Ok(if found.is_null() {
            Err("it is not there".to_owned())
        } else {
            Ok(found)
        })
    })?;

    // The taker has a repository of its own: the only reason for it to run when the owner releases the object is that it claims
    // the object.
    let servers = &stage.world.servers;
    let repository = servers.repository(&format!("{}-taker", stage.namespace))?;
    repository.write("db/db.yaml", config_map("db", "1"))?;
    repository.write("taker/moves.yaml", of_victim("moves", "2"))?;
    let commit = repository.push_files(&[], "all")?;
    let of = |name: &str, spec: &str| {
        stage.application_of(&servers.git_http(&repository), name, name, spec)
    };
    stage.apply(&of("taker", "dependsOn: [{name: db}]"))?;
    stage.condition("taker", "Ready", "DependencyNotReady")?;
    stage.apply(&of("db", ""))?;
    stage.condition("taker", "Stalled", "ApplyFailed")?;

    stage.repository.remove("moves.yaml")?;
    stage.repository.push_files(&[], "less")?;
    let request = "pintle.dev/reconcile-requested-at=less";
    let annotate = ["-n", victim, "annotate", "application", "owner", request];
    stage.world.control_plane.kubectl(&annotate)?;
    stage.ready_at("taker", &commit)?;
    let after = tenants.of_victim("moves")?;
    assert_eq!(after["data"]["value"], "2");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    Ok(())
}

#[test]
fn a_secret_is_read_in_its_own_namespace_and_in_the_name_of_the_account() -> Result<()> {
    let tenants = Tenants::new("secrets")?;
    let (stage, victim) = (&tenants.stage, &tenants.victim);
    stage
        .repository
        .push_files(&[("a.yaml", &config_map("a", "1"))], "a")?;
    // An account that may not read Secrets cannot have the agent read them on its behalf either.
    stage.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: weak, namespace: {ns}}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: own, namespace: {ns}}}\nstringData: {{username: a, password: b}}\n",
        ns = stage.namespace
    ))?;
    let url = stage.world.servers.git_http(&stage.repository);
    let with = |name: &str, secret: &str| {
        let text = stage.application(name, "", "");
        let source = format!("url: '{url}', credentials: {{name: '{secret}'}}");
        text.replace(&format!("url: '{url}'"), &source)
    };
    let weak =
        with("weak", "own").replace("serviceAccountName: deployer", "serviceAccountName: weak");
    let traversing = with("traversing", &format!("../../{victim}/secrets/treasure"));
    let mark = stage.mark()?;
    stage.apply(&(with("named", "treasure") + &traversing + &weak))?;
    let (reason, message) = tenants.refused("named")?;
    assert_eq!(reason, "SourceFailed");
    let missing = format!("Secret {}/treasure does not exist", stage.namespace);
    assert!(message.contains(&missing), "{message}");
    let (reason, message) = tenants.refused("traversing")?;
    assert_eq!(reason, "SourceFailed");
    assert!(!message.contains("pieces"), "{message}");
    let (reason, message) = tenants.refused("weak")?;
    assert_eq!(reason, "SourceFailed");
    let by = format!(
        "in the name of system:serviceaccount:{}:weak",
        stage.namespace
    );
    assert!(
        message.contains(&by) && message.contains("403"),
        "{message}"
    );
    tenants.treasure_is_safe(mark)
}

#[test]
fn a_plugin_does_for_a_tenant_what_the_operator_grants() -> Result<()> {
    let tenants = Tenants::new("plugins")?;
    let (stage, victim) = (&tenants.stage, &tenants.victim);
    let image = format!(
        "{}/tenants/helm:{}",
        stage.world.servers.registry(),
        stage.namespace
    );
    as_administrator(&["plugin", "push", "helm", &image], 0)?;
    let plugin = |name: &str, namespaces: &str| {
        format!(
            "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {name}}}\n\
             spec: {{image: '{image}', namespaces: ['{namespaces}'], grants: {{clusterReads: ['v1/Secret']}}}}\n---\n"
        )
    };
    let (ours, theirs) = (
        format!("{}-helm", stage.namespace),
        format!("{victim}-helm"),
    );
    let chart = "apiVersion: v2\nname: dig\nversion: 0.1.0\n";
    let template = format!(
        "{{{{ $found := lookup \"v1\" \"Secret\" \"{victim}\" \"treasure\" -}}}}\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: loot}}\n\
         data: {{value: '{{{{ dig \"data\" \"password\" \"nothing\" $found }}}}'}}\n"
    );
    // Without a name, the lookup asks for all of them, with another verb.
    let all = format!(
        "{{{{ $found := lookup \"v1\" \"Secret\" \"{victim}\" \"\" -}}}}\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: hoard}}\n\
         data: {{value: '{{{{ $found | toJson | b64enc }}}}'}}\n"
    );
    // Notifiers that the repository adds get no more than the operator's.
    let sink = stage.world.servers.sink(&stage.namespace);
    let file = format!(
        "notifiers:\n- plugin: webhook\n  settings: {{url: '{sink}'}}\n- plugin: {theirs}\n"
    );
    let files = [
        ("chart/Chart.yaml", chart),
        ("chart/templates/loot.yaml", &template),
        ("all/Chart.yaml", chart),
        ("all/templates/hoard.yaml", &all),
        ("told/pintle.yaml", &file),
        ("told/a.yaml", &config_map("told", "1")),
    ];
    let commit = stage.repository.push_files(&files, "all")?;
    let mark = stage.mark()?;
    let using = |name: &str, path: &str, plugin: &str| {
        stage.application(name, path, &format!("renderer: {{plugin: {plugin}}}"))
    };
    let applications = using("ours", "chart", &ours)
        + &using("all", "all", &ours)
        + &using("theirs", "chart", &theirs)
        + &stage.application("told", "told", "");
    stage.apply(
        &(plugin(&ours, &stage.namespace)
            + &plugin(&theirs, &format!("{victim}*"))
            + &applications),
    )?;
    // A grant to read Secrets covers only those that the account may read.
    for (name, found) in [("ours", "loot"), ("all", "hoard")] {
        let (reason, message) = tenants.refused(name)?;
        assert!(message.contains("403"), "{reason}: {message}");
        assert!(stage.find("ConfigMap", found)?.is_none());
    }
    let (_, message) = tenants.refused("theirs")?;
    let expected = format!(
        "plugin `{theirs}` is not for applications in namespace {}",
        stage.namespace
    );
    assert!(message.contains(&expected), "{message}");
    tenants.treasure_is_safe(mark)?;

    stage.ready_at("told", &commit)?;
    until("both notifiers are refused", LIMIT, || {
        let events = stage.events("told")?;
        let failed = events
            .iter()
            .filter(|(reason, _)| reason == "NotificationFailed");
        let notes: Vec<_> = failed.map(|(_, note)| note.clone()).collect();
        let both = notes.iter().any(|note| note.contains("webhook"))
            && notes.iter().any(|note| note.contains(&expected));
        Ok(if both {
            Ok(())
        } else {
            Err(format!("{notes:?}"))
        })
    })?;
    let deliveries = stage.world.servers.deliveries(&stage.namespace)?;
    assert!(deliveries.is_empty(), "{}", deliveries.len());

    // The tenant that owns the Secret finds it.
    let text = using("mine", "chart", &theirs).replace(
        &format!("namespace: {}}}", stage.namespace),
        &format!("namespace: {victim}}}"),
    );
    stage.apply(&text)?;
    let mut found = Value::Null;
    until("the other tenant's lookup finds its own", LIMIT, || {
        found = tenants.of_victim("loot")?;
        Ok(if found.is_null() {
            Err("no loot yet".to_owned())
        } else {
            Ok(())
        })
    })?;
    let value = found["data"]["value"].as_str().context("it has a value")?;
    // As the API returns it: the base64 encoding of `pieces-of-eight`.
    assert_eq!(value, "cGllY2VzLW9mLWVpZ2h0");
    Ok(())
}
