//! The exports, compiled only for the component target.

#[path = "../../field.rs"]
mod field;

wit_bindgen::generate!({
    path: ["../../../wit/types", "../../../wit/renderer"],
    world: "pintle:renderer/plugin",
    generate_all,
});

use exports::pintle::{
    renderer::renderer::{self, Chart, Remote, RenderedObject, Rendering, Source},
    types::plugin::{self, Description, Request},
};
use field::field;
use pintle::types::{
    arithmetic, cluster, context, log,
    tree::Tree,
    types::{Failure, ObjectId, Outage, Position, Problem},
};

struct Hostile;
export!(Hostile);

impl plugin::Guest for Hostile {
    fn describe() -> Description {
        log::write(log::Level::Debug, "described");
        Description {
            name: "hostile-renderer".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "does what its settings say".to_owned(),
            settings_schema: r#"{
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "additionalProperties": false,
                "properties": {"mode": {"type": "string"}, "script": {"type": "string"}}
            }"#
            .to_owned(),
            requests: vec![
                Request::ClusterRead("v1/ConfigMap".to_owned()),
                Request::ClusterRead("v1/Secret".to_owned()),
            ],
        }
    }

    fn validate(settings: String) -> Vec<Problem> {
        match field(&settings, "mode") {
            "unknown" => vec![problem("there is no mode `unknown`", Some("/mode"))],
            _ => Vec::new(),
        }
    }
}

impl renderer::Guest for Hostile {
    fn detect(folder: &Tree) -> bool {
        folder.stat("hostile.txt").is_some()
    }

    fn inputs(settings: String, folder: &Tree) -> Result<Vec<Source>, Failure> {
        if field(&settings, "mode") != "inputs" {
            return Ok(Vec::new());
        }
        folder.stat("inputs.txt");
        Ok(vec![
            Source::Oci(Remote {
                reference: "oci://registry.example.com/chart:1.0.0".to_owned(),
                digest: None,
            }),
            Source::Chart(Chart {
                repository: "https://charts.example.com".to_owned(),
                name: "web".to_owned(),
                version: "1.0.0".to_owned(),
                digest: Some("sha256:00".to_owned()),
            }),
            Source::Folder("../base".to_owned()),
        ])
    }

    fn render(settings: String, folder: &Tree, inputs: Vec<Tree>) -> Result<Rendering, Failure> {
        let objects = match field(&settings, "mode") {
            "script" => vec![object(&run(field(&settings, "script"), folder))],
            "inputs" => {
                let text = |input: &Tree| show(&input.read("file.txt").map(text));
                vec![object(
                    &inputs.iter().map(text).collect::<Vec<_>>().join("; "),
                )]
            }
            "loop" => endless(),
            "memory" => hoard(),
            "panic" => {
                log::write(log::Level::Error, "panicked at 'the disk is on fire'");
                panic!("the disk is on fire");
            }
            "overflow" => vec![object(&deep(1).to_string())],
            "flood" => loop {
                log::write(log::Level::Info, &"all work and no play ".repeat(50));
            },
            "chatter" => {
                (0..200).for_each(|_| log::write(log::Level::Info, &"so much to say ".repeat(50)));
                vec![object("still here")]
            }
            "reads" => loop {
                let _ = folder.read("large.txt");
            },
            "names" => {
                let mut number = 0_u64;
                loop {
                    folder.stat(&format!("{number:04000}"));
                    number += 1;
                }
            }
            "garbage" => vec![RenderedObject {
                manifest: "{\"apiVersion\": ".to_owned(),
                ..object("")
            }],
            "huge" => vec![object(&"x".repeat(80 << 20))],
            "repeated" => (0..100).map(|_| object(&"x".repeat(1 << 20))).collect(),
            "no-kind" => vec![RenderedObject {
                manifest: r#"{"apiVersion":"v1","metadata":{"name":"web"}}"#.to_owned(),
                source: Some(Position {
                    file: "templates/web.yaml".to_owned(),
                    line: 12,
                    column: 3,
                }),
                ..object("")
            }],
            "refuse" => {
                run(field(&settings, "script"), folder);
                return Err(Failure::Refused(vec![Problem {
                    position: Some(Position {
                        file: "web.yaml".to_owned(),
                        line: 3,
                        column: 5,
                    }),
                    hint: Some("use spaces".to_owned()),
                    ..problem("tabs are not allowed", Some("/spec"))
                }]));
            }
            "refuse-silently" => return Err(Failure::Refused(Vec::new())),
            "unavailable" => {
                return Err(Failure::Unavailable(Outage {
                    reason: "the moon is not up".to_owned(),
                    retry_after_ms: Some(1500),
                }));
            }
            _ => Vec::new(),
        };
        Ok(Rendering {
            objects,
            notes: Some("made by the hostile renderer".to_owned()),
            warnings: vec![problem("this renderer is hostile", None)],
        })
    }
}

/// Runs the steps of a script, one after the other: `read a.yaml;stat b;glob **;name`.
fn run(script: &str, folder: &Tree) -> String {
    let answers = script
        .split(';')
        .filter(|step| !step.is_empty())
        .map(|step| {
            let (verb, at) = step.split_once(' ').unwrap_or((step, ""));
            let answer = match verb {
                "read" => show(&folder.read(at).map(text)),
                "entries" => show(&folder.entries(at).map(|entries| {
                    entries
                        .into_iter()
                        .map(|entry| (entry.name, entry.size))
                        .collect::<Vec<_>>()
                })),
                "stat" => show(&folder.stat(at).map(|entry| (entry.name, entry.size))),
                "glob" => show(&folder.glob(at)),
                "name" => context::name(),
                "namespace" => context::namespace(),
                "kube-version" => context::kube_version(),
                "api-versions" => show(&context::api_versions()),
                "revision" => context::revision(),
                "revision-time" => show(&context::revision_time()),
                "secret-bytes" => show(&context::secret_bytes(at, 4)),
                "power" => show(&power(at)),
                "get" => show(&cluster::get(&id(at))),
                "find" => show(&cluster::find("v1", at, None)),
                other => panic!("no such step: {other}"),
            };
            format!("{step} = {answer}")
        });
    answers.collect::<Vec<_>>().join("\n")
}

/// Asks the host for a power of small numbers: `4 13 497` is 4 to the 13th modulo 497.
fn power(numbers: &str) -> Option<Vec<u8>> {
    let mut numbers = numbers.split(' ').map(|number| {
        let number: u16 = number.parse().expect("a number of two bytes");
        number.to_be_bytes()
    });
    let mut next = || numbers.next().expect("three numbers");
    let (base, exponent, modulus) = (next(), next(), next());
    arithmetic::power_modulo(&base, &exponent, &modulus)
}

fn id(kind: &str) -> ObjectId {
    ObjectId {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: "settings".to_owned(),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn show(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

fn object(text: &str) -> RenderedObject {
    let escaped: String = text.chars().flat_map(escape).collect();
    RenderedObject {
        manifest: format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"out"}},"data":{{"text":"{escaped}"}}}}"#
        ),
        source: None,
        hook: None,
        keep: false,
    }
}

fn escape(character: char) -> Vec<char> {
    match character {
        '"' | '\\' => vec!['\\', character],
        '\n' => vec!['\\', 'n'],
        plain => vec![plain],
    }
}

fn problem(message: &str, pointer: Option<&str>) -> Problem {
    Problem {
        message: message.to_owned(),
        pointer: pointer.map(ToOwned::to_owned),
        position: None,
        hint: None,
    }
}

fn endless() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn hoard() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn deep(depth: u64) -> u64 {
    std::hint::black_box(deep(depth + 1)) + depth
}
