//! An answer of the cluster, page by page: what a plugin may read is as large as the cluster.

use pintle_core::{
    canonical,
    digest::{Digest, Digester},
    object,
    seed::Seed,
};
use serde_json::Value;

use super::{ClusterError, ClusterQuestion, ClusterReader};

/// Bytes of text of the largest answer.
pub(super) const ANSWER: u64 = 64 << 20;

/// Most pages of an answer: of the smallest objects, more than an answer has room for. A server may have no last one.
const PAGES: u32 = 10_000;

/// Bytes that an object of an answer takes beside its texts.
const FOUND: u64 = 192;

/// What a server records of writes. It changes with each, also with one that changes nothing else.
const RECORDS: [&str; 2] = ["managedFields", "resourceVersion"];

/// The way through an answer.
pub(super) struct Pages<'a> {
    question: &'a ClusterQuestion,
    reader: &'a dyn ClusterReader,
    /// What the page before named as the next.
    next: Option<String>,
    /// How many there may be yet; none after the last.
    left: u32,
}

impl<'a> Pages<'a> {
    pub(super) fn of(question: &'a ClusterQuestion, reader: &'a dyn ClusterReader) -> Self {
        Self {
            question,
            reader,
            next: None,
            left: PAGES,
        }
    }

    /// Asks for the next page; nothing after the last.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Value>>, ClusterError> {
        if self.left == 0 {
            return Ok(None);
        }
        let (reader, question) = (self.reader, self.question);
        let (api_version, kind) = (&question.api_version, &question.kind);
        let namespace = question.namespace.as_deref();
        if let Some(name) = &question.name {
            let found = reader.get(api_version, kind, namespace, name).await?;
            self.left = 0;
            return Ok(Some(found.into_iter().collect()));
        }
        let next = self.next.as_deref();
        let page = reader.find(api_version, kind, namespace, next).await?;
        self.left = match page.next {
            None => 0,
            Some(_) if self.left == 1 => {
                let reason = format!("the list of {kind} has more than {PAGES} pages");
                return Err(ClusterError { reason });
            }
            Some(_) => self.left - 1,
        };
        self.next = page.next;
        Ok(Some(page.objects))
    }
}

/// An answer as far as it is there. Only texts are kept of it: JSON that was read takes several times as much.
#[derive(Debug, Default)]
pub(super) struct Answer {
    found: Vec<Found>,
    /// Bytes of what crosses.
    size: u64,
}

/// One object of an answer.
#[derive(Debug)]
struct Found {
    namespace: String,
    name: String,
    /// What crosses.
    text: String,
    /// What joins the digest.
    concealed: String,
}

impl Found {
    fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl Answer {
    /// Adds a page, and returns the bytes of memory that are kept of it. What a Secret holds is concealed in the digest, since
    /// status shows digests.
    pub(super) fn add(&mut self, page: Vec<Value>, is_secret: bool, seed: &Seed) -> u64 {
        let mut weight = 0;
        for mut object in page {
            leave_out_records(&mut object);
            let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
            let found = Found {
                namespace: field("namespace").to_owned(),
                name: field("name").to_owned(),
                text: object.to_string(),
                concealed: canonical::to_string(&object::conceal(is_secret, &object, seed)),
            };
            let size = found.text.len() as u64;
            self.size += size;
            weight += size + found.concealed.len() as u64 + FOUND;
            self.found.push(found);
        }
        weight
    }

    /// Says whether no more of it is read.
    pub(super) fn is_too_large(&self) -> bool {
        self.size > ANSWER
    }

    /// Returns the bytes of memory that are kept until it has crossed: those of its texts, and what each takes beside.
    pub(super) fn crossing(&self) -> u64 {
        self.size + FOUND * self.found.len() as u64
    }

    /// Returns the texts in the order of the contract, and the digest that a read set has for them.
    pub(super) fn finish(mut self) -> (Vec<String>, Digest) {
        self.found.sort_by(|a, b| a.place().cmp(&b.place()));
        let mut digest = Digester::new("cluster");
        for found in &self.found {
            digest.add(&found.concealed);
        }
        let texts = self.found.into_iter().map(|found| found.text);
        (texts.collect(), digest.finish())
    }
}

/// Returns the digest that a read set has for each answer that is too large: nobody is given anything of it.
pub(super) fn too_large() -> Digest {
    Digester::new("cluster/too-large").finish()
}

/// Leaves out of an object what says nothing of its state: an answer would be another one although nothing is.
fn leave_out_records(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|field, _| !RECORDS.contains(&field.as_str()));
    }
}
