//! Charts: from repositories and registries, with their dependencies, what they look up in the cluster and what they generate.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pintle_harness::{AGENT_NAMESPACE, agent, pack_chart, until};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::shelf::{Shelf, write};
use crate::world::{LIMIT, Stage, world};

/// A chart whose only object repeats a value from an object that the chart looks up.
pub(crate) const BOAT: [(&str, &str); 2] = [
    (
        "boat/Chart.yaml",
        "apiVersion: v2\nname: boat\nversion: 0.1.0\n",
    ),
    (
        "boat/templates/boat.yaml",
        "{{ $found := lookup \"v1\" \"ConfigMap\" .Release.Namespace \"tide\" -}}\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: boat}\n\
         data: {value: {{ dig \"data\" \"level\" \"none\" $found }}}\n",
    ),
];

/// Returns the digest that a lock file records: over the requested and the resolved dependencies, as Helm encodes both
/// (`internal/resolver.HashReq`). Each dependency is a name, a version and a repository.
fn lock_digest<const N: usize>(both: &[[(&str, &str, &str); N]; 2]) -> String {
    let list = |dependencies: &[(&str, &str, &str); N]| {
        let one = |(name, version, repository): &(&str, &str, &str)| {
            format!(r#"{{"name":"{name}","version":"{version}","repository":"{repository}"}}"#)
        };
        format!("[{}]", dependencies.each_ref().map(one).join(","))
    };
    let text = format!("[{}]", both.each_ref().map(list).join(","));
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

/// Returns a template for a `ConfigMap` with one value.
fn template(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: {{{{ {value} | quote }}}}}}\n"
    )
}

/// A chart that depends on another one that is not published yet.
pub(crate) struct Database {
    /// The `Chart.yaml` of the dependent chart.
    pub(crate) chart: String,
    /// Its `Chart.lock`.
    pub(crate) lock: String,
    repository: String,
}

impl Database {
    pub(crate) fn of(stage: &Stage) -> Self {
        let place = format!("oci://{}/{}", world().servers.registry(), stage.namespace);
        let wanted = ["^1.0.0", "1.0.0"].map(|version| [("db", version, place.as_str())]);
        let digest = lock_digest(&wanted);
        Self {
            chart: format!(
                "apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies:\n\
                 - {{name: db, version: ^1.0.0, repository: '{place}'}}\n"
            ),
            lock: format!(
                "dependencies:\n- {{name: db, version: 1.0.0, repository: '{place}'}}\ndigest: {digest}\n"
            ),
            repository: format!("{}/db", stage.namespace),
        }
    }

    pub(crate) fn publish(&self) -> Result<()> {
        let db = template("db", ".Chart.Version");
        let archive = pack_chart("db", "1.0.0", &[("templates/db.yaml", &db)])?;
        let servers = &world().servers;
        world().wait(servers.push_chart(&self.repository, "1.0.0", archive))?;
        Ok(())
    }
}

/// A user with a home folder of their own.
struct Person(tempfile::TempDir);

impl Person {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn home(&self) -> &Path {
        self.0.path()
    }

    /// Runs pintle, and returns its exit code and all of its output.
    fn pintle(&self, args: &[&str]) -> Result<(i32, String)> {
        let output = Command::new(agent::executable()?)
            .args(args)
            .current_dir(self.home())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .context("start pintle")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.code().unwrap_or(-1), said))
    }

    fn done(&self, args: &[&str]) -> Result<String> {
        match self.pintle(args)? {
            (0, said) => Ok(said),
            (code, said) => bail!("pintle {}: {code}\n{said}", args.join(" ")),
        }
    }

    fn refused(&self, args: &[&str]) -> Result<String> {
        match self.pintle(args)? {
            (1, said) => Ok(said),
            (code, said) => bail!("pintle {}: {code}\n{said}", args.join(" ")),
        }
    }
}

#[test]
fn a_chart_is_rendered_with_dependencies_from_everywhere() -> Result<()> {
    let (shelf, person) = (Shelf::new()?, Person::new()?);
    shelf.publish(
        "web",
        "1.2.0",
        &[("templates/web.yaml", &template("web", ".Chart.Version"))],
    )?;
    shelf.publish(
        "web",
        "1.3.0",
        &[("templates/web.yaml", &template("web", ".Chart.Version"))],
    )?;
    shelf.push(
        "db",
        "2.0.0",
        &[("templates/db.yaml", &template("db", ".Values.size"))],
    )?;
    let (repository, registry) = (shelf.servers.charts_https(), shelf.registry());
    let chart = format!(
        "apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies:\n\
         - {{name: web, version: ^1.0.0, repository: '{repository}'}}\n\
         - {{name: db, version: 2.0.0, repository: '{registry}'}}\n\
         - {{name: common, version: '*', repository: 'file://../common'}}\n"
    );
    let digest = lock_digest::<3>(
        &[["^1.0.0", "2.0.0", "*"], ["1.2.0", "2.0.0", "0.0.1"]].map(|versions| {
            let names = ["web", "db", "common"];
            let places = [repository.as_str(), &registry, "file://../common"];
            std::array::from_fn(|at| (names[at], versions[at], places[at]))
        }),
    );
    let lock = format!(
        "dependencies:\n- {{name: web, version: 1.2.0, repository: '{repository}'}}\n\
         - {{name: db, version: 2.0.0, repository: '{registry}'}}\n\
         - {{name: common, version: 0.0.1, repository: 'file://../common'}}\ndigest: {digest}\n"
    );
    let common = "apiVersion: v2\nname: common\nversion: 0.0.1\n";
    write(
        person.home(),
        &[
            ("shop/Chart.yaml", &chart),
            ("shop/Chart.lock", &lock),
            ("shop/templates/own.yaml", &template("own", ".Release.Name")),
            ("common/Chart.yaml", common),
            (
                "common/templates/common.yaml",
                &template("common", "\"here\""),
            ),
        ],
    )?;
    let args = ["render", "shop", "--name", "first", "--set", "db.size=5"];
    let anonymous = person.refused(&args)?;
    assert!(
        anonymous.contains("the renderer asks for chart https://") && !anonymous.contains("kind:"),
        "{anonymous}"
    );
    shelf.log_in(person.home())?;
    let rendered = person.done(&args)?;
    for expected in [
        "value: first",
        "value: \"1.2.0\"",
        "value: \"5\"",
        "value: here",
    ] {
        let plain = expected.replace('"', "");
        assert!(
            rendered.contains(expected) || rendered.contains(&plain),
            "{expected}\n{rendered}"
        );
    }
    assert!(!rendered.contains("1.3.0"), "the lock decides\n{rendered}");

    // What is cached is not requested again, and an archive that was tampered with is rejected.
    std::fs::write(shelf.servers.charts().join("web-1.2.0.tgz"), "not a chart")?;
    person.done(&args)?;
    std::fs::remove_dir_all(person.home().join(".cache/pintle"))?;
    let refused = person.refused(&args)?;
    assert!(refused.contains("sha256:"), "{refused}");
    Ok(())
}

#[test]
fn a_chart_is_rendered_straight_from_where_it_is_kept() -> Result<()> {
    let (shelf, person) = (Shelf::new()?, Person::new()?);
    let files = |text: &str| [("templates/a.yaml".to_owned(), template("web", text))];
    for version in ["1.2.0", "1.10.0", "2.0.0-rc.1"] {
        let files = files(".Chart.Version");
        let files = files
            .each_ref()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        shelf.publish("web", version, &files)?;
        shelf.push("web", version, &files)?;
    }
    shelf.log_in(person.home())?;
    let of_registry = format!("{}/web", shelf.registry());
    for (args, version) in [
        (&["web", "--repo", "@shelf"][..], "1.10.0"),
        (&["web", "--repo", "@shelf", "--version", "~1.2"], "1.2.0"),
        (&[&of_registry, "--version", ">=2.0.0-0"], "2.0.0-rc.1"),
        (&[&format!("{of_registry}:1.2.0")], "1.2.0"),
    ] {
        let rendered = person.done(&[&["render"], args].concat())?;
        // YAML quotes values that could be numbers.
        let plain = rendered.replace('"', "");
        assert!(plain.contains(&format!("value: {version}\n")), "{rendered}");
        assert!(rendered.contains("name: web"), "{rendered}");
    }
    let none = person.refused(&["render", "api", "--repo", "@shelf"])?;
    assert!(none.contains("there is no chart api in https://"), "{none}");
    Ok(())
}

#[test]
fn an_application_follows_a_chart() -> Result<()> {
    let (shelf, stage) = (Shelf::new()?, Stage::new("chart")?);
    let web = template("web", ".Chart.Version");
    let first = shelf.publish("web", "1.2.0", &[("templates/web.yaml", &web)])?;
    let pushed = shelf.push(
        "db",
        "3.0.0",
        &[("templates/db.yaml", &template("db", ".Values.size"))],
    )?;
    let namespace = &stage.namespace;
    let application = |name: &str, source: &str, more: &str| {
        format!(
            "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  serviceAccountName: deployer\n  interval: 1h\n  source: {source}\n{more}---\n"
        )
    };
    stage.apply(
        &(shelf.secret("shelf", namespace)?
            + &application(
                "web",
                &format!(
                    "{{chart: {{repository: '{}', name: web, version: ^1, credentials: {{name: shelf}}}}}}",
                    shelf.servers.charts_https()
                ),
                "",
            )
            + &application(
                "db",
                &format!("{{oci: {{url: '{}/db', credentials: {{name: shelf}}}}}}", shelf.registry()),
                "  renderer: {plugin: helm, settings: {set: [size=7]}}\n",
            )),
    )?;
    stage.ready_at("web", &first)?;
    stage.ready_at("db", &pushed)?;
    assert_eq!(stage.object("ConfigMap", "web")?["data"]["value"], "1.2.0");
    assert_eq!(stage.object("ConfigMap", "db")?["data"]["value"], "7");

    shelf.publish("web", "2.0.0", &[("templates/web.yaml", &web)])?;
    let next = shelf.publish("web", "1.3.0", &[("templates/web.yaml", &web)])?;
    stage.request("web")?;
    stage.ready_at("web", &next)?;
    assert_eq!(stage.object("ConfigMap", "web")?["data"]["value"], "1.3.0");

    std::fs::remove_file(shelf.servers.charts().join("index.yaml"))?;
    stage.request("web")?;
    let failed = stage.condition("web", "Ready", "SourceFailed")?;
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|text| text.contains("/charts")),
        "{failed}"
    );
    assert_eq!(
        stage.object("ConfigMap", "web")?["data"]["value"],
        "1.3.0",
        "what is there stays"
    );
    Ok(())
}

#[test]
fn a_dependency_that_is_published_late_needs_no_push() -> Result<()> {
    let stage = Stage::new("late")?;
    let database = Database::of(&stage);
    let files = [
        ("chart/Chart.yaml", database.chart.as_str()),
        ("chart/Chart.lock", database.lock.as_str()),
    ];
    let commit = stage.repository.push_files(&files, "with a database")?;
    stage.apply(&stage.application("shop", "chart", ""))?;
    let failed = stage.condition("shop", "Ready", "RenderFailed")?;
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|text| text.contains("no such repository")),
        "{failed}"
    );
    database.publish()?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(stage.object("ConfigMap", "db")?["data"]["value"], "1.0.0");
    Ok(())
}

#[test]
fn a_lookup_needs_a_grant_and_renders_again_when_its_answer_changes() -> Result<()> {
    let stage = Stage::new("lookup")?;
    let namespace = &stage.namespace;
    let colour = |colour: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: colours, namespace: {namespace}}}\n\
             data: {{wall: {colour}}}\n---\n"
        )
    };
    let chart = "apiVersion: v2\nname: paint\nversion: 0.1.0\n";
    let wall = "{{ $found := lookup \"v1\" \"ConfigMap\" .Release.Namespace \"colours\" -}}\n\
                apiVersion: v1\nkind: ConfigMap\nmetadata: {name: painted}\n\
                data: {value: {{ dig \"data\" \"wall\" \"bare\" $found }}}\n";
    let picky = "{{ if not (lookup \"v1\" \"ConfigMap\" .Release.Namespace \"brush\") }}\
                 {{ fail \"bring a brush\" }}{{ end }}\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata: {name: artist}\n";
    let files = [
        ("chart/Chart.yaml", chart),
        ("chart/templates/wall.yaml", wall),
        ("picky/Chart.yaml", chart),
        ("picky/templates/brush.yaml", picky),
    ];
    let commit = stage.repository.push_files(&files, "paint")?;
    stage.apply(&(colour("green") + &stage.application("paint", "chart", "")))?;
    stage.ready_at("paint", &commit)?;
    let value =
        || -> Result<Value> { Ok(stage.object("ConfigMap", "painted")?["data"]["value"].clone()) };
    assert_eq!(value()?, "bare", "without a grant nothing is found");

    let plugin = "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {name: helm}\n\
                  spec: {grants: {clusterReads: ['v1/ConfigMap']}}\n";
    stage.apply(plugin)?;
    let is = |expected: &str| {
        until(&format!("the wall is {expected}"), LIMIT, || {
            let found = value()?;
            Ok(if found == expected {
                Ok(())
            } else {
                Err(found.to_string())
            })
        })
    };
    is("green")?;
    let account = format!("system:serviceaccount:{namespace}:deployer");
    let reads = |mark| -> Result<usize> {
        let requests = stage.requests_since(mark)?;
        let own = requests
            .iter()
            .filter(|request| request.name == "colours" && request.verb == "get");
        Ok(own.count())
    };
    let mark = stage.mark()?;
    stage.apply(&colour("blue"))?;
    is("blue")?;
    assert!(reads(mark)? > 0, "it is read in the name of {account}");
    stage.kubectl(&["delete", "configmap", "colours"])?;
    is("bare")?;
    stage.apply(&colour("red"))?;
    is("red")?;
    what_a_refusal_looked_up_is_followed(&stage, &commit)?;
    what_comes_to_no_render_does_not_go_on_asking(&stage, |wall| {
        stage.apply(&colour(wall))?;
        is(wall)
    })?;
    stage
        .world
        .control_plane
        .kubectl(&["delete", "plugins.pintle.dev", "helm"])?;
    is("bare")
}

/// A chart that refuses to render without an object is rendered when the object is created, and refuses again when it is deleted.
fn what_a_refusal_looked_up_is_followed(stage: &Stage, commit: &str) -> Result<()> {
    let brush = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: brush, namespace: {}}}\n",
        stage.namespace
    );
    stage.apply(&stage.application("picky", "picky", ""))?;
    for round in 0..2 {
        let refused = stage.condition("picky", "Ready", "RenderFailed")?;
        assert!(
            refused["message"]
                .as_str()
                .is_some_and(|text| text.contains("bring a brush")),
            "{refused}"
        );
        if round > 0 {
            // Meanwhile drift in the objects that the chart has created is repaired, and the agent keeps watching what the chart
            // waits for.
            stage.kubectl(&["delete", "configmap", "artist"])?;
            until("the artist is there again", LIMIT, || {
                let found = stage.find("ConfigMap", "artist")?;
                Ok(found.map(drop).ok_or_else(|| "it is not".to_owned()))
            })?;
        }
        stage.apply(&brush)?;
        stage.ready_at("picky", commit)?;
        stage.kubectl(&["delete", "configmap", "brush"])?;
    }
    Ok(())
}

/// While nothing can be rendered, a change of a looked-up object causes a few reads at most, however long that lasts. When
/// rendering works again, the object is read as the account that renders then.
fn what_comes_to_no_render_does_not_go_on_asking(
    stage: &Stage,
    paint: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let namespace = &stage.namespace;
    let tide = |level: &str| {
        stage.apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: tide, namespace: {namespace}}}\n\
             data: {{level: {level}}}\n"
        ))
    };
    let floats_at = |level: &str| stage.has_value("boat", level);
    let reads = |mark| -> Result<usize> {
        let mut requests = stage.world.control_plane.requests_since(mark)?;
        requests.retain(|request| {
            request.impersonated.is_some()
                && (request.verb.as_str(), request.name.as_str()) == ("get", "tide")
                && request.namespace == *namespace
        });
        Ok(requests.len())
    };
    let crew = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: crew, namespace: {namespace}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: crew, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects: [{{kind: ServiceAccount, name: crew, namespace: {namespace}}}]\n---\n"
    );
    let ours = stage.application("boat", "boat", "");
    let theirs = ours.replace("serviceAccountName: deployer", "serviceAccountName: crew");
    tide("low")?;
    let commit = stage.push("paint", &BOAT)?;
    stage.apply(&(crew + &theirs))?;
    stage.ready_at("boat", &commit)?;
    floats_at("low")?;

    let broken = [("boat/pintle.yaml", "colour: red\n")];
    stage.repository.push_files(&broken, "it cannot be read")?;
    stage.request_and_wait("boat")?;
    stage.condition("boat", "Ready", "RenderFailed")?;
    let mark = stage.mark()?;
    tide("high")?;
    until("the change is seen", LIMIT, || {
        let reads = reads(mark)?;
        Ok(if reads > 1 {
            Ok(())
        } else {
            Err(format!("{reads} reads"))
        })
    })?;
    // Each round takes as long as it would take to read the tide once more and to fail to render again.
    for wall in ["blue", "green", "red"].repeat(3) {
        paint(wall)?;
    }
    let asked = reads(mark)?;
    assert!(asked <= 6, "the tide is read {asked} times");

    let mended = [("boat/pintle.yaml", "prune: {maxPercent: 100}\n")];
    let commit = stage.push("boat", &mended)?;
    stage.ready_at("boat", &commit)?;
    floats_at("high")?;

    stage.apply(&ours)?;
    stage.request_and_wait("boat")?;
    stage.kubectl(&["delete", "rolebinding", "crew"])?;
    let user = format!("--as=system:serviceaccount:{namespace}:crew");
    until("the account of before may read nothing", LIMIT, || {
        let may = stage.kubectl(&["auth", "can-i", "get", "configmaps", &user]);
        Ok(may.err().map(drop).ok_or_else(|| "it may".to_owned()))
    })?;
    tide("low")?;
    floats_at("low")
}

#[test]
fn a_chart_is_rendered_again_when_the_cluster_serves_other_kinds() -> Result<()> {
    let stage = Stage::new("kinds")?;
    let group = format!("{}.example.com", stage.namespace);
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: gauges.{group}}}\n\
         spec:\n  group: {group}\n  scope: Namespaced\n  names: {{kind: Gauge, plural: gauges}}\n  versions:\n  \
         - name: v1\n    served: true\n    storage: true\n    schema: {{openAPIV3Schema: {{type: object}}}}\n"
    );
    let has = template(
        "has",
        &format!(".Capabilities.APIVersions.Has \"{group}/v1/Gauge\""),
    );
    let files = [
        (
            "chart/Chart.yaml",
            "apiVersion: v2\nname: gauges\nversion: 0.1.0\n",
        ),
        ("chart/templates/has.yaml", &has),
    ];
    stage.deploy_with("gauges", "chart", "", &files)?;
    let says = |expected: &str| stage.has_value("has", expected);
    says("false")?;
    stage.apply(&definition)?;
    says("true")?;
    stage.kubectl(&["delete", "crd", &format!("gauges.{group}")])?;
    says("false")
}

#[test]
fn what_a_chart_makes_up_stays_and_nobody_can_predict_it() -> Result<()> {
    let mut stage = Stage::new("seed")?;
    let chart = "apiVersion: v2\nname: vault\nversion: 0.1.0\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: {{ .Release.Name }}}\n\
                  stringData: {password: {{ randAlphaNum 24 }}, colour: {{ .Values.colour }}}\n";
    let files = [
        ("chart/Chart.yaml", chart),
        ("chart/values.yaml", "colour: green\n"),
        ("chart/templates/secret.yaml", secret),
    ];
    let commit = stage.repository.push_files(&files, "first")?;
    stage
        .apply(&(stage.application("one", "chart", "") + &stage.application("two", "chart", "")))?;
    stage.ready_at("one", &commit)?;
    stage.ready_at("two", &commit)?;
    let data = |stage: &Stage, name: &str, key: &str| -> Result<String> {
        let secret = stage.object("Secret", name)?;
        Ok(secret["data"][key].as_str().context("a value")?.to_owned())
    };
    let password = data(&stage, "one", "password")?;
    assert_ne!(password, data(&stage, "two", "password")?);
    let colour = data(&stage, "one", "colour")?;

    stage.agent.stop()?;
    std::fs::remove_dir_all(stage.agent.dir().join("cache"))?;
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    let commit = stage.push("one", &[("chart/values.yaml", "colour: blue\n")])?;
    stage.ready_at("one", &commit)?;
    assert_ne!(data(&stage, "one", "colour")?, colour);
    assert_eq!(
        data(&stage, "one", "password")?,
        password,
        "a restart and a commit do not change it"
    );

    let person = Person::new()?;
    write(person.home(), &files)?;
    let rendered =
        |more: &[&str]| person.done(&[&["render", "chart", "--name", "one"], more].concat());
    assert_ne!(
        rendered(&[])?,
        rendered(&[])?,
        "without a cluster it is drawn anew"
    );
    assert_eq!(rendered(&["--seed", "a"])?, rendered(&["--seed", "a"])?);
    assert_ne!(rendered(&["--seed", "a"])?, rendered(&["--seed", "b"])?);
    let seed = stage.world.control_plane.kubectl(&[
        "get",
        "secret",
        "pintle-seed",
        "--namespace",
        AGENT_NAMESPACE,
        "-o",
        "name",
    ])?;
    assert!(seed.contains("pintle-seed"), "{seed}");
    Ok(())
}
