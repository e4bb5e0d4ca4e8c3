//! Compiles a pattern as the library does. The steps keep the library's order, because each affects what matches.

use pintle_gotemplate::{Call, FunctionError};

use super::{
    matcher::{Matcher, Tree},
    syntax::Node,
};

/// Compiles a node of a pattern to a matcher.
pub(super) fn compile(node: &Node, call: &mut dyn Call) -> Result<Matcher, FunctionError> {
    let matcher = match node {
        Node::AnyOf(alternatives) => match without_common(alternatives) {
            Some(shorter) => return compile(&shorter, call),
            None => Matcher::AnyOf(compile_all(alternatives, call)?),
        },
        Node::Pattern(nodes) if nodes.is_empty() => Matcher::Nothing,
        Node::Pattern(nodes) => {
            let matchers = compile_all(nodes, call)?;
            join(minimized(matchers, call)?)
        }
        Node::Nothing => Matcher::Nothing,
        Node::Text(text) => Matcher::Text(text.as_bytes().to_vec()),
        Node::Single => Matcher::Single,
        Node::Any => Matcher::Any,
        Node::Everything => Matcher::Everything,
        Node::List { chars, negated } => Matcher::List {
            chars: chars.clone(),
            negated: *negated,
        },
        Node::Range { low, high, negated } => Matcher::Range {
            low: *low,
            high: *high,
            negated: *negated,
        },
    };
    Ok(optimized(matcher))
}

fn compile_all(nodes: &[Node], call: &mut dyn Call) -> Result<Vec<Matcher>, FunctionError> {
    nodes.iter().map(|node| compile(node, call)).collect()
}

/// Returns a simpler equivalent matcher.
fn optimized(matcher: Matcher) -> Matcher {
    match matcher {
        Matcher::AnyOf(mut alternatives) if alternatives.len() == 1 => alternatives.remove(0),
        Matcher::List {
            chars,
            negated: false,
        } if chars.len() == 1 => Matcher::Text(bytes(&chars)),
        Matcher::Tree(tree) => optimized_tree(*tree),
        other => other,
    }
}

fn optimized_tree(mut tree: Tree) -> Matcher {
    tree.left = tree.left.map(optimized);
    tree.right = tree.right.map(optimized);
    let simpler = match (&tree.left, &tree.value, &tree.right) {
        (None, Matcher::Text(text), None) => Some(Matcher::Text(text.clone())),
        (Some(Matcher::Everything), Matcher::Text(text), Some(Matcher::Everything)) => {
            Some(Matcher::Contains {
                needle: text.clone(),
                negated: false,
            })
        }
        (Some(Matcher::Everything), Matcher::Text(text), None) => {
            Some(Matcher::Suffix(text.clone()))
        }
        (None, Matcher::Text(text), Some(Matcher::Everything)) => {
            Some(Matcher::Prefix(text.clone()))
        }
        (None, Matcher::Text(text), Some(Matcher::Suffix(suffix))) => {
            Some(Matcher::PrefixSuffix(text.clone(), suffix.clone()))
        }
        (Some(Matcher::Prefix(prefix)), Matcher::Text(text), None) => {
            Some(Matcher::PrefixSuffix(prefix.clone(), text.clone()))
        }
        (Some(Matcher::Any), Matcher::Text(text), None) => Some(Matcher::SuffixAny(text.clone())),
        (None, Matcher::Text(text), Some(Matcher::Any)) => Some(Matcher::PrefixAny(text.clone())),
        _ => None,
    };
    simpler.unwrap_or_else(|| Matcher::Tree(Box::new(tree)))
}

/// Joins one or more consecutive matchers into one: a tree around the longest one that has a fixed length.
fn join(mut matchers: Vec<Matcher>) -> Matcher {
    if matchers.len() == 1 {
        return matchers.remove(0);
    }
    if let Some(glued) = glued(&matchers) {
        return glued;
    }
    let lengths = matchers.iter().enumerate();
    let longest = lengths
        .filter_map(|(at, matcher)| Some((matcher.length()?, at)))
        .max();
    let Some((_, at)) = longest else {
        let first = matchers.remove(0);
        return Tree::around(first, None, Some(join(matchers)));
    };
    let mut right = matchers.split_off(at);
    let value = right.remove(0);
    let side = |matchers: Vec<Matcher>| (!matchers.is_empty()).then(|| join(matchers));
    Tree::around(value, side(matchers), side(right))
}

/// Combines neighbouring matchers where possible.
fn minimized(
    mut matchers: Vec<Matcher>,
    call: &mut dyn Call,
) -> Result<Vec<Matcher>, FunctionError> {
    loop {
        call.charge(matchers.len().saturating_pow(3))?;
        let Some(Neighbours { from, to, glued }) = neighbours(&matchers) else {
            return Ok(matchers);
        };
        matchers.splice(from..to, [glued]);
    }
}

/// Some consecutive matchers, and the matcher that replaces them.
struct Neighbours {
    from: usize,
    to: usize,
    glued: Matcher,
}

fn neighbours(matchers: &[Matcher]) -> Option<Neighbours> {
    let mut best: Option<Neighbours> = None;
    for from in 0..matchers.len() {
        for to in (from + 1..=matchers.len()).rev() {
            let Some(glued) = glued(&matchers[from..to]) else {
                continue;
            };
            let better = best.as_ref().is_none_or(|best| {
                let lengths = (best.glued.length(), glued.length());
                best.to - best.from < to - from
                    || matches!(lengths, (Some(best), Some(this)) if this > best)
            });
            if better {
                best = Some(Neighbours { from, to, glued });
            }
        }
    }
    best
}

fn glued(matchers: &[Matcher]) -> Option<Matcher> {
    if matchers.len() < 2 {
        return None;
    }
    as_every(matchers).or_else(|| as_row(matchers))
}

/// Combines matchers that all have fixed lengths.
fn as_row(matchers: &[Matcher]) -> Option<Matcher> {
    let length = matchers
        .iter()
        .map(Matcher::length)
        .sum::<Option<usize>>()?;
    Some(Matcher::Row {
        length,
        parts: matchers.to_vec(),
    })
}

/// Combines matchers that exclude the same characters, each at any place.
fn as_every(matchers: &[Matcher]) -> Option<Matcher> {
    let (mut any, mut everything, mut singles) = (false, false, 0);
    let mut excluded: Option<&[char]> = None;
    for matcher in matchers {
        let own: &[char] = match matcher {
            Matcher::Everything => {
                everything = true;
                &[]
            }
            Matcher::Any => {
                any = true;
                &['/']
            }
            Matcher::Single => {
                singles += 1;
                &['/']
            }
            Matcher::List {
                chars,
                negated: true,
            } => {
                singles += 1;
                chars
            }
            _ => return None,
        };
        if *excluded.get_or_insert(own) != own {
            return None;
        }
    }
    match (any, everything, singles) {
        (false, true, 0) => return Some(Matcher::Everything),
        (true, false, 0) => return Some(Matcher::Any),
        _ => {}
    }
    let mut every = vec![Matcher::Min(singles)];
    if !any && !everything {
        every.push(Matcher::Max(singles));
    }
    // As one text, not as characters: `[!ab][!ab]` excludes texts that contain `ab`.
    every.push(Matcher::Contains {
        needle: bytes(excluded.unwrap_or_default()),
        negated: true,
    });
    Some(Matcher::EveryOf(every))
}

fn bytes(chars: &[char]) -> Vec<u8> {
    chars.iter().collect::<String>().into_bytes()
}

/// Factors out what all alternatives begin and end with.
fn without_common(alternatives: &[Node]) -> Option<Node> {
    let lists = alternatives.iter().map(|alternative| match alternative {
        Node::Pattern(nodes) => Some(nodes.as_slice()),
        _ => None,
    });
    let lists = lists.collect::<Option<Vec<_>>>()?;
    let (left, right) = common(&lists);
    if left == 0 && right == 0 {
        return None;
    }
    let first = *lists.first()?;
    let mut parts = Vec::new();
    if left > 0 {
        parts.push(Node::Pattern(first[..left].to_vec()));
    }
    let mut rests = Vec::new();
    for list in &lists {
        let rest = match &list[left..list.len() - right] {
            [] => Node::Nothing,
            nodes => Node::Pattern(nodes.to_vec()),
        };
        if !rests.contains(&rest) {
            rests.push(rest);
        }
    }
    match rests.as_slice() {
        [Node::Nothing] => {}
        [_] => parts.append(&mut rests),
        _ => parts.push(Node::AnyOf(rests)),
    }
    if right > 0 {
        parts.push(Node::Pattern(first[first.len() - right..].to_vec()));
    }
    Some(Node::Pattern(parts))
}

/// Returns the number of nodes with which all lists begin, and with which all end.
fn common(lists: &[&[Node]]) -> (usize, usize) {
    let (mut left, mut right) = (0, 0);
    let shortest = lists.iter().enumerate().min_by_key(|(_, list)| list.len());
    let Some((shortest_at, shortest)) = shortest.filter(|_| lists.len() > 1) else {
        return (left, right);
    };
    let (mut left_ends, mut right_ends) = (false, false);
    let ends = shortest.iter().zip(shortest.iter().rev());
    for (at, (first, last)) in ends.enumerate() {
        if left + right >= shortest.len() {
            break;
        }
        for (other_at, other) in lists.iter().enumerate() {
            if left_ends && right_ends {
                return (left, right);
            }
            if other_at == shortest_at {
                continue;
            }
            left_ends |= *first != other[at];
            // Nodes already taken from the left are not examined from the right.
            right_ends |= !left_ends && shortest.len() <= 2 * at + 1;
            right_ends |= *last != other[other.len() - 1 - at];
        }
        left += usize::from(!left_ends);
        right += usize::from(!right_ends);
    }
    (left, right)
}
