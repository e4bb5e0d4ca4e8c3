//! Whether the objects of an application are in sight. Objects that nobody sees are not known to be as they should be.

use pintle_cluster::{Application, Tracker, Unseen};

/// Describes which objects of an application are out of sight and why, or returns `None` if there are none.
pub(crate) fn problem(tracker: &Tracker, application: &Application) -> Option<String> {
    let spec = application.spec.as_ref().ok();
    let is_remote = spec.is_some_and(|spec| spec.cluster.is_some());
    said(tracker.unseen(&application.application_name()), is_remote)
}

/// In the cluster that has the Applications, only refusals count. While that cluster does not answer, nothing can be reported,
/// because that is where it is reported, and all applications would run only to find that out.
fn said(mut unseen: Vec<Unseen>, is_remote: bool) -> Option<String> {
    unseen.retain(|kind| is_remote || kind.is_refused);
    let first = unseen.first()?;
    let more = match unseen.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!(
        "drift and health are not seen, because objects cannot be watched: {}{more}",
        first.problem
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_home_only_what_is_refused_counts() {
        let kind = |problem: &str, is_refused| Unseen {
            problem: problem.to_owned(),
            is_refused,
        };
        let away = || vec![kind("ConfigMap of v1: no route", false)];
        assert_eq!(said(away(), false), None);
        assert_eq!(said(Vec::new(), true), None);
        insta::assert_snapshot!(said(away(), true).unwrap(), @"drift and health are not seen, because objects cannot be watched: ConfigMap of v1: no route");
        let mut both = away();
        both.push(kind("Secret of v1: 403", true));
        insta::assert_snapshot!(said(both.clone(), true).unwrap(), @"drift and health are not seen, because objects cannot be watched: ConfigMap of v1: no route, and 1 more");
        insta::assert_snapshot!(said(both, false).unwrap(), @"drift and health are not seen, because objects cannot be watched: Secret of v1: 403");
    }
}
