//! What the tests of the whole system use: a client, a reader of its streams, the system itself, the programs on real
//! servers, a rig of one service over ports that fail, the audit of the invariants, the event log's conformance, and chaos.

pub mod amnesia;
pub mod api;
pub mod appended;
pub mod audit;
pub mod chaos;
pub mod conformance;
pub mod embedded;
pub mod events;
pub mod programs;
pub mod proxy;
pub mod rig;
pub mod schemas;
pub mod tokens;
pub mod topics;
