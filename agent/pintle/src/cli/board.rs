//! The objects of one rollout as a table: what was done to each, and its state.

use std::collections::BTreeMap;

use owo_colors::OwoColorize as _;
use pintle_cluster::Unsettled;
use pintle_core::{health::Status, object::ObjectId, plan::Action};

/// The state of an object, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It is written, and nothing is known of its health.
    Written,
    /// It is not healthy.
    Unsettled { status: Status, message: String },
    /// It was not healthy, and is now.
    Healthy,
    /// It could not be written.
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    change: &'static str,
    state: State,
    why: Vec<String>,
}

/// All objects that anything was reported about, in the order of their first reports.
#[derive(Debug, Default)]
pub(crate) struct Board {
    order: Vec<ObjectId>,
    rows: BTreeMap<ObjectId, Row>,
}

/// News about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It is not healthy, or for another reason than before.
    Unsettled(Unsettled),
    /// It was not healthy, and is now.
    Healthy(ObjectId),
}

impl Board {
    /// Records what was done to an object.
    pub(crate) fn done(&mut self, id: &ObjectId, action: Action) {
        if let Some(word) = word(action) {
            self.row(id).change = word;
        }
    }

    /// Records what could not be done.
    pub(crate) fn failed(&mut self, id: &ObjectId, reason: &str) {
        self.row(id).state = State::Failed(reason.to_owned());
    }

    /// Records the objects that are not healthy. All others are. Returns what is new.
    pub(crate) fn unsettled(&mut self, unsettled: &[Unsettled]) -> Vec<News> {
        let mut news = Vec::new();
        for object in unsettled {
            let state = State::Unsettled {
                status: object.assessment.status,
                message: object.assessment.message.clone(),
            };
            let why = explanation_lines(object);
            let row = self.row(&object.id);
            if row.state != state || row.why != why {
                (row.state, row.why) = (state, why);
                news.push(News::Unsettled(object.clone()));
            }
        }
        let now_healthy = self.order.iter().filter(|id| {
            let was = matches!(self.rows[*id].state, State::Unsettled { .. });
            was && !unsettled.iter().any(|object| object.id == **id)
        });
        for id in now_healthy.cloned().collect::<Vec<_>>() {
            let row = self.row(&id);
            row.state = State::Healthy;
            row.why.clear();
            news.push(News::Healthy(id));
        }
        news
    }

    /// Records that all objects are healthy, including those that were written and never waited for.
    pub(crate) fn all_healthy(&mut self) {
        for row in self.rows.values_mut().filter(|row| row.change != "deleted") {
            row.state = State::Healthy;
            row.why.clear();
        }
    }

    fn row(&mut self, id: &ObjectId) -> &mut Row {
        if !self.rows.contains_key(id) {
            self.order.push(id.clone());
        }
        self.rows.entry(id.clone()).or_insert(Row {
            change: "",
            state: State::Written,
            why: Vec::new(),
        })
    }

    /// Draws the table in at most `height` lines. Failed objects come first, then those that are progressing, then all others.
    pub(crate) fn lines(&self, height: usize, with_reasons: bool) -> Vec<String> {
        let mut rows: Vec<(&ObjectId, &Row)> =
            self.order.iter().map(|id| (id, &self.rows[id])).collect();
        rows.sort_by_key(|(_, row)| rank(&row.state));
        let names: Vec<String> = rows.iter().map(|(id, _)| id.to_string()).collect();
        let width = names.iter().map(|name| name.chars().count()).max();
        let width = width.unwrap_or_default();
        let mut lines = Vec::new();
        for (at, ((_, row), name)) in rows.iter().zip(&names).enumerate() {
            let left = height.saturating_sub(lines.len());
            if left == 0 || (left == 1 && at + 1 < rows.len()) {
                lines.push(rest(&rows[at..]));
                break;
            }
            let (mark, status, message) = describe(&row.state, row.change == "deleted");
            let change = format!("{:<8}", row.change);
            let text = format!("{mark} {name:<width$}  {change}  {status}  {message}");
            lines.push(text.trim_end().to_owned());
            let room = left.saturating_sub(2);
            let why = row.why.iter().take(if with_reasons { room } else { 0 });
            lines.extend(why.map(|line| format!("    {}", line.dimmed())));
        }
        lines
    }
}

/// Describes how many objects there is no room for.
fn rest(rows: &[(&ObjectId, &Row)]) -> String {
    let unhealthy = rows.iter().filter(|(_, row)| rank(&row.state) < 2).count();
    let of_them = match unhealthy {
        0 => String::new(),
        unhealthy => format!(", {unhealthy} of them not healthy"),
    };
    format!("  … and {} more{of_them}", rows.len())
}

const fn rank(state: &State) -> u8 {
    match state {
        State::Failed(_)
        | State::Unsettled {
            status: Status::Degraded,
            ..
        } => 0,
        State::Unsettled { .. } => 1,
        State::Written | State::Healthy => 2,
    }
}

fn describe(state: &State, is_deletion: bool) -> (String, String, &str) {
    match state {
        State::Written if is_deletion => ("✓".green().to_string(), String::new(), ""),
        State::Written => ("·".dimmed().to_string(), String::new(), ""),
        State::Healthy => ("✓".green().to_string(), "healthy".green().to_string(), ""),
        State::Failed(reason) => (
            "✗".red().to_string(),
            format!("{:<11}", "failed").red().to_string(),
            reason,
        ),
        State::Unsettled { status, message } => {
            let name = format!("{:<11}", status.name());
            match status {
                Status::Degraded => ("✗".red().to_string(), name.red().to_string(), message),
                _ => ("◌".yellow().to_string(), name.yellow().to_string(), message),
            }
        }
    }
}

/// Returns a word for what was done, or `None` if nothing was.
pub(crate) const fn word(action: Action) -> Option<&'static str> {
    match action {
        Action::Create => Some("created"),
        Action::Update => Some("updated"),
        Action::Replace => Some("replaced"),
        Action::Delete => Some("deleted"),
        Action::Keep | Action::Unchanged => None,
    }
}

/// Returns what is known about why an object is not ready.
pub(crate) fn explanation_lines(object: &Unsettled) -> Vec<String> {
    let text = object.explanation.as_ref().map(ToString::to_string);
    let lines = text.iter().flat_map(|text| text.lines());
    lines.map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pintle_core::{explanation::Explanation, health::Assessment};

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    fn unsettled(name: &str, status: Status, cause: Option<&str>) -> Unsettled {
        let explanation = cause.map(|cause| Explanation {
            pod: Some(format!("{name}-1")),
            cause: Some(cause.to_owned()),
            ..Explanation::default()
        });
        Unsettled {
            id: id("Pod", name),
            assessment: Assessment::new(status, "0 of 1 replicas are available"),
            explanation: explanation.map(Box::new),
        }
    }

    fn drawn(board: &Board, height: usize) -> String {
        let lines = board.lines(height, true).join("\n");
        console::strip_ansi_codes(&lines).into_owned()
    }

    #[test]
    fn what_fails_is_on_top_with_its_reason() {
        let mut board = Board::default();
        board.done(&id("ConfigMap", "settings"), Action::Create);
        board.done(&id("Pod", "web"), Action::Update);
        board.done(&id("Service", "old"), Action::Delete);
        let _ = board.unsettled(&[
            unsettled("db", Status::Progressing, None),
            unsettled("web", Status::Degraded, Some("main waits: ErrImagePull")),
        ]);
        insta::assert_snapshot!(drawn(&board, 20), @r"
        ✗ Pod shop/web             updated   degraded     0 of 1 replicas are available
            Pod web-1: main waits: ErrImagePull
        ◌ Pod shop/db                        progressing  0 of 1 replicas are available
        · ConfigMap shop/settings  created
        ✓ Service shop/old         deleted
        ");
        insta::assert_snapshot!(drawn(&board, 3), @r"
        ✗ Pod shop/web             updated   degraded     0 of 1 replicas are available
            Pod web-1: main waits: ErrImagePull
          … and 3 more, 1 of them not healthy
        ");
        board.all_healthy();
        insta::assert_snapshot!(drawn(&board, 20), @r"
        ✓ ConfigMap shop/settings  created   healthy
        ✓ Pod shop/web             updated   healthy
        ✓ Service shop/old         deleted
        ✓ Pod shop/db                        healthy
        ");
    }

    #[test]
    fn each_thing_is_news_once() {
        let mut board = Board::default();
        let one = unsettled("web", Status::Progressing, None);
        let why = unsettled("web", Status::Progressing, Some("main waits: ErrImagePull"));
        assert_eq!(board.unsettled(std::slice::from_ref(&one)).len(), 1);
        assert_eq!(board.unsettled(std::slice::from_ref(&one)), []);
        let news = board.unsettled(std::slice::from_ref(&why));
        assert_eq!(news, [News::Unsettled(why)]);
        assert_eq!(board.unsettled(&[]), [News::Healthy(id("Pod", "web"))]);
        assert_eq!(board.unsettled(&[]), []);
    }
}
