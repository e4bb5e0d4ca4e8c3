//! Templates about the language itself: nested actions, scopes, trim markers, comparisons, and texts that do not parse.

use super::{Case, Compared, Random, pools};

/// How deep actions nest.
const DEPTH: usize = 4;

/// Returns the listed templates about parts of the language.
pub fn listed() -> Vec<Case> {
    pools::subjects()
        .into_iter()
        .filter(|subject| subject.starts_with("language/"))
        .flat_map(|subject| {
            pools::templates(subject)
                .iter()
                .map(move |text| case(subject, text.clone()))
        })
        .collect()
}

/// Returns `count` random templates that parse, most of which also execute.
pub fn grown(count: usize) -> Vec<Case> {
    let mut grower = Grower::new("language/grown");
    (0..count)
        .map(|_| case("language/grown", grower.template()))
        .collect()
}

/// Returns `count` damaged templates: a piece is removed, doubled, swapped or inserted.
pub fn damaged(count: usize) -> Vec<Case> {
    let mut grower = Grower::new("language/damaged");
    (0..count)
        .map(|_| {
            let text = grower.template();
            case("language/damaged", damage(&text, &mut grower.random))
        })
        .collect()
}

fn case(about: &str, text: String) -> Case {
    Case {
        about: about.to_owned(),
        text,
        compared: Compared::Exactly,
    }
}

/// Damages a template's text in one or two places, always between characters.
pub fn damage(text: &str, random: &mut Random) -> String {
    const PIECES: &[&str] = &[
        "{{",
        "}}",
        "{{-",
        "-}}",
        "{{/*",
        "*/}}",
        "end",
        "else",
        "{{ end }}",
        "{{ else }}",
        "{{ else if true }}",
        "{{ break }}",
        "{{ continue }}",
        "(",
        ")",
        "|",
        "\"",
        "`",
        "'",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        ".",
        "..",
        "\\",
        "\n",
        "\t",
        " ",
        "1",
        "0x",
        "1e",
        "nil",
        "#",
        "@",
        "%",
        "é",
        "\u{0}",
        "-",
        "+",
        "/",
        "{",
        "}",
        "range",
        "if",
        "with",
        "define \"x\"",
        "template \"x\"",
        "block \"b\" .",
        "[",
        "?",
    ];
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(2) {
        let at = random.below(text.len() + 1);
        let to = (at + random.below(6)).min(text.len());
        match random.below(4) {
            0 => drop(text.drain(at..to)),
            1 => {
                let piece: Vec<char> = random.pick(PIECES).chars().collect();
                text.splice(at..at, piece);
            }
            2 => {
                let doubled = text[at..to].to_vec();
                text.splice(at..at, doubled);
            }
            _ => {
                let piece: Vec<char> = random.pick(PIECES).chars().collect();
                text.splice(at..to, piece);
            }
        }
    }
    text.into_iter().collect()
}

/// Writes templates, and keeps track of the variables in scope.
struct Grower {
    random: Random,
    variables: Vec<String>,
    loops: usize,
    made: usize,
}

impl Grower {
    fn new(name: &str) -> Self {
        Self {
            random: Random::named(name),
            variables: Vec::new(),
            loops: 0,
            made: 0,
        }
    }

    fn template(&mut self) -> String {
        self.variables.clear();
        self.made = 0;
        let mut text = String::new();
        if self.random.once_in(5) {
            text.push_str("{{ define \"own\" }}<{{ . }}{{ $v := . }}{{ $v }}>{{ end }}");
        }
        self.body(DEPTH, &mut text);
        text
    }

    fn body(&mut self, depth: usize, out: &mut String) {
        let scope = self.variables.len();
        for _ in 0..=self.random.below(4) {
            self.item(depth, out);
        }
        self.variables.truncate(scope);
    }

    fn item(&mut self, depth: usize, out: &mut String) {
        const TEXTS: &[&str] = &[
            "text", " ", "\n", "  \n\t", "a: b\n", "{", "}", "é ", "{ {", "} }", "\r\n", "-", "/*",
            "x\n\n  ", "\"q\"",
        ];
        let nests = depth > 0;
        match self.random.below(if nests { 13 } else { 7 }) {
            0 | 1 => out.push_str(self.random.pick(TEXTS)),
            2 | 3 => {
                let pipeline = self.pipeline(2);
                self.action(&pipeline, out);
            }
            4 => {
                self.made += 1;
                let (name, pipeline) = (format!("$v{}", self.made), self.pipeline(2));
                self.action(&format!("{name} := {pipeline}"), out);
                self.variables.push(name);
            }
            5 => match self.variables.last().cloned() {
                Some(name) => {
                    let pipeline = self.pipeline(1);
                    self.action(&format!("{name} = {pipeline}"), out);
                }
                None => out.push_str("{{/* a comment */}}"),
            },
            6 => {
                let marked = self.random.pick(&[
                    "{{- /* comment */ -}}",
                    "{{/* c */ -}}",
                    "{{ template \"c.value\" 1 }}",
                    "{{ template \"c.name\" $ }}",
                    "{{ template \"own\" . }}",
                    "{{ template \"missing\" }}",
                    "{{ block \"blk#\" . }}b{{ . }}{{ end }}",
                ]);
                // Most templates should execute.
                if !marked.contains("missing") && !marked.contains("own") || self.random.once_in(8)
                {
                    self.made += 1;
                    out.push_str(&marked.replace('#', &self.made.to_string()));
                }
            }
            7 | 8 => self.branch("if", depth, out),
            9 => self.branch("with", depth, out),
            _ => self.range(depth, out),
        }
        if self.loops > 0 && self.random.once_in(9) {
            let word = self.random.pick(&["break", "continue"]);
            let condition = self.pipeline(1);
            out.push_str("{{ if ");
            out.push_str(&condition);
            out.push_str(" }}{{ ");
            out.push_str(word);
            out.push_str(" }}{{ end }}");
        }
    }

    fn action(&mut self, content: &str, out: &mut String) {
        let left = self.random.pick(&["{{ ", "{{- ", "{{", "{{-\n"]);
        let right = self.random.pick(&[" }}", " -}}", "}}", "\t-}}", "\n}}"]);
        out.push_str(left);
        out.push_str(content);
        out.push_str(right);
    }

    fn branch(&mut self, word: &str, depth: usize, out: &mut String) {
        let scope = self.variables.len();
        let head = self.declaring(word);
        self.action(&head, out);
        self.body(depth - 1, out);
        if self.random.once_in(3) {
            let condition = self.pipeline(1);
            self.action(&format!("else {word} {condition}"), out);
            self.body(depth - 1, out);
        }
        if self.random.once_in(2) {
            self.action("else", out);
            self.body(depth - 1, out);
        }
        self.action("end", out);
        self.variables.truncate(scope);
    }

    fn declaring(&mut self, word: &str) -> String {
        let pipeline = self.pipeline(2);
        if self.random.once_in(4) {
            self.made += 1;
            let name = format!("$v{}", self.made);
            self.variables.push(name.clone());
            return format!("{word} {name} := {pipeline}");
        }
        format!("{word} {pipeline}")
    }

    fn range(&mut self, depth: usize, out: &mut String) {
        const OVER: &[&str] = &[
            ".Values.list",
            ".Values.strings",
            ".Values.mixed",
            ".Values.map",
            ".Values.emptyList",
            ".Values.nothing",
            "$.Values.nested",
            "$.Values.objects",
            "$.Values.map",
            "$.Values.list",
            "(list 1 2)",
            "(dict \"b\" 1 \"a\" 2)",
            "3",
            "0",
            "(until 2)",
            "$.Values.missing",
            "(splitList \",\" \"x,y\")",
            "$.Values.int",
            "$.Values.string",
            "-1",
            "(int64 2)",
            "$.Values.emptyMap",
            "true",
            "'b'",
            "(keys (dict \"k\" 1))",
        ];
        let scope = self.variables.len();
        let over = self.random.pick(OVER);
        self.made += 1;
        let (key, value) = (format!("$k{}", self.made), format!("$e{}", self.made));
        let head = match self.random.below(4) {
            0 => {
                self.variables.push(value.clone());
                format!("range {value} := {over}")
            }
            1 | 2 => {
                self.variables.extend([key.clone(), value.clone()]);
                format!("range {key}, {value} := {over}")
            }
            _ => format!("range {over}"),
        };
        self.action(&head, out);
        self.loops += 1;
        self.body(depth - 1, out);
        self.loops -= 1;
        self.variables.truncate(scope);
        if self.random.once_in(3) {
            self.action("else", out);
            self.body(depth - 1, out);
        }
        self.action("end", out);
    }

    fn pipeline(&mut self, depth: usize) -> String {
        // These accept every type.
        const TOTAL: &[&str] = &[
            "quote",
            "toString",
            "default \"d\"",
            "printf \"%v!\"",
            "toYaml",
            "toJson",
            "not",
            "print",
            "html",
            "int",
            "empty",
            "typeOf",
            "kindOf",
            "add 1",
            "list",
            "squote",
            "and true",
            "or 0",
            "deepEqual 1",
            "toString | upper",
            "toString | trunc 3",
            "toString | len",
            "toString | nindent 1",
            "list | first",
            "print | b64enc",
        ];
        const PARTIAL: &[&str] = &[
            "len",
            "upper",
            "trunc 3",
            "indent 2",
            "first",
            "eq 1",
            "index $.Values.list",
            "lt 2",
            "join \",\"",
        ];
        let mut text = self.command(depth);
        for _ in 0..self.random.below(3) {
            text.push_str(" | ");
            let filters = if self.random.once_in(12) {
                PARTIAL
            } else {
                TOTAL
            };
            text.push_str(self.random.pick(filters));
        }
        text
    }

    fn command(&mut self, depth: usize) -> String {
        const NUMBERS: &[&str] = &[
            "1",
            "0",
            "-3",
            "(len \"ab\")",
            "(int $.Values.int)",
            "0x10",
            "'c'",
            "(add 1 1 | int)",
        ];
        const STRINGS: &[&str] = &[
            "\"s\"",
            "\"\"",
            "`raw`",
            "$.Values.string",
            "(toString .)",
            "$.Release.Name",
            "$.Values.empty",
        ];
        if depth == 0 || self.random.once_in(3) {
            return self.operand();
        }
        let (a, b) = (self.argument(depth - 1), self.argument(depth - 1));
        if self.random.once_in(3) {
            let compare = self.random.pick(&["eq", "ne", "lt", "le", "gt", "ge"]);
            let pool = self.random.pick(&[NUMBERS, STRINGS]);
            let (left, right) = (self.random.pick(pool), self.random.pick(pool));
            return format!("{compare} {left} {right}");
        }
        match self.random.below(16) {
            0 if self.random.once_in(6) => format!("eq {a} {b}"),
            1 if self.random.once_in(6) => format!("lt {a} {b}"),
            2 if self.random.once_in(6) => format!("index {a} {b}"),
            3 if self.random.once_in(6) => format!("eq {a} {b} {a}"),
            4 | 5 => format!("and {a} {b}"),
            6 | 7 => format!("or {a} {b}"),
            8 => format!("not {a}"),
            9 => format!("printf \"%v-%v\" {a} {b}"),
            10 => format!("print {a} {b}"),
            11 => format!("list {a} {b}"),
            12 => format!("dict \"k\" {a} \"l\" {b}"),
            13 => format!("deepEqual {a} {b}"),
            14 => format!("ternary {a} {b} (empty {a})"),
            _ => format!("default {a} {b}"),
        }
    }

    fn argument(&mut self, depth: usize) -> String {
        if depth > 0 && self.random.once_in(2) {
            let inner = self.pipeline(depth);
            let field = if self.random.once_in(40) { ".k" } else { "" };
            return format!("({inner}){field}");
        }
        self.operand()
    }

    fn operand(&mut self) -> String {
        const SAFE: &[&str] = &[
            ".",
            "$.Values.int",
            "$.Values.float",
            "$.Values.string",
            "$.Values.yes",
            "$.Values.no",
            "$.Values.nothing",
            "$.Values.missing",
            "$.Values.list",
            "$.Values.map",
            "$.Values.map.c.d",
            "$.Values.map.c.d.e",
            "1",
            "0",
            "-3",
            "1.5",
            "1e3",
            "0x10",
            "'c'",
            "\"s\"",
            "\"\"",
            "`raw`",
            "true",
            "false",
            "\"tab\\t\"",
            "$.Release.Name",
            "$.Chart.Name",
            "$.Values.zero",
            "$.Values.big",
            "$.Template.Name",
            "$.Release.Revision",
            "$.Release.IsInstall",
            "1_000",
            "0b11",
            "1.",
            "0o7",
            "'\\n'",
            "$.Values.empty",
            "$.Values.mixed",
        ];
        const UNSAFE: &[&str] = &[
            "$",
            ".Values.int",
            ".name",
            ".k",
            ".Values",
            "nil",
            ".5",
            "$.Values.missing.deep",
            ".Values.map.a",
        ];
        if !self.variables.is_empty() && self.random.once_in(3) {
            let at = self.random.below(self.variables.len());
            let name = self.variables[at].clone();
            return if self.random.once_in(5) {
                format!("{name}.c")
            } else {
                name
            };
        }
        let operands = if self.random.once_in(20) {
            UNSAFE
        } else {
            SAFE
        };
        self.random.pick(operands).to_owned()
    }
}
