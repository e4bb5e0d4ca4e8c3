//! An answer from the cluster, read page by page: what a plugin may read can be as large as the cluster.

use pintle_core::{
    canonical,
    digest::{Digest, Digester},
    object,
    seed::Seed,
};
use serde_json::Value;

use super::{ClusterError, ClusterQuestion, ClusterReader};

/// The size in bytes of the text of the largest answer.
pub(super) const ANSWER: u64 = 64 << 20;

/// The maximum number of pages of an answer. Even with the smallest objects, this is more than an answer has room for. A server
/// might never send a last page.
const PAGES: u32 = 10_000;

/// The size in bytes of an object in an answer, besides its texts.
const FOUND: u64 = 192;

/// The fields in which a server records writes. They change with each write, even one that changes nothing else.
const RECORDS: [&str; 2] = ["managedFields", "resourceVersion"];

/// The pages of an answer.
pub(super) struct Pages<'a> {
    question: &'a ClusterQuestion,
    reader: &'a dyn ClusterReader,
    /// The token for the next page, from the page before.
    next: Option<String>,
    /// The number of pages that may still be read; 0 after the last one.
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

    /// Reads the next page. Returns `None` after the last one.
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

/// The part of an answer that has been read. Only texts are kept: parsed JSON takes several times as much memory.
#[derive(Debug, Default)]
pub(super) struct Answer {
    found: Vec<Found>,
    /// The size in bytes of what crosses to the guest.
    size: u64,
}

/// An object of an answer.
#[derive(Debug)]
struct Found {
    namespace: String,
    name: String,
    /// The text that crosses to the guest.
    text: String,
    /// The text that goes into the digest.
    concealed: String,
}

impl Found {
    fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl Answer {
    /// Adds a page and returns the bytes of memory that are kept for it. The values of a Secret are concealed in the digest,
    /// since statuses show digests.
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

    /// Returns whether the answer is too large, so that no more of it is read.
    pub(super) fn is_too_large(&self) -> bool {
        self.size > ANSWER
    }

    /// Returns the bytes of memory that are kept until the answer has crossed: its texts, and the overhead of each.
    pub(super) fn crossing(&self) -> u64 {
        self.size + FOUND * self.found.len() as u64
    }

    /// Returns the texts in the order required by the contract, and the digest that a read set has for them.
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

/// Returns the digest that a read set has for every answer that is too large. None of such an answer is given to anyone.
pub(super) fn too_large() -> Digest {
    Digester::new("cluster/too-large").finish()
}

/// Removes from an object what says nothing about its state. Otherwise an answer would change although the state did not.
fn leave_out_records(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|field, _| !RECORDS.contains(&field.as_str()));
    }
}
