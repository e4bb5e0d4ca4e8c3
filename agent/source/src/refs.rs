//! The references that a repository offers, and what a requested reference means among them.

use std::collections::HashSet;

use gix::ObjectId;
use pintle_core::{
    application::Reference,
    digest::{Digest, Digester},
    version::VersionRange,
};
use semver::Version;

use crate::{error::SourceError, names::Names};

/// The branches and tags of a repository at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    pub(crate) default: Option<Head>,
    pub(crate) branches: Names,
    pub(crate) tags: Names,
    /// Commits to which annotated tags lead, each once, with the tag object, as far as the server listed both.
    annotated: Vec<(ObjectId, ObjectId)>,
}

/// Branches and tags in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) default: Option<Head>,
    pub(crate) branches: Vec<(String, ObjectId)>,
    pub(crate) tags: Vec<(String, ObjectId)>,
    /// Commits, each with the object of an annotated tag that leads to it.
    pub(crate) annotated: Vec<(ObjectId, ObjectId)>,
}

impl From<Found> for Refs {
    fn from(found: Found) -> Self {
        let mut annotated = found.annotated;
        annotated.sort_unstable();
        annotated.dedup_by_key(|(commit, _)| *commit);
        annotated.shrink_to_fit();
        Self {
            default: found.default,
            branches: found.branches.into_iter().collect(),
            tags: found.tags.into_iter().collect(),
            annotated,
        }
    }
}

/// What HEAD points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The branch that HEAD names; `None` if it names a commit.
    pub(crate) branch: Option<String>,
    pub(crate) commit: ObjectId,
}

/// What a reference means at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The commit, or a tag that leads to it if the server did not say more.
    pub(crate) id: ObjectId,
    /// The branch or tag.
    pub(crate) name: String,
}

/// The most names that a message lists.
const OFFERED: usize = 5;
/// The most names that one is compared with. Comparing it with each of many thousands of tags would take seconds.
const COMPARED: usize = 1000;
/// The length of the longest name that is compared with others, in bytes. The time grows with the square of it.
const COMPARABLE: usize = 200;

impl Refs {
    /// Returns a digest of all references: equal digests mean equal references.
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digester::new("references/v1");
        let head = self.default.as_ref();
        let branch = head.and_then(|head| head.branch.as_deref());
        digest.add(head.map_or(&[][..], |head| head.commit.as_bytes()));
        digest.add([u8::from(branch.is_some())]);
        digest.add(branch.unwrap_or_default());
        for names in [&self.branches, &self.tags] {
            digest.add(names.len().to_be_bytes());
            for (name, id) in names.iter() {
                digest.add(name);
                digest.add(id.as_bytes());
            }
        }
        for (commit, tag) in &self.annotated {
            digest.add(commit.as_bytes());
            digest.add(tag.as_bytes());
        }
        digest.finish()
    }

    /// Returns what a reference means, or an error that says what there is instead.
    pub(crate) fn tip(&self, url: &str, reference: &Reference) -> Result<Tip, SourceError> {
        self.find(reference)?
            .ok_or_else(|| self.lacks(url, reference))
    }

    /// Finds what a reference means. Returns `None` for one that means nothing here, without looking for what there is instead,
    /// which takes longer.
    pub(crate) fn find(&self, reference: &Reference) -> Result<Option<Tip>, SourceError> {
        let named = |names: &Names, name: &str| {
            let id = names.get(name)?;
            let name = name.to_owned();
            Some(Tip { id, name })
        };
        Ok(match reference {
            Reference::Default => self.default.as_ref().map(|head| Tip {
                id: head.commit,
                name: head.branch.clone().unwrap_or_default(),
            }),
            Reference::Branch(name) => named(&self.branches, name),
            Reference::Tag(name) => named(&self.tags, name),
            Reference::Semver(range) => self.highest(&parse_range(range)?),
            Reference::Commit(commit) => Some(Tip {
                id: parse_commit(commit)?,
                name: String::new(),
            }),
        })
    }

    /// Returns the error for a reference that means nothing here, with what there is instead.
    fn lacks(&self, url: &str, reference: &Reference) -> SourceError {
        let url = url.to_owned();
        match reference {
            Reference::Commit(commit) => SourceError::NoCommit {
                url,
                commit: commit.clone(),
            },
            Reference::Semver(range) => match parse_range(range) {
                Ok(range) => SourceError::NoVersion {
                    url,
                    range: range.text().to_owned(),
                    offer: self.versions_offer(&range),
                },
                Err(error) => error,
            },
            _ if self.is_empty() => SourceError::Empty { url },
            Reference::Default => SourceError::NoDefault {
                url,
                offer: list_of("branches", self.branches.len(), self.branches.keys()),
            },
            Reference::Branch(name) => self.lacks_name(url, "branch", name),
            Reference::Tag(name) => self.lacks_name(url, "tag", name),
        }
    }

    fn lacks_name(&self, url: String, kind: &'static str, name: &str) -> SourceError {
        SourceError::NoReference {
            url,
            kind,
            name: name.to_owned(),
            offer: self.offer(kind, name),
        }
    }

    /// Returns whether a branch, a tag or HEAD leads to a commit.
    pub(crate) fn is_tip(&self, id: &ObjectId) -> bool {
        let head = self.default.as_ref().map(|head| head.commit);
        head.into_iter()
            .chain(self.branches.ids())
            .chain(self.tags.ids())
            .any(|tip| tip == *id)
    }

    /// Returns the commits that branches and HEAD lead to.
    pub(crate) fn heads(&self) -> HashSet<ObjectId> {
        let head = self.default.as_ref().map(|head| head.commit);
        self.branches.ids().chain(head).collect()
    }

    /// Returns the objects that branches and tags lead to, each once.
    pub(crate) fn tips(&self) -> Vec<ObjectId> {
        let mut all: Vec<ObjectId> = self.branches.ids().chain(self.tags.ids()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the objects that lead to commits and are entries of the server's list themselves.
    ///
    /// Before version 2 of the protocol, a server sends nothing else, and for an annotated tag its list mentions the commit
    /// only in passing.
    pub(crate) fn listed(&self, commits: &[ObjectId]) -> Vec<ObjectId> {
        let tag_of = |commit: &ObjectId| {
            let index = self.annotated.binary_search_by_key(commit, |(it, _)| *it);
            index.map_or(*commit, |index| self.annotated[index].1)
        };
        let mut listed: Vec<ObjectId> = commits.iter().map(tag_of).collect();
        listed.sort_unstable();
        listed.dedup();
        listed
    }

    fn is_empty(&self) -> bool {
        self.default.is_none() && self.branches.is_empty() && self.tags.is_empty()
    }

    /// Returns the highest tag in the range. A leading `v` is ignored, and a tag that is not a version does not count. Of two
    /// tags with the same version, the alphabetically last wins, so that the answer does not depend on the server's order.
    fn highest(&self, range: &VersionRange) -> Option<Tip> {
        self.versions()
            .filter(|(version, ..)| range.contains(version))
            .max_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)))
            .map(|(_, name, id)| Tip {
                id,
                name: name.to_owned(),
            })
    }

    fn versions(&self) -> impl Iterator<Item = (Version, &str, ObjectId)> {
        self.tags.iter().filter_map(|(name, id)| {
            let version = Version::parse(name.strip_prefix('v').unwrap_or(name)).ok()?;
            Some((version, name, id))
        })
    }

    fn offer(&self, kind: &'static str, name: &str) -> String {
        let (other, here, there) = match kind {
            "tag" => ("branch", &self.tags, &self.branches),
            _ => ("tag", &self.branches, &self.tags),
        };
        if there.get(name).is_some() {
            return format!("; it is a {other}");
        }
        let close = alike(name, here.keys(), 3);
        if !close.is_empty() {
            let close: Vec<String> = close
                .iter()
                .map(|name| format!("`{}`", printable(name)))
                .collect();
            return format!("; did you mean {}?", close.join(" or "));
        }
        let what = if kind == "tag" { "tags" } else { "branches" };
        list_of(what, here.len(), here.keys())
    }

    fn versions_offer(&self, range: &VersionRange) -> String {
        let mut versions: Vec<_> = self.versions().collect();
        if versions.is_empty() {
            return "; none of its tags is a version".to_owned();
        }
        versions.sort_by(|a, b| (&b.0, b.1).cmp(&(&a.0, a.1)));
        let text = list_of(
            "versions",
            versions.len(),
            versions.iter().map(|(_, name, _)| *name),
        );
        let released = |version: &Version| Version {
            pre: semver::Prerelease::EMPTY,
            ..version.clone()
        };
        match versions
            .iter()
            .find(|(version, ..)| !version.pre.is_empty() && range.contains(&released(version)))
        {
            Some((version, ..)) => {
                format!(
                    "{text}; pre-releases count only if the range names one, as in `>={version}`"
                )
            }
            None => text,
        }
    }
}

/// Parses a version range, in the same language as for charts and artifacts, and as in Flux.
pub(crate) fn parse_range(range: &str) -> Result<VersionRange, SourceError> {
    range
        .parse::<VersionRange>()
        .map_err(|error| SourceError::Range {
            range: crate::error::one_line(range),
            reason: error.reason().to_owned(),
        })
}

/// Parses a full commit id.
pub(crate) fn parse_commit(commit: &str) -> Result<ObjectId, SourceError> {
    let error = || SourceError::CommitId {
        commit: crate::error::one_line(commit),
    };
    if commit.len() != 40 {
        return Err(error());
    }
    ObjectId::from_hex(commit.as_bytes()).map_err(|_| error())
}

/// Returns text such as `; its branches are a, b and 3 more`, or text that says there are none.
pub(crate) fn list<'a>(what: &str, names: impl ExactSizeIterator<Item = &'a String>) -> String {
    list_of(what, names.len(), names.map(String::as_str))
}

fn list_of<'a>(what: &str, count: usize, names: impl Iterator<Item = &'a str>) -> String {
    if count == 0 {
        return format!("; it has no {what}");
    }
    let shown: Vec<String> = names
        .take(OFFERED)
        .map(|name| format!("`{}`", printable(name)))
        .collect();
    let more = match count.saturating_sub(OFFERED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; its {what} are {}{more}", shown.join(", "))
}

fn printable(name: &str) -> String {
    crate::error::one_line(name)
}

/// Returns the name that is most similar to another one, if any is similar.
pub(crate) fn closest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    alike(name, names.iter().map(String::as_str), 1).pop()
}

/// Returns the names that are most similar to another one, the best first.
fn alike<'a>(name: &str, names: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    similar::get_close_matches(name, &comparable(name, names), most, 0.6)
}

/// Selects the names that another one is compared with, so that the comparison takes little time whoever chose the names and
/// whatever they are.
fn comparable<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    if name.len() > COMPARABLE {
        return Vec::new();
    }
    names
        .filter(|other| other.len() <= COMPARABLE)
        .take(COMPARED)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[byte; 20])
    }

    fn refs(branches: &[&str], tags: &[&str]) -> Refs {
        let map = |names: &[&str]| -> Names {
            names
                .iter()
                .zip((1..=u8::MAX).cycle())
                .map(|(name, byte)| ((*name).to_owned(), id(byte)))
                .collect()
        };
        let default = branches.first().map(|name| Head {
            branch: Some((*name).to_owned()),
            commit: id(1),
        });
        Refs {
            default,
            branches: map(branches),
            tags: map(tags),
            annotated: Vec::new(),
        }
    }

    fn picked(tags: &[&str], range: &str) -> String {
        match refs(&["main"], tags).tip("URL", &Reference::Semver(range.into())) {
            Ok(tip) => tip.name,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_highest_version_in_the_range() {
        let tags = [
            "v1.0.0",
            "1.2.0",
            "v1.10.0",
            "v2.0.0-rc.1",
            "latest",
            "v1.2",
            "v2.0.0",
        ];
        assert_eq!(picked(&tags, "^1"), "v1.10.0");
        assert_eq!(picked(&tags, "~1.2"), "1.2.0");
        assert_eq!(picked(&tags, "*"), "v2.0.0");
        assert_eq!(picked(&tags, ">=1.0.0, <1.10.0"), "1.2.0");
        assert_eq!(picked(&tags, "=1.0.0"), "v1.0.0");
        assert_eq!(
            picked(&["v2.0.0-rc.1", "v2.0.0-rc.2", "v1.0.0"], ">=2.0.0-rc.1"),
            "v2.0.0-rc.2"
        );
        assert_eq!(
            picked(&["v2.0.0-rc.2", "v1.0.0"], ">=1"),
            "v1.0.0",
            "pre-releases only if named"
        );
        assert_eq!(
            picked(&["v1.0.0", "1.0.0"], "^1"),
            "v1.0.0",
            "one answer, whatever the order"
        );
    }

    /// What the same text means in Flux, for its `GitRepository`, and here for charts and artifacts.
    #[test]
    fn ranges_mean_what_they_mean_elsewhere() {
        let tags = [
            "1.4.1",
            "v1.4.2",
            "v1.4.3",
            "1.5.0",
            "2.0.0",
            "v2.1.0-beta.1",
            "2.1.0-rc.1",
            "3.0.0",
            "1.4",
        ];
        for (range, tag) in [
            ("1.4.2", "v1.4.2"),
            ("=1.4.2", "v1.4.2"),
            ("1.4", "v1.4.3"),
            ("1.4.x", "v1.4.3"),
            ("~1.4.1", "v1.4.3"),
            ("^1.4", "1.5.0"),
            ("1", "1.5.0"),
            ("*", "3.0.0"),
            (">=1.4.0 <1.5.0", "v1.4.3"),
            (">=1.4.0, <2.0.0", "1.5.0"),
            (">= 1.4 < 2", "1.5.0"),
            ("1.4.0 - 1.4.2", "v1.4.2"),
            ("1.4.1 || 1.5.0", "1.5.0"),
            ("^1 || ^2, <2.0.1", "2.0.0"),
            ("!=3.0.0", "2.0.0"),
            (">=2.0.0-0 <3.0.0-0", "2.1.0-rc.1"),
            ("2.1.0-beta.1", "v2.1.0-beta.1"),
        ] {
            assert_eq!(picked(&tags, range), tag, "`{range}`");
        }
        let none = picked(&tags, "1.4.9");
        assert!(
            none.starts_with("URL has no tag in the version range `1.4.9`"),
            "{none}"
        );
        assert_eq!(picked(&["1.0.0", "1.1.0-rc.1"], ">=1.0.0-0"), "1.1.0-rc.1");
    }

    #[test]
    fn a_range_without_a_tag_says_what_there_is() {
        insta::assert_snapshot!(picked(&["v1.0.0", "v1.1.0"], "^2"), @"URL has no tag in the version range `^2`; its versions are `v1.1.0`, `v1.0.0`");
        insta::assert_snapshot!(picked(&["v2.0.0-rc.1"], "^2"), @"URL has no tag in the version range `^2`; its versions are `v2.0.0-rc.1`; pre-releases count only if the range names one, as in `>=2.0.0-rc.1`");
        insta::assert_snapshot!(picked(&["nightly"], "^2"), @"URL has no tag in the version range `^2`; none of its tags is a version");
        insta::assert_snapshot!(picked(&[], ">=1.0.0 two"), @"`>=1.0.0 two` is not a version range: `two` is not a version; expected one such as `>=1.2.0, <2.0.0`");
    }

    #[test]
    fn what_is_missing_is_told_with_what_there_is() {
        let refs = refs(&["main", "develop", "a", "b", "c", "d", "e"], &["v1"]);
        let missing = |reference| refs.tip("URL", &reference).unwrap_err().to_string();
        insta::assert_snapshot!(missing(Reference::Branch("mian".into())), @"URL has no branch `mian`; did you mean `main`?");
        insta::assert_snapshot!(missing(Reference::Branch("v1".into())), @"URL has no branch `v1`; it is a tag");
        insta::assert_snapshot!(missing(Reference::Branch("production".into())), @"URL has no branch `production`; its branches are `a`, `b`, `c`, `d`, `develop` and 2 more");
        insta::assert_snapshot!(missing(Reference::Tag("release".into())), @"URL has no tag `release`; its tags are `v1`");
        insta::assert_snapshot!(missing(Reference::Commit("1a2b3c".into())), @"`1a2b3c` is not a commit id: expected all of its 40 hexadecimal digits, as a shorter one may come to mean another commit");
    }

    #[test]
    fn what_means_nothing_is_found_out_without_a_message() {
        let refs = refs(&["main"], &["v1.0.0"]);
        let found = |reference| refs.find(&reference).map(|tip| tip.map(|tip| tip.name));
        assert_eq!(
            found(Reference::Tag("v1.0.0".into())),
            Ok(Some("v1.0.0".to_owned()))
        );
        assert_eq!(found(Reference::Tag("v1.0.1".into())), Ok(None));
        assert_eq!(found(Reference::Semver("^2".into())), Ok(None));
        assert!(matches!(
            found(Reference::Semver("two".into())),
            Err(SourceError::Range { .. })
        ));
    }

    #[test]
    fn long_names_are_compared_with_nothing() {
        let shuffled = |seed: u64| -> String {
            let mut state = seed;
            let next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from(b'0' + u8::try_from(state >> 61).unwrap())
            };
            std::iter::repeat_with(next).take(16_000).collect()
        };
        let long: Vec<String> = (0..1000).map(shuffled).collect();
        let mut tags: Vec<&str> = long.iter().map(String::as_str).collect();
        let missing = |tags: &[&str], name: String| {
            let error = refs(&["main"], tags).tip("URL", &Reference::Tag(name));
            error.unwrap_err().to_string()
        };
        let mut other = long[0].clone();
        other.push('x');
        let said = missing(&tags, other.clone());
        assert!(!said.contains("did you mean"), "{said:.200}");
        // Nor do they get in the way of a short one.
        tags.push("v1.0.0");
        let said = missing(&tags, "v1.0.1".to_owned());
        assert!(said.ends_with("; did you mean `v1.0.0`?"), "{said:.200}");

        assert!(comparable(&other, tags.iter().copied()).is_empty());
        assert_eq!(comparable("v1.0.1", tags.iter().copied()), ["v1.0.0"]);
        let many = std::iter::repeat_n("a", 2 * COMPARED);
        assert_eq!(comparable("a", many).len(), COMPARED);
        let folders = [long[0].clone()];
        assert_eq!(closest(&other, &folders), None);
    }

    #[test]
    fn an_annotated_tag_is_asked_for_by_its_own_id() {
        let refs = Refs {
            annotated: vec![(id(2), id(9))],
            ..refs(&["main"], &["v1.0.0", "v1.1.0"])
        };
        assert_eq!(refs.tips(), [id(1), id(2)]);
        assert_eq!(refs.heads(), HashSet::from([id(1)]));
        assert_eq!(refs.listed(&refs.tips()), [id(1), id(9)]);
        assert_eq!(refs.listed(&[id(2), id(2), id(7)]), [id(7), id(9)]);
        assert!(refs.is_tip(&id(2)) && !refs.is_tip(&id(9)));
    }

    #[test]
    fn whatever_is_another_has_another_digest() {
        let all = || refs(&["main", "a"], &["v1.0.0", "v1.1.0"]);
        let mut others = [(); 3].map(|()| all());
        others[0].default = None;
        others[1].annotated.push((id(2), id(9)));
        let more = [
            Refs::default(),
            refs(&["main", "b"], &["v1.0.0", "v1.1.0"]),
            refs(&["main", "a"], &["v1.0.0"]),
            refs(&["main"], &["a", "v1.0.0", "v1.1.0"]),
        ];
        let of_all = others.iter().chain(&more).map(|refs| refs.digest().hex());
        let digests: HashSet<String> = of_all.collect();
        assert_eq!(digests.len(), others.len() + more.len());
        assert!(digests.contains(&all().digest().hex()));
    }

    #[test]
    fn an_empty_repository_and_one_without_a_default() {
        let error = Refs::default()
            .tip("URL", &Reference::Branch("main".into()))
            .unwrap_err();
        insta::assert_snapshot!(error, @"URL has no commits yet: push one");
        let headless = Refs {
            default: None,
            ..refs(&["main"], &[])
        };
        insta::assert_snapshot!(headless.tip("URL", &Reference::Default).unwrap_err(), @"URL has no default branch: name a branch in the source; its branches are `main`");
    }

    proptest! {
        #[test]
        fn the_pick_is_in_the_range_and_nothing_in_it_is_higher(
            versions in prop::collection::vec((0u64..4, 0u64..4, 0u64..4), 0..20),
            low in 0u64..4,
        ) {
            let tags: Vec<String> = versions.iter().map(|(a, b, c)| format!("v{a}.{b}.{c}")).collect();
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let refs = refs(&["main"], &tags);
            let best = versions.iter().filter(|version| version.0 >= low).max();
            let tip = refs.tip("URL", &Reference::Semver(format!(">={low}.0.0")));
            prop_assert_eq!(tip.ok().map(|tip| tip.name), best.map(|(a, b, c)| format!("v{a}.{b}.{c}")));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,50}") {
            let refs = refs(&["main"], &["v1.0.0"]);
            for reference in [Reference::Branch(text.clone()), Reference::Tag(text.clone()), Reference::Semver(text.clone()), Reference::Commit(text)] {
                let _ = refs.tip("URL", &reference);
            }
        }
    }
}
