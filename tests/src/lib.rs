//! What the tests of the whole system use: a client, the audit of the invariants, and the event log's conformance.

pub mod api;
pub mod audit;
pub mod conformance;
pub mod rig;
pub mod topics;
