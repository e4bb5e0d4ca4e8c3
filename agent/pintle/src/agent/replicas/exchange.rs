//! Questions between replicas: which application claims objects that are about to be deleted, or that another application has.
//!
//! A question is written into the asking replica's own Lease, and an answer into the answering replica's. Each is one request,
//! with everything that there is to say at that moment. Settled questions and answers are removed with the next renewal.

use std::collections::{BTreeMap, BTreeSet};

use pintle_core::sharding::{ReplicaId, ShardSet};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Task, Told,
    leases::{Answers, Notes, Questions, text},
};
use crate::agent::claims::{Answer, Ask, Asked, Question};

/// The maximum length of questions and answers together. All annotations of an object may have 256 KiB. A Lease with more is
/// refused, and with it the renewal. <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>
const ROOM: usize = 128 * 1024;

/// The open questions, and the answers that were given.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    newest: u64,
    open: BTreeMap<u64, Open>,
    /// Others' questions that are being answered. Dropping an entry means that its question is no longer asked.
    pending: BTreeMap<(ReplicaId, u64), DropGuard>,
    /// Answers that the replicas that asked may not have read yet.
    answers: BTreeMap<(ReplicaId, u64), Answer>,
}

/// One of this replica's questions.
#[derive(Debug)]
struct Open {
    ask: Ask,
    answers: BTreeMap<ReplicaId, Answer>,
}

impl Exchange {
    /// Takes up a question. `now` makes its number later than those of an earlier process of the same name.
    fn ask(&mut self, ask: Ask, now: u64) {
        self.newest = now.max(self.newest + 1);
        let answers = BTreeMap::new();
        self.open.insert(self.newest, Open { ask, answers });
    }

    /// Takes up the notes in another replica's Lease. Returns its new questions.
    fn see(&mut self, me: &ReplicaId, replica: &ReplicaId, notes: &Notes) -> Questions {
        let asked: BTreeSet<u64> = notes.questions.iter().map(|(number, _)| *number).collect();
        let is_open = |(who, number): &(ReplicaId, u64)| who != replica || asked.contains(number);
        self.pending.retain(|key, _| is_open(key));
        self.answers.retain(|key, _| is_open(key));
        for (to, number, answer) in &notes.answers {
            if to == me
                && let Some(open) = self.open.get_mut(number)
            {
                open.answers.insert(replica.clone(), answer.clone());
            }
        }
        let is_new = |(number, _): &&(u64, Question)| {
            let key = (replica.clone(), *number);
            !self.pending.contains_key(&key) && !self.answers.contains_key(&key)
        };
        notes.questions.iter().filter(is_new).cloned().collect()
    }

    /// Waits for the answer to a question that was passed on. Returns `None` if there is none, or if the question is no longer
    /// asked. In the second case, whoever is about to answer it is notified that nobody waits.
    fn wait_for(
        &mut self,
        key: (ReplicaId, u64),
        answer: oneshot::Receiver<Answer>,
    ) -> impl Future<Output = Option<Answer>> + Send + use<> {
        let given_up = CancellationToken::new();
        self.pending.insert(key, given_up.clone().drop_guard());
        async move {
            tokio::select! {
                answer = answer => answer.ok(),
                () = given_up.cancelled() => None,
            }
        }
    }

    /// Delivers the answers that are complete, or to which no remaining replica could add anything.
    fn settle(&mut self, members: &BTreeSet<&ReplicaId>) {
        let is_over = |open: &Open| {
            let answered = open.answers.values().map(|answer| answer.shards);
            let is_complete = answered.fold(open.ask.own, ShardSet::or) == ShardSet::ALL;
            let all_have = members
                .iter()
                .all(|member| open.answers.contains_key(*member));
            is_complete || all_have || open.ask.reply.is_closed()
        };
        let over = self.open.iter().filter(|(_, open)| is_over(open));
        for number in over.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(open) = self.open.remove(&number) {
                // The asking side may have given up.
                let _ = open.ask.reply.send(open.answers.into_values().collect());
            }
        }
    }

    fn forget(&mut self, replica: &ReplicaId) {
        self.pending.retain(|(who, _), _| who != replica);
        self.answers.retain(|(who, _), _| who != replica);
        for open in self.open.values_mut() {
            open.answers.remove(replica);
        }
    }

    /// Returns what the own Lease has to say. Answers for which there is no room wait for a later renewal: answers that have been
    /// read by then are not written again.
    pub(super) fn notes(&mut self) -> (Questions, Answers) {
        self.open.retain(|_, open| !open.ask.reply.is_closed());
        let questions = self.open.iter();
        let questions: Questions = questions
            .map(|(number, open)| (*number, open.ask.question.clone()))
            .collect();
        let answers = self.answers.iter();
        let mut answers: Answers = answers
            .map(|((to, number), answer)| (to.clone(), *number, answer.clone()))
            .collect();
        // Numbers are times: the first to ask is the first to be answered.
        answers.sort_by_key(|(_, number, _)| *number);
        let mut length = text(&questions).len();
        let fits = |answer: &&(ReplicaId, u64, Answer)| {
            length += text(answer).len();
            length <= ROOM
        };
        // One answer always has room: the number of objects in a question is limited.
        let fitting = answers.iter().take_while(fits).count().max(1);
        answers.truncate(fitting);
        (questions, answers)
    }
}

impl Task {
    /// Asks the other replicas.
    pub(super) fn asked(&mut self, ask: Ask, now: u64) {
        self.exchange.ask(ask, now);
        self.settle_questions();
        if !self.exchange.open.is_empty() {
            self.renew_now();
        }
    }

    /// Handles the questions and answers of another replica.
    pub(super) fn look_at_notes(&mut self, replica: &ReplicaId, notes: &Notes) {
        for (number, question) in self.exchange.see(self.leases.name(), replica, notes) {
            let (reply, answer) = oneshot::channel();
            // If the channel is full, the question is seen again with the next renewal.
            if self.questions.try_send(Asked { question, reply }).is_ok() {
                let key = (replica.clone(), number);
                let answer = self.exchange.wait_for(key.clone(), answer);
                self.requests.push(Box::pin(async move {
                    let answer = answer.await;
                    Told::Answer { key, answer }
                }));
            }
        }
        self.settle_questions();
    }

    /// Answers another replica's question, if that replica still waits for the answer.
    pub(super) fn answer(&mut self, key: (ReplicaId, u64), answer: Option<Answer>) {
        if self.exchange.pending.remove(&key).is_some()
            && let Some(answer) = answer
        {
            self.exchange.answers.insert(key, answer);
            self.renew_now();
        }
    }

    /// Handles the end of another replica, which no longer asks or answers.
    pub(super) fn end_exchange(&mut self, replica: &ReplicaId) {
        self.exchange.forget(replica);
        self.settle_questions();
    }

    fn settle_questions(&mut self) {
        self.exchange.settle(&self.members.keys().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::claims::Key;
    use pintle_core::sharding::Shard;

    fn replica(name: &str) -> ReplicaId {
        ReplicaId::new(name)
    }

    fn question(by: &str) -> Question {
        Question {
            by: by.to_owned(),
            cluster: String::new(),
            objects: Vec::new(),
            source: None,
            owner: None,
        }
    }

    fn answer(shards: &str) -> Answer {
        Answer {
            shards: shards.parse().unwrap(),
            claims: BTreeMap::new(),
            knows_owner: false,
            has_owner: false,
            is_owner_beginning: false,
        }
    }

    fn ask(exchange: &mut Exchange, own: &str) -> oneshot::Receiver<Vec<Answer>> {
        let (reply, answers) = oneshot::channel();
        let own = own.parse().unwrap();
        let question = question("shop.a");
        exchange.ask(
            Ask {
                question,
                own,
                reply,
            },
            7,
        );
        answers
    }

    fn answers(number: u64, shards: &str) -> Notes {
        Notes {
            answers: vec![(replica("me"), number, answer(shards))],
            ..Notes::default()
        }
    }

    #[test]
    fn a_question_is_answered_when_all_shards_are() {
        let mut exchange = Exchange::default();
        let (me, one, two) = (replica("me"), replica("one"), replica("two"));
        let members = BTreeSet::from([&one, &two]);
        let mut waiting = ask(&mut exchange, "0-9");
        exchange.settle(&members);
        exchange.see(&me, &one, &answers(7, "10-99"));
        // An answer to a question of an earlier process of the same name.
        exchange.see(&me, &two, &answers(6, "100-127"));
        exchange.settle(&members);
        assert!(waiting.try_recv().is_err());
        exchange.see(&me, &two, &answers(7, "100-127"));
        assert_eq!(exchange.notes().0.len(), 1);
        exchange.settle(&members);
        assert_eq!(waiting.try_recv().unwrap().len(), 2);
        assert_eq!(exchange.notes().0, Vec::new());
    }

    #[test]
    fn answers_that_are_too_few_are_given_when_nobody_is_left() {
        let mut exchange = Exchange::default();
        let (me, one, two) = (replica("me"), replica("one"), replica("two"));
        let mut waiting = ask(&mut exchange, "0-9");
        exchange.see(&me, &one, &answers(7, "10-98"));
        exchange.settle(&BTreeSet::from([&one, &two]));
        assert!(waiting.try_recv().is_err());
        exchange.forget(&two);
        exchange.settle(&BTreeSet::from([&one]));
        assert_eq!(waiting.try_recv().unwrap(), [answer("10-98")]);
        // No question is asked for a caller that no longer waits.
        drop(ask(&mut exchange, ""));
        assert_eq!(exchange.notes().0, Vec::new());
    }

    #[test]
    fn each_question_is_taken_up_once_and_its_answer_kept_while_it_is_asked() {
        let mut exchange = Exchange::default();
        let (me, one) = (replica("me"), replica("one"));
        let asks = Notes {
            questions: vec![(3, question("shop.b"))],
            ..Notes::default()
        };
        assert_eq!(exchange.see(&me, &one, &asks), asks.questions);
        let (_reply, given) = oneshot::channel();
        drop(exchange.wait_for((one.clone(), 3), given));
        assert_eq!(exchange.see(&me, &one, &asks), []);
        exchange.pending.clear();
        exchange.answers.insert((one.clone(), 3), answer("1"));
        assert_eq!(exchange.see(&me, &one, &asks), []);
        assert_eq!(exchange.notes().1, [(one.clone(), 3, answer("1"))]);
        exchange.see(&me, &replica("two"), &Notes::default());
        assert_eq!(exchange.notes().1.len(), 1);
        exchange.see(&me, &one, &Notes::default());
        assert_eq!(exchange.notes().1, []);
    }

    #[tokio::test]
    async fn who_answers_hears_that_a_question_is_asked_no_more() {
        let (me, one) = (replica("me"), replica("one"));
        let asks = Notes {
            questions: vec![(3, question("shop.b"))],
            ..Notes::default()
        };
        let leaves: [fn(&mut Exchange, &ReplicaId, &ReplicaId); 2] = [
            |exchange, me, one| drop(exchange.see(me, one, &Notes::default())),
            |exchange, _, one| exchange.forget(one),
        ];
        for leave in leaves {
            let mut exchange = Exchange::default();
            let (reply, given) = oneshot::channel();
            let waiting = exchange.wait_for((one.clone(), 3), given);
            exchange.see(&me, &one, &asks);
            assert!(!reply.is_closed(), "it is asked still");
            leave(&mut exchange, &me, &one);
            assert_eq!(waiting.await, None);
            assert!(reply.is_closed());
        }
        let mut exchange = Exchange::default();
        let (reply, given) = oneshot::channel();
        let waiting = exchange.wait_for((one, 3), given);
        reply.send(answer("1")).unwrap();
        assert_eq!(waiting.await, Some(answer("1")));
    }

    #[test]
    fn answers_wait_until_there_is_room_in_the_lease() {
        let mut exchange = Exchange::default();
        let (me, label) = (replica("me"), "a".repeat(63));
        let of = |index: usize| pintle_core::object::ObjectId {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: None,
            name: index.to_string(),
        };
        let keys = (0..500).map(|index| Key::of("", &of(index)));
        let long = Answer {
            claims: keys.map(|key| (key, label.clone())).collect(),
            ..answer("0-127")
        };
        // The one whose name sorts first asks last.
        let (early, late) = (replica("b"), replica("a"));
        for number in 1..=4 {
            exchange
                .answers
                .insert((early.clone(), number), long.clone());
            exchange
                .answers
                .insert((late.clone(), number + 4), long.clone());
        }
        let written = |exchange: &mut Exchange| {
            let (questions, answers) = exchange.notes();
            let numbers: Vec<u64> = answers.iter().map(|(_, number, _)| *number).collect();
            let notes = Notes {
                questions,
                answers,
                ..Notes::default()
            };
            let lengths = notes
                .annotations()
                .map(|(name, text)| name.len() + text.len());
            assert!(lengths.sum::<usize>() < 2 * ROOM);
            numbers
        };
        assert_eq!(written(&mut exchange), [1, 2, 3]);
        let asks = |numbers: &[u64]| Notes {
            questions: numbers
                .iter()
                .map(|number| (*number, question("shop.b")))
                .collect(),
            ..Notes::default()
        };
        exchange.see(&me, &early, &asks(&[4]));
        assert_eq!(written(&mut exchange), [4, 5, 6]);
        // Its own questions take room as well, but never all of it.
        let (reply, _answers) = oneshot::channel();
        let objects = long.claims.keys().cycle().take(6000).copied().collect();
        let question = Question {
            objects,
            ..question("shop.a")
        };
        let own = ShardSet::NONE;
        let ask = Ask {
            question,
            own,
            reply,
        };
        exchange.ask(ask, 9);
        assert_eq!(written(&mut exchange), [4]);
    }

    #[test]
    fn what_is_written_is_read() {
        let of = pintle_core::names::ApplicationName::new("shop", "web");
        let mut said = answer("0-3,7");
        said.shards = said.shards.with(Shard::of(&of));
        let text = serde_json::to_string(&(question("shop.b"), &said)).unwrap();
        let read: (Question, Answer) = serde_json::from_str(&text).unwrap();
        assert_eq!(read, (question("shop.b"), said));
    }
}
