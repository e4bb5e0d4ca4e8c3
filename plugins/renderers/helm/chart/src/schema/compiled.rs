//! The checks that Helm's library makes when it compiles a schema, beyond those of the metaschema.
//!
//! From the root on, it follows everything that may apply to a value, but no definition without a reference to it. References
//! must lead to something in the document, and that must be a schema, even in a place that is not otherwise for schemas.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{
    document::{Document, Draft},
    keywords::{Checker, Shape, draft_inside, enter, parts, shape},
};

/// A schema with its base address, the draft around it, and its location.
type Place<'a> = (&'a Json, String, Draft, String);

/// Follows a schema that its metaschema has accepted.
pub(super) fn check(document: &Document<'_>, checker: &mut Checker<'_>) {
    let mut walk = Walk {
        document,
        checker,
        done: BTreeSet::new(),
        targets: Vec::new(),
    };
    let address = document.address.clone();
    walk.targets
        .push((document.root, address, document.draft, String::new()));
    while let Some((schema, base, draft, mut at)) = walk.targets.pop() {
        walk.schema(schema, &base, draft, &mut at);
    }
}

struct Walk<'a, 'c, 'r> {
    document: &'a Document<'a>,
    checker: &'c mut Checker<'r>,
    /// The addresses in memory of the schemas that were followed.
    done: BTreeSet<*const Json>,
    /// The targets of references that are still to be followed.
    targets: Vec<Place<'a>>,
}

impl<'a> Walk<'a, '_, '_> {
    fn schema(&mut self, schema: &'a Json, base: &str, outer: Draft, at: &mut String) {
        if !self.done.insert(std::ptr::from_ref(schema)) {
            return;
        }
        let Json::Object(keywords) = schema else {
            return;
        };
        let draft = draft_inside(schema, outer);
        let own = self.document.resource(schema);
        let base = own.map_or(base, |own| own.address.as_str());
        // Up to draft 7, a reference hides draft 4's keywords, but not those that the library compiles for drafts 6 and 7.
        let mut hides = false;
        for keyword in draft.references() {
            if let Some(reference) = keywords.get(*keyword).and_then(Json::as_str) {
                self.reference(reference, base, &format!("{at}/{keyword}"));
                hides = draft < Draft::V2019;
            }
        }
        for (keyword, value) in keywords {
            let applies = match keyword.as_str() {
                "definitions" | "$defs" | "contentSchema" => false,
                "then" => keywords.get("if").is_some_and(|c| *c != Json::Bool(false)),
                "else" => keywords.get("if").is_some_and(|c| *c != Json::Bool(true)),
                "additionalItems" => keywords.get("items").is_some_and(Json::is_array),
                _ => true,
            };
            let hidden = hides && shape(keyword, Draft::V4).is_some();
            let Some(shape) = shape(keyword, draft).filter(|_| applies && !hidden) else {
                continue;
            };
            let length = at.len();
            enter(at, keyword);
            for (key, part) in parts(shape, value) {
                let length = at.len();
                if let Some(key) = key {
                    enter(at, &key);
                    // The metaschemas of drafts 4 and 6 do not require regexes here, but the library does.
                    if keyword == "patternProperties" && shape == Shape::SchemaOf {
                        self.pattern(&key, at);
                    }
                }
                self.schema(part, base, draft, at);
                at.truncate(length);
            }
            at.truncate(length);
        }
    }

    fn pattern(&mut self, pattern: &str, at: &str) {
        if let Some(error) = self.document.regex_error(pattern) {
            let problem = format!("has an invalid regex {pattern:?} at {at}: {error}");
            self.checker.note(problem);
        }
    }

    fn reference(&mut self, reference: &str, base: &str, at: &str) {
        match self.document.resolve(reference, base) {
            Err(message) => self.checker.note(format!("{message}, at {at}")),
            Ok(None) => {}
            Ok(Some(target)) => {
                let place = reference.split_once('#').map_or("", |(_, place)| place);
                if !self.checker.knows(target.schema) {
                    self.checker.run(place, target.schema, target.draft);
                }
                let place = place.to_owned();
                let target = (target.schema, target.base, target.draft, place);
                self.targets.push(target);
            }
        }
    }
}
