//! The order between objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Links, Reference, Tier};
use crate::object::ObjectId;

/// An object that takes part in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The object.
    pub id: ObjectId,
    /// Its place in the order.
    pub links: Links,
    /// The group and kind that it defines.
    pub defines: Option<(String, String)>,
}

/// The reason why one object comes after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// An annotation says so.
    Annotation,
    /// It could not be created, or would not work, without the other.
    Need,
}

/// The reason why no order exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A dependency is not among the objects.
    #[error(
        "{id} depends on {reference}, which is not rendered with it: correct the name, or let the application that brings it \
         come first"
    )]
    Unknown {
        /// The object.
        id: Box<ObjectId>,
        /// The dependency that it names.
        reference: String,
    },
    /// A dependency may refer to several objects.
    #[error("{id} depends on {reference}, which may be {}: name the group as well, as GROUP/KIND/NAMESPACE/NAME", joined(.found, " or "))]
    Ambiguous {
        /// The object.
        id: Box<ObjectId>,
        /// The dependency that it names.
        reference: String,
        /// The objects that the dependency may refer to.
        found: Vec<ObjectId>,
    },
    /// A dependency is in a later wave.
    #[error(
        "{id} in wave {wave} depends on {dependency}, which is in the later wave {later}: neither could ever be written first"
    )]
    LaterWave {
        /// The object.
        id: Box<ObjectId>,
        /// Its wave.
        wave: i32,
        /// Its dependency.
        dependency: Box<ObjectId>,
        /// The wave of the dependency.
        later: i32,
    },
    /// Objects wait for each other.
    #[error("objects wait for each other: {}; remove one of these dependencies", Chain(.0))]
    Cycle(Vec<(ObjectId, Why)>),
}

impl OrderError {
    /// Returns the objects that the error is about.
    pub fn objects(&self) -> Vec<&ObjectId> {
        match self {
            Self::Unknown { id, .. } | Self::Ambiguous { id, .. } => vec![id],
            Self::LaterWave { id, dependency, .. } => vec![id, dependency],
            Self::Cycle(steps) => steps.iter().map(|(id, _)| id).collect(),
        }
    }
}

fn joined(ids: &[ObjectId], with: &str) -> String {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    texts.join(with)
}

struct Chain<'a>(&'a [(ObjectId, Why)]);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (id, why)) in self.0.iter().enumerate() {
            let next = &self.0[(index + 1) % self.0.len()].0;
            let verb = match why {
                Why::Annotation => "depends on",
                Why::Need => "needs",
            };
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{id} {verb} {next}")?;
        }
        Ok(())
    }
}

/// What must be true of an object before another one can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// It is written, or its deletion is in progress.
    Written,
    /// It is healthy, or gone.
    Settled,
}

/// An object, or a gate that many objects wait for.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) object: Option<ObjectId>,
    pub(super) blocked_by: usize,
    pub(super) unblocks: Vec<(usize, On)>,
}

/// The order in which objects are written or deleted.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The objects in order of identity, followed by gates.
    pub(super) nodes: Vec<Node>,
}

/// A dependency: the second object comes after the first.
type Edge = (usize, usize, Why);

impl Order {
    /// Returns the order in which objects are written.
    pub fn of(items: &[Item]) -> Result<Self, OrderError> {
        let index = index(items);
        let needs = needs(items, &index);
        let waves = waves(items, &needs);
        let annotated = annotated(items, &waves)?;
        let edges: Vec<Edge> = needs.into_iter().chain(annotated).collect();
        if let Some(cycle) = cycle(items, &edges) {
            return Err(OrderError::Cycle(cycle));
        }
        let ranks = items.iter().map(|item| Tier::of(&item.id).rank()).collect();
        Ok(Self::build(items, &edges, &waves, ranks))
    }

    /// Returns the order in which objects are deleted: what would be written last is deleted first. Annotations that make no
    /// sense, or that name objects that are not deleted, are ignored, because nobody could correct them any more.
    pub fn of_removal(items: &[Item]) -> Self {
        let index = index(items);
        let needs = needs(items, &index);
        let waves = waves(items, &needs);
        let (named, mut annotated) = (named(items), Vec::new());
        for (to, item) in items.iter().enumerate() {
            for reference in &item.links.after {
                let found = meant(items, &named, item, reference);
                annotated.extend(
                    found
                        .into_iter()
                        .filter(|from| waves[*from] <= waves[to] && *from != to)
                        .map(|from| (from, to, Why::Annotation)),
                );
            }
        }
        let mut edges: Vec<Edge> = needs.iter().copied().chain(annotated).collect();
        if cycle(items, &edges).is_some() {
            edges = needs;
        }
        let edges: Vec<Edge> = edges.into_iter().map(|(a, b, why)| (b, a, why)).collect();
        let waves: Vec<i32> = waves.into_iter().map(i32::saturating_neg).collect();
        let ranks = items
            .iter()
            .map(|item| -Tier::of(&item.id).rank())
            .collect();
        Self::build(items, &edges, &waves, ranks)
    }

    /// Returns whether anything in this order has to be awaited.
    pub fn awaits(&self) -> bool {
        let mut edges = self.nodes.iter().flat_map(|node| &node.unblocks);
        edges.any(|(_, on)| *on == On::Settled)
    }

    fn build(items: &[Item], edges: &[Edge], waves: &[i32], mut ranks: Vec<i32>) -> Self {
        let node = |item: &Item| Node {
            object: Some(item.id.clone()),
            blocked_by: 0,
            unblocks: Vec::new(),
        };
        let mut order = Self {
            nodes: items.iter().map(node).collect(),
        };
        for (from, to, why) in edges {
            let on = match why {
                Why::Annotation => On::Settled,
                Why::Need => On::Written,
            };
            order.connect(*from, *to, on);
        }
        // A tier must not hold back what an object in an earlier tier waits for, so dependents move to the later tier.
        let before = before(items.len(), edges);
        for to in sorted(&before) {
            let latest = before[to]
                .iter()
                .filter(|(from, _)| waves[*from] == waves[to])
                .map(|(from, _)| ranks[*from]);
            ranks[to] = latest.max().map_or(ranks[to], |rank| rank.max(ranks[to]));
        }
        order.put_up_gates(waves, &ranks);
        order
    }

    /// Makes each wave wait until the previous one is healthy and, within a wave, each tier until the previous one is written.
    fn put_up_gates(&mut self, waves: &[i32], ranks: &[i32]) {
        let mut groups: BTreeMap<i32, BTreeMap<i32, Vec<usize>>> = BTreeMap::new();
        for (index, (wave, rank)) in waves.iter().zip(ranks).enumerate() {
            let tiers = groups.entry(*wave).or_default();
            tiers.entry(*rank).or_default().push(index);
        }
        let mut wave_before: Option<(Vec<usize>, Option<usize>)> = None;
        for tiers in groups.into_values() {
            let wave_gate = wave_before
                .take()
                .map(|(members, gate)| self.gate(&members, gate, On::Settled));
            let mut members = Vec::new();
            let mut tier_before: Option<(Vec<usize>, Option<usize>)> = None;
            for tier in tiers.into_values() {
                let tier_gate = tier_before
                    .take()
                    .map(|(members, gate)| self.gate(&members, gate, On::Written));
                for gate in [wave_gate, tier_gate].into_iter().flatten() {
                    for member in &tier {
                        self.connect(gate, *member, On::Written);
                    }
                }
                members.extend(&tier);
                tier_before = Some((tier, tier_gate));
            }
            wave_before = Some((members, wave_gate));
        }
    }

    fn gate(&mut self, behind: &[usize], before: Option<usize>, on: On) -> usize {
        let gate = self.nodes.len();
        self.nodes.push(Node {
            object: None,
            blocked_by: 0,
            unblocks: Vec::new(),
        });
        for from in behind {
            self.connect(*from, gate, on);
        }
        if let Some(before) = before {
            self.connect(before, gate, On::Written);
        }
        gate
    }

    fn connect(&mut self, from: usize, to: usize, on: On) {
        self.nodes[from].unblocks.push((to, on));
        self.nodes[to].blocked_by += 1;
    }
}

fn index(items: &[Item]) -> BTreeMap<&ObjectId, usize> {
    let items = items.iter().enumerate();
    items.map(|(index, item)| (&item.id, index)).collect()
}

fn needs(items: &[Item], index: &BTreeMap<&ObjectId, usize>) -> Vec<Edge> {
    let definitions: BTreeMap<(&str, &str), usize> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| {
            let (group, kind) = item.defines.as_ref()?;
            Some(((group.as_str(), kind.as_str()), index))
        })
        .collect();
    let mut edges = Vec::new();
    for (to, item) in items.iter().enumerate() {
        let definition = definitions.get(&(item.id.group.as_str(), item.id.kind.as_str()));
        let found = item.links.needs.iter().filter_map(|id| index.get(id));
        let found: BTreeSet<usize> = found.chain(definition).copied().collect();
        edges.extend(
            found
                .into_iter()
                .filter(|from| *from != to)
                .map(|from| (from, to, Why::Need)),
        );
    }
    edges
}

/// Returns the wave of each object. What an object cannot do without joins its wave, even if its own wave is a later one.
fn waves(items: &[Item], needs: &[Edge]) -> Vec<i32> {
    let mut waves: Vec<i32> = items.iter().map(|item| item.links.wave).collect();
    let before = before(items.len(), needs);
    // Later objects first: a wave is passed on from an object to the ones that it needs.
    for to in sorted(&before).into_iter().rev() {
        for (from, _) in &before[to] {
            waves[*from] = waves[*from].min(waves[to]);
        }
    }
    waves
}

fn annotated(items: &[Item], waves: &[i32]) -> Result<Vec<Edge>, OrderError> {
    let (named, mut edges) = (named(items), Vec::new());
    for (to, item) in items.iter().enumerate() {
        let id = || Box::new(item.id.clone());
        for reference in &item.links.after {
            let found = meant(items, &named, item, reference);
            let [from] = found[..] else {
                let reference = reference.to_string();
                return Err(if found.is_empty() {
                    OrderError::Unknown {
                        id: id(),
                        reference,
                    }
                } else {
                    OrderError::Ambiguous {
                        id: id(),
                        reference,
                        found: found.iter().map(|found| items[*found].id.clone()).collect(),
                    }
                });
            };
            if waves[from] > waves[to] {
                return Err(OrderError::LaterWave {
                    id: id(),
                    wave: waves[to],
                    dependency: Box::new(items[from].id.clone()),
                    later: waves[from],
                });
            }
            edges.push((from, to, Why::Annotation));
        }
    }
    Ok(edges)
}

/// The objects with a kind and a name, whatever their group and namespace.
type Named<'a> = BTreeMap<(&'a str, &'a str), Vec<usize>>;

fn named(items: &[Item]) -> Named<'_> {
    let mut named = Named::new();
    for (index, Item { id, .. }) in items.iter().enumerate() {
        let all = named.entry((id.kind.as_str(), id.name.as_str()));
        all.or_default().push(index);
    }
    named
}

fn meant(items: &[Item], named: &Named<'_>, item: &Item, reference: &Reference) -> Vec<usize> {
    let from = item.id.namespace.as_deref();
    let found = named.get(&reference.kind_and_name());
    let found = found.into_iter().flatten().copied();
    found
        .filter(|index| reference.means(&items[*index].id, from))
        .collect()
}

/// Returns, for each object, the objects that it comes after and why.
fn before(count: usize, edges: &[Edge]) -> Vec<Vec<(usize, Why)>> {
    let mut before = vec![Vec::new(); count];
    for (from, to, why) in edges {
        before[*to].push((*from, *why));
    }
    before
}

/// Sorts objects so that each comes after its dependencies. Members of a cycle, and whatever comes after them, are left out.
fn sorted(before: &[Vec<(usize, Why)>]) -> Vec<usize> {
    let mut blocked: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut unblocks: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    for (to, all) in before.iter().enumerate() {
        for (from, _) in all {
            unblocks[*from].push(to);
        }
    }
    let mut sorted: Vec<usize> = (0..before.len())
        .filter(|index| blocked[*index] == 0)
        .collect();
    let mut next = 0;
    while let Some(from) = sorted.get(next).copied() {
        next += 1;
        for to in &unblocks[from] {
            blocked[*to] -= 1;
            if blocked[*to] == 0 {
                sorted.push(*to);
            }
        }
    }
    sorted
}

/// Finds a cycle of objects, each with the reason why it waits for the next.
fn cycle(items: &[Item], edges: &[Edge]) -> Option<Vec<(ObjectId, Why)>> {
    let waits = before(items.len(), edges);
    let mut open: BTreeSet<usize> = (0..items.len()).collect();
    for index in sorted(&waits) {
        open.remove(&index);
    }
    // What is left belongs to a cycle or comes after one, so following the dependencies leads into it.
    let mut at = *open.first()?;
    let mut path: Vec<(usize, Why)> = Vec::new();
    loop {
        if let Some(start) = path.iter().position(|(index, _)| *index == at) {
            let cycle = path[start..].iter();
            return Some(
                cycle
                    .map(|(index, why)| (items[*index].id.clone(), *why))
                    .collect(),
            );
        }
        let (next, why) = *waits[at].iter().find(|(from, _)| open.contains(from))?;
        path.push((at, why));
        at = next;
    }
}
