//! What notifiers over HTTP have in common: which events they deliver, headers and placeholders for secrets in their
//! settings, and what a response means for the delivery.

mod answer;
mod filter;
mod header;
mod placeholder;
mod time;

pub use answer::{deliver, deliver_or, retry_after_ms};
pub use filter::wants;
pub use header::check_header_name;
pub use placeholder::{check_placeholders, check_secret_name};
pub use time::rfc3339;
