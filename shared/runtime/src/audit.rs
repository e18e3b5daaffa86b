//! Who did what, when and why: one entry for every action of a person that changes something.
//!
//! An entry is written in the transaction of the change itself, so that neither is there without the other:
//!
//! ```ignore
//! let entry = Entry { subject: format!("stock/{product}"), action: "stock.adjust", detail: json!({"delta": -3}), reason };
//! audit::record(&transaction, &caller, clock.now(), entry).await?;
//! ```
//!
//! What goes through a saga is committed with many others by the journal, which knows no callers; there the entry comes
//! first, by [`record_first`].

pub mod store;

pub use store::{Entry, record, record_first};
