//! Calls of every function, over the types and edge values of its parameters.

use super::{Case, Compared, Random, pools, special};
use crate::oracle::Function;

/// The number of calls with combined arguments, for each function that takes more than one argument.
const COMBINED: usize = 150;

/// Shows a result: its type, how Go prints it, and its JSON, which distinguishes a nested `1` from `"1"`.
const SHOW: &str = "{{ typeOf $r }}|{{ $r }}|{{ printf \"%q\" (toJson $r) }}";

/// Returns the cases of one function.
pub fn cases(function: &Function) -> Vec<Case> {
    if function.keyword {
        return Vec::new(); // the language's tests have them
    }
    let name = function.name.as_str();
    let params: Vec<&str> = function
        .params
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let mut random = Random::named(name);
    let mut calls = pools::calls(name).to_vec();
    if !special::SLOW.contains(&name) {
        typed(function, &params, &mut random, &mut calls);
        if let Some(accepted) = special::accepts(name) {
            typed(function, accepted, &mut random, &mut calls);
        }
    }
    wrong(function, &params, &mut calls);
    let mut texts: Vec<String> = calls.iter().map(|call| show(name, call)).collect();
    texts.extend_from_slice(pools::templates(name));
    let mut seen = std::collections::HashSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    let compared = if special::UNSTABLE.contains(&name) {
        Compared::Success
    } else {
        Compared::Exactly
    };
    texts
        .into_iter()
        .map(|text| Case {
            about: name.to_owned(),
            compared: if volatile(&text) {
                Compared::Success
            } else {
                compared
            },
            text,
        })
        .collect()
}

/// Returns whether an argument is itself random, so that only success can be compared.
fn volatile(text: &str) -> bool {
    text.contains("genCA") || text.contains("(now)")
}

fn show(name: &str, call: &str) -> String {
    match special::shape(name) {
        Some(shape) => format!("{{{{ $r := {call} }}}}{shape}"),
        None => format!("{{{{ $r := {call} }}}}{SHOW}"),
    }
}

/// Adds calls with the right types: every value of each parameter, then combinations.
fn typed(function: &Function, params: &[&str], random: &mut Random, calls: &mut Vec<String>) {
    let name = &function.name;
    if params.is_empty() {
        calls.push(name.clone());
        return;
    }
    let pools: Vec<Vec<&str>> = params
        .iter()
        .map(|param| {
            let mut pool = pools::of_type(param);
            if *param == "int" && !special::GROWING.contains(&name.as_str()) {
                pool.extend(pools::large_ints().iter().map(String::as_str));
            }
            if *param == "any" && special::GROWING.contains(&name.as_str()) {
                pool.retain(|value| value.len() < 14);
            }
            pool.extend(pools::arguments(name).iter().map(String::as_str));
            pool
        })
        .collect();
    for (position, pool) in pools.iter().enumerate() {
        for value in pool {
            let mut args: Vec<&str> = pools.iter().map(|pool| random.pick(pool)).collect();
            args[position] = value;
            calls.push(call(name, &args));
        }
    }
    if params.len() == 1 && !function.variadic {
        for value in &pools[0] {
            calls.push(format!("{value} | {name}"));
        }
        return;
    }
    for _ in 0..COMBINED {
        let mut args: Vec<&str> = pools.iter().map(|pool| random.pick(pool)).collect();
        if function.variadic {
            args.pop();
            let last = pools.last().expect("there is a parameter");
            args.extend((0..random.below(5)).map(|_| random.pick(last)));
        }
        if random.once_in(4) && !args.is_empty() {
            let last = args.pop().expect("it is not empty");
            calls.push(format!("{last} | {}", call(name, &args)));
        } else {
            calls.push(call(name, &args));
        }
    }
}

/// Adds calls with wrong types and with wrong numbers of arguments.
fn wrong(function: &Function, params: &[&str], calls: &mut Vec<String>) {
    let name = &function.name;
    let usual: Vec<&str> = params
        .iter()
        .map(|param| special::usual(name, param))
        .collect();
    // The slow functions are slow when their arguments are right.
    let values = if special::SLOW.contains(&name.as_str()) {
        5
    } else {
        usize::MAX
    };
    for position in 0..params.len() {
        for value in pools::one_of_each().iter().take(values) {
            let mut args = usual.clone();
            args[position] = value;
            calls.push(call(name, &args));
        }
    }
    for count in 0..params.len() + 2 {
        let args: Vec<&str> = usual
            .iter()
            .copied()
            .chain(["1", "\"x\""])
            .take(count)
            .collect();
        calls.push(call(name, &args));
        calls.push(format!("\"piped\" | {}", call(name, &args)));
    }
}

fn call(name: &str, args: &[&str]) -> String {
    let mut text = name.to_owned();
    for arg in args {
        text.push(' ');
        text.push_str(arg);
    }
    text
}
