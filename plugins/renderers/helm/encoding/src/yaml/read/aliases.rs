//! Checks the effect of aliases in a document, because a short text can stand for a huge one.

use pintle_gotemplate::value::MAX_NESTING;

use super::{decode::Decoder, error::YamlError, parse::Kind};

/// Refuses a document whose aliases multiply, repeat or nest too much, or contain themselves, before it is decoded. The limit on
/// multiplication is the library's rule.
pub(super) fn check(decoder: &Decoder<'_>) -> Result<(), YamlError> {
    Census::default().run(decoder)
}

#[derive(Default)]
struct Census {
    nodes: usize,
    aliased: usize,
    /// The bytes of text that aliases repeat.
    aliased_bytes: usize,
    /// The number of aliases around the current node.
    depth: usize,
    /// The number of lists and maps around the current node.
    nesting: usize,
    work: Vec<Work>,
}

/// The most text that aliases may add to a document, in bytes. The library has no such limit, because it shares strings.
const MAX_ALIASED_BYTES: usize = 32 << 20;

/// The remaining work, the next item last.
enum Work {
    Node(usize),
    LeaveAlias,
    LeaveCollection,
}

impl Census {
    fn run(mut self, decoder: &Decoder<'_>) -> Result<(), YamlError> {
        self.work.push(Work::Node(0));
        while let Some(work) = self.work.pop() {
            match work {
                Work::Node(node) => self.node(decoder, node)?,
                Work::LeaveAlias => self.depth -= 1,
                Work::LeaveCollection => self.nesting -= 1,
            }
        }
        Ok(())
    }

    /// Counts a node. Its contents come next.
    fn node(&mut self, decoder: &Decoder<'_>, node: usize) -> Result<(), YamlError> {
        self.count(decoder, node)?;
        match &decoder.tree.nodes[node].kind {
            Kind::Scalar { text, .. } => {
                if self.depth > 0 {
                    self.aliased_bytes += text.len();
                }
            }
            Kind::Alias { name, target } => {
                if (*target..decoder.tree.after(*target)).contains(&node) {
                    let name = String::from_utf8_lossy(name);
                    let problem = format!("anchor '{name}' value contains itself");
                    return Err(decoder.error(node, &problem));
                }
                self.depth += 1;
                self.work.push(Work::LeaveAlias);
                self.work.push(Work::Node(*target));
            }
            Kind::Sequence(_) => {
                let start = self.enter(decoder, node)?;
                self.work.extend(decoder.children(node).map(Work::Node));
                self.work[start..].reverse();
            }
            Kind::Mapping(_) => {
                let start = self.enter(decoder, node)?;
                for (key, value) in decoder.pairs(node) {
                    if decoder.is_merge(key) {
                        let maps = decoder.merged(value)?;
                        self.work.extend(maps.into_iter().map(Work::Node));
                    } else {
                        self.work.extend([Work::Node(key), Work::Node(value)]);
                    }
                }
                self.work[start..].reverse();
            }
        }
        Ok(())
    }

    /// Enters a collection. Returns the index at which the work on its contents begins.
    fn enter(&mut self, decoder: &Decoder<'_>, node: usize) -> Result<usize, YamlError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            let problem = format!("exceeded max depth of {MAX_NESTING}");
            return Err(decoder.error(node, &problem));
        }
        self.work.push(Work::LeaveCollection);
        Ok(self.work.len())
    }

    fn count(&mut self, decoder: &Decoder<'_>, node: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.depth == 0 {
            return Ok(());
        }
        self.aliased += 1;
        let excessive = self.aliased > 100 && self.nodes > 1000 && self.share() > self.allowed();
        if excessive || self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(decoder.error(node, "document contains excessive aliasing"));
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a share needs no precision")]
    fn share(&self) -> f64 {
        self.aliased as f64 / self.nodes as f64
    }

    /// Returns the share of nodes that may come from aliases, which is smaller in large documents.
    #[expect(clippy::cast_precision_loss, reason = "the numbers are far below 2^52")]
    fn allowed(&self) -> f64 {
        const LOW: usize = 400_000;
        const HIGH: usize = 4_000_000;
        match self.nodes {
            ..=LOW => 0.99,
            HIGH.. => 0.10,
            nodes => 0.99 - 0.89 * ((nodes - LOW) as f64 / (HIGH - LOW) as f64),
        }
    }
}
