//! Applications that wait for others: what is in the way of one, and which wait for each other in a circle.

use std::{collections::BTreeSet, fmt};

use crate::names::ApplicationName;

/// What is known of an application that others may wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What it waits for itself.
    pub depends_on: Vec<ApplicationName>,
    /// What keeps it from being Ready at its current revision; nothing if it is.
    pub not_ready: Option<String>,
}

/// What is in an application's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no such application.
    Missing(ApplicationName),
    /// It is not Ready at its current revision.
    NotReady {
        /// Which.
        of: ApplicationName,
        /// Why not.
        why: String,
    },
    /// It waits for itself, by way of these: the first is the last.
    Circle(Vec<ApplicationName>),
}

impl Obstacle {
    /// Says whether it goes away by itself: a circle is broken only by a change of one that is in it.
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

/// Returns what is in the way of an application. `known` tells of each other one.
///
/// A circle that it is a part of is the only obstacle then: all else follows from it.
pub fn obstacles(
    of: &ApplicationName,
    depends_on: &[ApplicationName],
    known: &dyn Fn(&ApplicationName) -> Option<Dependency>,
) -> Vec<Obstacle> {
    if let Some(circle) = circle(of, depends_on, known) {
        return vec![Obstacle::Circle(circle)];
    }
    let obstacle = |name: &ApplicationName| match known(name) {
        None => Some(Obstacle::Missing(name.clone())),
        Some(dependency) => dependency.not_ready.map(|why| Obstacle::NotReady {
            of: name.clone(),
            why,
        }),
    };
    depends_on.iter().filter_map(obstacle).collect()
}

/// Finds a shortest way from an application back to itself.
fn circle(
    of: &ApplicationName,
    depends_on: &[ApplicationName],
    known: &dyn Fn(&ApplicationName) -> Option<Dependency>,
) -> Option<Vec<ApplicationName>> {
    let mut seen = BTreeSet::new();
    let mut ways: Vec<Vec<ApplicationName>> = depends_on
        .iter()
        .map(|next| vec![of.clone(), next.clone()])
        .collect();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let Some(last) = way.last() else { continue };
            if last == of {
                return Some(way);
            }
            if !seen.insert(last.clone()) {
                continue;
            }
            let further = known(last).map(|found| found.depends_on);
            longer.extend(further.into_iter().flatten().map(|next| {
                let mut way = way.clone();
                way.push(next);
                way
            }));
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

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
            Some(Dependency {
                depends_on,
                not_ready,
            })
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
            // Whatever has nothing in its way becomes ready, until nothing changes any more.
            loop {
                let known = |one: &ApplicationName| Some(Dependency {
                    depends_on: graph.get(one)?.clone(),
                    not_ready: (!ready.contains(one)).then(String::new),
                });
                let next: Vec<ApplicationName> = graph.keys()
                    .filter(|one| !ready.contains(*one) && obstacles(one, &graph[*one], &known).is_empty())
                    .cloned().collect();
                if next.is_empty() {
                    // What is left waits for a circle, or is in one that is named.
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
