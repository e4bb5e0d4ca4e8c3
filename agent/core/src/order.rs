//! The order in which objects are written and deleted.
//!
//! Annotations give an object a wave and name its dependencies. What an object cannot do without is found in the object itself.
//! Where neither says anything, the kinds have an order. See `docs/reference/order.md`.

mod graph;
mod links;
mod schedule;
mod tier;

pub use self::{
    graph::{Item, Order, OrderError, Why},
    links::{LinkError, Links, Reference},
    schedule::{Schedule, Task, Usable},
    tier::Tier,
};

#[cfg(test)]
mod tests;
