//! What a render has read, by which the host knows whether its result is still valid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, Digester},
    tree::{self, Entry, Tree, TreeError, TreePath},
};

/// A question that a plugin asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "of", content = "at")]
pub enum Question {
    /// The bytes of a file.
    Read(String),
    /// The names, kinds and sizes in a folder.
    Entries(String),
    /// What is at a path.
    Stat(String),
    /// The files that match a pattern.
    Glob(String),
    /// A fact from the context: `name`, `namespace`, `kube-version`, `api-versions`, `revision`, `revision-time`.
    Context(String),
    /// The objects of a kind in the cluster, or a single one.
    Cluster(String),
    /// An input that was fetched for the render from elsewhere or from another folder of the revision: `oci …`, `chart …`,
    /// `folder …`.
    Input(String),
}

/// Every question asked, with a digest of the answer given.
///
/// Asked of another revision, the same questions either give the same answers, so that the render would give the same objects, or
/// one of the answers differs. Nothing else can matter, because a renderer sees only its answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSet {
    #[serde(with = "pairs")]
    answers: BTreeMap<Question, Digest>,
}

/// Answers to the questions that are not about the tree.
pub trait Facts {
    /// Returns a digest of the answer that would be given now, or `None` if it is not known without asking anew.
    fn answer(&self, question: &Question) -> Option<Digest>;
}

impl ReadSet {
    /// Adds a question and the digest of its answer.
    ///
    /// The cluster may change between two answers to the same question. A result based on both is valid for neither, so the
    /// digest kept in that case is one that no answer has.
    pub fn record(&mut self, question: Question, answer: Digest) {
        let answer = match self.answers.get(&question) {
            Some(known) if *known != answer => Digester::new("different answers")
                .part(known.as_bytes())
                .part(answer.as_bytes())
                .finish(),
            _ => answer,
        };
        self.answers.insert(question, answer);
    }

    /// Adds everything from another set. A result based on both is valid only while both are.
    pub fn extend(&mut self, other: Self) {
        for (question, answer) in other.answers {
            self.record(question, answer);
        }
    }

    /// Returns the number of different questions asked.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Returns whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Returns the questions in order.
    pub fn questions(&self) -> impl Iterator<Item = &Question> {
        self.answers.keys()
    }

    /// Returns the digest of the answer to a question, if it was asked.
    pub fn answer(&self, question: &Question) -> Option<Digest> {
        self.answers.get(question).copied()
    }

    /// Returns the part that was read from the cluster. Only that part may change while the source and the settings stay the
    /// same.
    #[must_use]
    pub fn of_cluster(&self) -> Self {
        let asked = self.answers.iter();
        let asked = asked.filter(|(question, _)| matches!(question, Question::Cluster(_)));
        Self {
            answers: asked
                .map(|(question, answer)| (question.clone(), *answer))
                .collect(),
        }
    }

    /// Returns the digest of all questions and answers, which represents the inputs in the render key.
    pub fn digest(&self) -> Digest {
        let mut digest = Digester::new("read-set/v1");
        for (question, answer) in &self.answers {
            let (of, at) = question.parts();
            digest.add(of);
            digest.add(at);
            digest.add(answer.as_bytes());
        }
        digest.finish()
    }

    /// Asks every question again, cheaply: by object id in the tree, and through `facts` for the rest.
    ///
    /// Returns the first question whose answer has changed, or `None` if the old result is still valid. A question that cannot be
    /// answered counts as changed.
    pub fn first_change(&self, tree: &dyn Tree, facts: &dyn Facts) -> Option<&Question> {
        self.answers
            .iter()
            .find(|(question, answer)| ask(tree, facts, question) != Some(**answer))
            .map(|(q, _)| q)
    }
}

impl Question {
    /// Returns what was asked for: a path, a pattern, or a name.
    pub fn text(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Read(at) => ("read", at),
            Self::Entries(at) => ("entries", at),
            Self::Stat(at) => ("stat", at),
            Self::Glob(at) => ("glob", at),
            Self::Context(at) => ("context", at),
            Self::Cluster(at) => ("cluster", at),
            Self::Input(at) => ("input", at),
        }
    }
}

fn ask(tree: &dyn Tree, facts: &dyn Facts, question: &Question) -> Option<Digest> {
    let path = |text: &str| TreePath::parse(text);
    match question {
        Question::Read(at) => Some(read_answer(&tree.stat(&path(at)?))),
        Question::Entries(at) => Some(entries_answer(&tree.entries(&path(at)?))),
        Question::Stat(at) => Some(stat_answer(&tree.stat(&path(at)?))),
        Question::Glob(pattern) => tree::glob(tree, pattern)
            .ok()
            .map(|found| glob_answer(&found)),
        Question::Context(_) | Question::Cluster(_) | Question::Input(_) => facts.answer(question),
    }
}

/// Computes the digest of the answer to a read. It uses the content id, so asking again needs no bytes.
pub fn read_answer(stat: &Result<Option<Entry>, TreeError>) -> Digest {
    let digest = Digester::new("read");
    match stat {
        Ok(Some(entry)) => digest.part(kind(entry)).part(&entry.content).finish(),
        Ok(None) => digest.part("absent").finish(),
        Err(error) => digest.part("error").part(error.to_string()).finish(),
    }
}

/// Computes the digest of the answer to a stat: the type and size. The content of a folder is not part of it.
pub fn stat_answer(stat: &Result<Option<Entry>, TreeError>) -> Digest {
    let digest = Digester::new("stat");
    match stat {
        Ok(Some(entry)) => digest
            .part(kind(entry))
            .part(entry.size.to_be_bytes())
            .finish(),
        Ok(None) => digest.part("absent").finish(),
        Err(error) => digest.part("error").part(error.to_string()).finish(),
    }
}

/// Computes the digest of the answer to a listing: names, kinds and sizes, which is all that a plugin sees.
pub fn entries_answer(entries: &Result<Vec<Entry>, TreeError>) -> Digest {
    let mut digest = Digester::new("entries");
    match entries {
        Ok(entries) => {
            for entry in entries {
                digest = digest
                    .part(&entry.name)
                    .part(kind(entry))
                    .part(entry.size.to_be_bytes());
            }
        }
        Err(error) => digest = digest.part("error").part(error.to_string()),
    }
    digest.finish()
}

/// Computes the digest of the answer to a glob: the matching paths.
pub fn glob_answer(paths: &[TreePath]) -> Digest {
    paths
        .iter()
        .fold(Digester::new("glob"), |digest, path| {
            digest.part(path.as_str())
        })
        .finish()
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        tree::EntryKind::File => "file",
        tree::EntryKind::Folder => "folder",
    }
}

mod pairs {
    //! JSON keys are strings, so the map is kept as a list of pairs.

    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Digest, Question};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Question, Digest>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Question, Digest>, D::Error> {
        Ok(Vec::<(Question, Digest)>::deserialize(from)?
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memory::MemoryTree;
    use proptest::prelude::*;

    struct NoFacts;
    impl Facts for NoFacts {
        fn answer(&self, _: &Question) -> Option<Digest> {
            None
        }
    }

    fn observed(tree: &dyn Tree) -> ReadSet {
        let path = |text| TreePath::parse(text).unwrap();
        let mut set = ReadSet::default();
        set.record(
            Question::Read("app/a.yaml".into()),
            read_answer(&tree.stat(&path("app/a.yaml"))),
        );
        set.record(
            Question::Entries("app".into()),
            entries_answer(&tree.entries(&path("app"))),
        );
        set.record(
            Question::Stat("app/none".into()),
            stat_answer(&tree.stat(&path("app/none"))),
        );
        set.record(
            Question::Glob("app/**".into()),
            glob_answer(&tree::glob(tree, "app/**").unwrap()),
        );
        set
    }

    #[test]
    fn stands_until_something_that_was_read_changes() {
        let base = [("app/a.yaml", "1"), ("app/b.yaml", "2"), ("other/c", "3")];
        let set = observed(&MemoryTree::new(base));
        let change = |files: &[(&str, &str)]| {
            set.first_change(&MemoryTree::new(files.to_vec()), &NoFacts)
                .cloned()
        };
        assert_eq!(change(&base), None);
        assert_eq!(
            change(&[("app/a.yaml", "1"), ("app/b.yaml", "x"), ("other/c", "y")]),
            None,
            "same size, never read"
        );
        assert_eq!(
            change(&[("app/a.yaml", "9"), ("app/b.yaml", "2")]),
            Some(Question::Read("app/a.yaml".into()))
        );
        assert_eq!(
            change(&[("app/a.yaml", "1"), ("app/b.yaml", "2"), ("app/d/e", "")]),
            Some(Question::Entries("app".into()))
        );
        assert!(
            change(&[("app/a.yaml", "1"), ("app/b.yaml", "2"), ("app/none", "")]).is_some(),
            "absence was seen"
        );
    }

    #[test]
    fn what_cannot_be_answered_counts_as_changed() {
        let mut set = ReadSet::default();
        set.record(Question::Context("name".into()), Digest::of("web"));
        assert!(set.first_change(&MemoryTree::default(), &NoFacts).is_some());
    }

    #[test]
    fn what_rests_on_different_answers_to_one_question_stands_by_none() {
        let question = Question::Cluster("v1/ConfigMap shop/settings".into());
        let answers = [Digest::of("none"), Digest::of("one")];
        let set = |answers: &[Digest]| {
            let mut set = ReadSet::default();
            for answer in answers {
                set.record(question.clone(), *answer);
            }
            set
        };
        let mixed = set(&answers);
        assert_eq!(mixed.len(), 1);
        let mut extended = set(&answers[..1]);
        extended.extend(set(&answers[1..]));
        assert_eq!(extended, mixed);
        for answer in answers {
            assert_ne!(mixed.answer(&question), Some(answer));
            let same = set(&[answer, answer]);
            assert_eq!(same.answer(&question), Some(answer));
        }
    }

    #[test]
    fn survives_the_disk() {
        let set = observed(&MemoryTree::new([("app/a.yaml", "1")]));
        let back: ReadSet = serde_json::from_str(&serde_json::to_string(&set).unwrap()).unwrap();
        assert_eq!(back, set);
    }

    proptest! {
        #[test]
        fn the_order_of_questions_never_changes_the_digest(mut names in prop::collection::vec("[a-z]{1,6}", 1..12)) {
            let set = |names: &[String]| {
                let mut set = ReadSet::default();
                for name in names { set.record(Question::Read(name.clone()), Digest::of(name)); }
                set.digest()
            };
            let before = set(&names);
            names.reverse();
            prop_assert_eq!(set(&names), before);
        }
    }
}
