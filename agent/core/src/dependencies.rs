//! Applications that wait for others: what blocks an application, and which ones wait for each other in a cycle.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fmt,
};

use crate::names::ApplicationName;

/// What is known about an application that others may wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The applications that it waits for itself.
    pub depends_on: Vec<ApplicationName>,
    /// What keeps it from being Ready at its current revision, or `None` if it is Ready.
    pub not_ready: Option<String>,
}

/// Something that blocks an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The application does not exist.
    Missing(ApplicationName),
    /// The application is not Ready at its current revision.
    NotReady {
        /// The application.
        of: ApplicationName,
        /// The reason.
        why: String,
    },
    /// The application waits for itself by way of these. The first is also the last.
    Circle(Vec<ApplicationName>),
}

impl Obstacle {
    /// Returns whether the obstacle can go away by itself. A cycle is broken only by changing one of its members.
    pub const fn may_pass(&self) -> bool {
        !matches!(self, Self::Circle(_))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(
                f,
                "the application {name} does not exist, or is in a namespace that this agent does not watch"
            ),
            Self::NotReady { of, why } => write!(f, "the application {of} is not Ready: {why}"),
            Self::Circle(names) => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                write!(f, "applications wait for each other: {}", names.join(" → "))
            }
        }
    }
}

/// Returns what blocks an application. `known` looks up each of the other applications.
///
/// If the application is part of a cycle, that cycle is the only obstacle returned: everything else follows from it.
pub fn obstacles<'a>(
    of: &ApplicationName,
    depends_on: &[ApplicationName],
    known: &dyn Fn(&ApplicationName) -> Option<Cow<'a, Dependency>>,
) -> Vec<Obstacle> {
    if let Some(circle) = circle(of, depends_on, known) {
        return vec![Obstacle::Circle(circle)];
    }
    let obstacle = |name: &ApplicationName| match known(name) {
        None => Some(Obstacle::Missing(name.clone())),
        Some(dependency) => dependency.not_ready.clone().map(|why| Obstacle::NotReady {
            of: name.clone(),
            why,
        }),
    };
    depends_on.iter().filter_map(obstacle).collect()
}

/// Finds a shortest path from an application back to itself.
fn circle<'a>(
    of: &ApplicationName,
    depends_on: &[ApplicationName],
    known: &dyn Fn(&ApplicationName) -> Option<Cow<'a, Dependency>>,
) -> Option<Vec<ApplicationName>> {
    // Maps each application to the one from which the search first reached it.
    let mut before: BTreeMap<ApplicationName, ApplicationName> = BTreeMap::new();
    let mut queue = VecDeque::from([of.clone()]);
    while let Some(one) = queue.pop_front() {
        let found = known(&one);
        let further = if one == *of {
            depends_on
        } else {
            let further = found.as_ref().map(|found| found.depends_on.as_slice());
            further.unwrap_or_default()
        };
        for next in further {
            if next == of {
                return Some(way(of, &one, &before));
            }
            if !before.contains_key(next) {
                before.insert(next.clone(), one.clone());
                queue.push_back(next.clone());
            }
        }
    }
    None
}

/// Returns the path from an application to one that waits for it, and back to the start.
fn way(
    of: &ApplicationName,
    last: &ApplicationName,
    before: &BTreeMap<ApplicationName, ApplicationName>,
) -> Vec<ApplicationName> {
    let back = std::iter::successors(Some(last), |one| before.get(*one));
    let mut way = vec![of.clone()];
    way.extend(back.cloned());
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(name: &str) -> ApplicationName {
        ApplicationName::new("shop", name)
    }

    fn names(text: &str) -> Vec<ApplicationName> {
        text.chars().map(|one| name(&one.to_string())).collect()
    }

    fn told(graph: &[(&str, &str)], ready: &str, of: &str) -> String {
        let graph: BTreeMap<_, _> = graph
            .iter()
            .map(|(one, on)| (name(one), names(on)))
            .collect();
        let known = |one: &ApplicationName| {
            let not_ready = (!ready.contains(&one.name)).then(|| "applying".to_owned());
            let depends_on = graph.get(one)?.clone();
            Some(Cow::<Dependency>::Owned(Dependency {
                depends_on,
                not_ready,
            }))
        };
        let found = obstacles(&name(of), &graph[&name(of)], &known);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        found.join("\n")
    }

    #[test]
    fn what_is_missing_or_not_ready_is_named() {
        let graph = [("a", "bcd"), ("b", ""), ("c", "b")];
        insta::assert_snapshot!(told(&graph, "b", "a"), @r"
        the application shop/c is not Ready: applying
        the application shop/d does not exist, or is in a namespace that this agent does not watch
        ");
        assert_eq!(told(&graph, "b", "c"), "");
    }

    #[test]
    fn a_circle_is_named_by_those_in_it_and_awaited_by_the_others() {
        let graph = [
            ("a", "b"),
            ("b", "dc"),
            ("c", "a"),
            ("d", ""),
            ("e", "a"),
            ("f", "f"),
        ];
        insta::assert_snapshot!(told(&graph, "d", "a"), @"applications wait for each other: shop/a → shop/b → shop/c → shop/a");
        insta::assert_snapshot!(told(&graph, "d", "f"), @"applications wait for each other: shop/f → shop/f");
        insta::assert_snapshot!(told(&graph, "d", "e"), @"the application shop/a is not Ready: applying");
    }

    #[test]
    fn a_shortest_circle_is_named_and_the_first_of_those() {
        let graph = [
            ("a", "bcd"),
            ("b", "e"),
            ("c", "ba"),
            ("d", "a"),
            ("e", "a"),
        ];
        insta::assert_snapshot!(told(&graph, "", "a"), @"applications wait for each other: shop/a → shop/c → shop/a");
        insta::assert_snapshot!(told(&graph, "", "b"), @"applications wait for each other: shop/b → shop/e → shop/a → shop/b");
    }

    proptest! {
        #[test]
        fn without_a_circle_everything_gets_its_turn(
            edges in prop::collection::vec((0..8usize, 0..8usize), 0..24)
        ) {
            let letters = names("abcdefgh");
            let mut graph: BTreeMap<ApplicationName, Vec<ApplicationName>> = letters.iter().map(|one| (one.clone(), Vec::new())).collect();
            for (from, to) in edges {
                graph.get_mut(&letters[from]).unwrap().push(letters[to].clone());
            }
            let mut ready: BTreeSet<ApplicationName> = BTreeSet::new();
            // Whatever has no obstacle becomes ready, until nothing changes any more.
            loop {
                let known = |one: &ApplicationName| Some(Cow::<Dependency>::Owned(Dependency {
                    depends_on: graph.get(one)?.clone(),
                    not_ready: (!ready.contains(one)).then(String::new),
                }));
                let next: Vec<ApplicationName> = graph.keys()
                    .filter(|one| !ready.contains(*one) && obstacles(one, &graph[*one], &known).is_empty())
                    .cloned().collect();
                if next.is_empty() {
                    // The applications left over wait for a cycle, or are part of one that is reported.
                    let left: Vec<_> = graph.keys().filter(|one| !ready.contains(*one)).collect();
                    let circles = left.iter().filter(|one| obstacles(one, &graph[**one], &known).iter().any(|it| !it.may_pass())).count();
                    prop_assert_eq!(left.is_empty(), circles == 0);
                    break;
                }
                ready.extend(next);
            }
        }
    }
}
