//! The origin of the lines that separate documents. Without it, the template line of the fifth document in the output would be
//! unknown.

use std::rc::Rc;

use memchr::{memchr_iter, memmem};

use super::Executor;
use crate::syntax::{
    self,
    node::{Id, Source},
};

/// The output of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The output.
    pub bytes: Vec<u8>,
    /// The lines of the output that begin with `---`, in order, if they come from the template's own text or from an action in
    /// it.
    pub separators: Vec<Separator>,
}

/// A line that begins with `---`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separator {
    /// The position in the output, in bytes.
    pub at: usize,
    /// The line of the template's text, from 1, at which the part after the separator begins.
    pub line: usize,
}

impl Output {
    pub(super) fn new(bytes: Vec<u8>, separators: &[(usize, usize)], source: &Source) -> Self {
        if separators.is_empty() {
            return Self {
                bytes,
                separators: Vec::new(),
            };
        }
        let breaks: Vec<usize> = memchr_iter(b'\n', &source.text).collect();
        let line = |pos: usize| 1 + breaks.partition_point(|&at| at < pos);
        let separators = separators.iter();
        Self {
            separators: separators
                .map(|&(at, pos)| Separator {
                    at,
                    line: line(pos),
                })
                .collect(),
            bytes,
        }
    }
}

const MARK: &[u8] = b"---";

/// What wrote a part of the output.
#[derive(Clone, Copy)]
pub(super) enum Written {
    /// A text that begins at this position in the template's text.
    Text(usize),
    /// An action.
    Action(Id),
}

impl Executor<'_> {
    /// Records the separators in the output from `before` on.
    ///
    /// Output that functions capture is examined when it is written. Templates from other texts have no line here.
    #[inline(never)]
    pub(super) fn note_separators(&mut self, before: usize, by: Written) {
        if self.captured > 0 || !Rc::ptr_eq(&self.tree.source, &self.source) {
            return;
        }
        let mut from = before;
        while let Some(found) = memmem::find(&self.out[from..], MARK) {
            let at = from + found;
            from = at + MARK.len();
            if at > 0 && self.out[at - 1] != b'\n' {
                continue;
            }
            let begin = match by {
                Written::Text(start) => behind(&self.source.text, start + (from - before)),
                Written::Action(id) => syntax::find(&self.tree, id).unwrap_or_default().0,
            };
            self.separators.push((at, begin));
        }
    }
}

/// Returns the beginning of the next line if only blanks follow on this line, and `pos` itself otherwise.
fn behind(text: &[u8], pos: usize) -> usize {
    let rest = &text[pos.min(text.len())..];
    let blanks = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    let end = blanks.count();
    if rest.get(end) == Some(&b'\n') {
        pos + end + 1
    } else {
        pos
    }
}

#[cfg(test)]
mod tests {
    use crate::{Functions, Options, Set, Value};
    use std::rc::Rc;

    /// Returns the line of each separator and the text after it.
    fn separators(text: &str) -> Vec<(usize, String)> {
        let mut set = Set::new("test", Functions::default());
        set.parse("a", text).unwrap();
        set.parse("b", "{{ define \"other\" }}---\nother\n{{ end }}")
            .unwrap();
        let output = Rc::new(set).execute_noting("a", &Value::Nil, &Options::default());
        let output = output.unwrap();
        let separators = output.separators.iter();
        separators
            .map(|one| {
                let rest = String::from_utf8_lossy(&output.bytes[one.at..]).into_owned();
                let next = rest.lines().nth(1).unwrap_or_default().to_owned();
                (one.line, next)
            })
            .collect()
    }

    #[test]
    fn each_has_the_line_behind_it() {
        let text =
            "---\na\n--- \r\nb\n{{- range 2 }}\n---\n{{ . }}\n{{- end }}\nx---\n--- # {{ 1 }}\nc\n";
        let found = separators(text);
        let expected = [(2, "a"), (4, "b"), (7, "0"), (7, "1"), (10, "c")];
        let expected = expected.map(|(line, text)| (line, text.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn actions_and_templates_of_the_same_text_have_lines() {
        let text = "{{ define \"own\" }}\n---\nown\n{{ end }}{{ template \"own\" }}{{ template \"other\" }}{{ print \"---\\nprinted\" }}";
        let found = separators(text);
        let expected = [(3, "own"), (4, "printed")];
        let expected = expected.map(|(line, text)| (line, text.to_owned()));
        assert_eq!(found, expected);
    }
}
