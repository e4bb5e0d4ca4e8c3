//! Invalid schemas (`cases/schemas.txt`), and what schemas say about values (`cases/schema-values.txt`), in each draft.

use std::fs;

use pintle_helm_tests::chartfile::ChartFile;

use crate::comparing::none_differs;

const DRAFTS: [&str; 6] = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
    "http://json-schema.org/schema#",
];

#[test]
fn what_the_metaschemas_refuse_is_refused() {
    none_of_them_differs(include_str!("../../cases/schemas.txt"));
}

#[test]
fn what_schemas_say_of_values() {
    none_of_them_differs(include_str!("../../cases/schema-values.txt"));
}

/// Tries each line in each draft. A line has the keywords of a property `v`, and after ` :: ` the property's value.
fn none_of_them_differs(cases: &str) {
    let lines = cases.lines();
    let cases: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut names = Vec::new();
    let mut asked = Vec::new();
    for draft in DRAFTS {
        for case in &cases {
            let folder = scratch.path().join(names.len().to_string());
            fs::create_dir(&folder).expect("a folder");
            let (keywords, values) = match case.split_once(" :: ") {
                Some((keywords, value)) => (keywords, format!("v: {value}")),
                None => (*case, String::new()),
            };
            let text = format!(
                r#"$
-- Chart.yaml --
apiVersion: v2
name: case
version: 0.1.0
-- values.schema.json --
{{"$schema": "{draft}", "definitions": {{"text": {{"type": "string"}}}}, "properties": {{"v": {{{keywords}}}}}}}
-- values.yaml --
{values}
-- templates/p.yaml --
kind: ConfigMap
"#
            );
            let chart = ChartFile::parse(&text).expect("a chart");
            chart.write(&folder).expect("a chart is written");
            names.push(format!("{draft} {case}"));
            asked.push(ChartFile::templating("", &folder).expect("a question"));
        }
    }
    let answers = none_differs(&names, &asked);
    // The cases cover both: what is refused and what is tolerated.
    let refused = answers.iter().filter(|answer| answer.error().is_some());
    assert!((50..names.len() - 50).contains(&refused.count()));
}
