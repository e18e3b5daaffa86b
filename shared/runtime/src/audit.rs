//! Who did what, when and why: one entry for every action of a person that changes something.
//!
//! An entry is written in the transaction of the change itself, so that neither is there without the other.

pub mod store;

pub use store::{Entry, record};
