//! What can be done now in an order.

use std::collections::BTreeSet;

use super::{Order, graph::On};
use crate::object::ObjectId;

/// A task for one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Write it or delete it.
    Write(usize),
    /// Wait until it is healthy or gone.
    Await(usize),
}

/// When an object can be used by those that come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    /// When it is healthy or gone, which is awaited.
    Settled,
    /// As soon as it is written, with no wait.
    Written,
}

/// The execution of an order: hands out each task as soon as it can be done.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    order: &'a Order,
    blocked_by: Vec<usize>,
    is_written: Vec<bool>,
    /// Whether anything that comes after is written.
    matters: Vec<bool>,
    ready: Vec<Task>,
}

impl<'a> Schedule<'a> {
    /// Schedules the objects that have to be written. The others count as written. They are awaited if an object to be written
    /// comes after them, unless they are usable at once.
    pub fn new(order: &'a Order, writes: &BTreeSet<&ObjectId>, usable: Usable) -> Self {
        let is_write =
            |node: &super::graph::Node| node.object.as_ref().is_some_and(|id| writes.contains(id));
        let to_write: Vec<bool> = order.nodes.iter().map(is_write).collect();
        let mut schedule = Self {
            blocked_by: order.nodes.iter().map(|node| node.blocked_by).collect(),
            is_written: to_write.iter().map(|is_write| !is_write).collect(),
            matters: match usable {
                Usable::Settled => matters(order, &to_write),
                Usable::Written => vec![false; order.nodes.len()],
            },
            ready: Vec::new(),
            order,
        };
        let free = schedule.blocked_by.iter().enumerate();
        let free: Vec<usize> = free
            .filter(|(_, blocked)| **blocked == 0)
            .map(|(index, _)| index)
            .collect();
        for index in free {
            schedule.begin(index);
        }
        schedule
    }

    /// Returns the tasks that can be done now and have not been handed out before.
    pub fn take(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.ready)
    }

    /// Returns the object of a task.
    ///
    /// # Panics
    ///
    /// Panics only if the task belongs to another order.
    pub fn object(&self, task: Task) -> &'a ObjectId {
        let (Task::Write(index) | Task::Await(index)) = task;
        let object = self.order.nodes[index].object.as_ref();
        object.expect("tasks are made for objects only")
    }

    /// Records that a task is done.
    pub fn done(&mut self, task: Task) {
        match task {
            Task::Write(index) => {
                self.is_written[index] = true;
                self.written(index);
            }
            Task::Await(index) => self.release(index, On::Settled),
        }
    }

    /// Starts an object that nothing blocks any more.
    fn begin(&mut self, index: usize) {
        if self.is_written[index] {
            self.written(index);
        } else {
            self.ready.push(Task::Write(index));
        }
    }

    fn written(&mut self, index: usize) {
        let mut reached = vec![index];
        // Iterative rather than recursive: a chain of objects that are not written may include all objects.
        while let Some(index) = reached.pop() {
            let node = &self.order.nodes[index];
            let is_awaited = node.object.is_some()
                && node
                    .unblocks
                    .iter()
                    .any(|(to, on)| *on == On::Settled && self.matters[*to]);
            if is_awaited {
                self.ready.push(Task::Await(index));
            }
            for (to, on) in &node.unblocks {
                if *on == On::Written || !is_awaited {
                    self.unblock(*to, &mut reached);
                }
            }
        }
    }

    fn release(&mut self, index: usize, of: On) {
        let mut reached = Vec::new();
        for (to, on) in &self.order.nodes[index].unblocks {
            if *on == of {
                self.unblock(*to, &mut reached);
            }
        }
        for index in reached {
            self.written(index);
        }
    }

    fn unblock(&mut self, index: usize, reached: &mut Vec<usize>) {
        self.blocked_by[index] -= 1;
        if self.blocked_by[index] > 0 {
            return;
        }
        if self.is_written[index] {
            reached.push(index);
        } else {
            self.ready.push(Task::Write(index));
        }
    }
}

/// Returns, for each node, whether it or anything after it has to be written.
fn matters(order: &Order, writes: &[bool]) -> Vec<bool> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); order.nodes.len()];
    for (from, node) in order.nodes.iter().enumerate() {
        for (to, _) in &node.unblocks {
            before[*to].push(from);
        }
    }
    let mut matters = writes.to_vec();
    let mut open: Vec<usize> = (0..writes.len()).filter(|index| writes[*index]).collect();
    while let Some(index) = open.pop() {
        for from in &before[index] {
            if !std::mem::replace(&mut matters[*from], true) {
                open.push(*from);
            }
        }
    }
    matters
}
