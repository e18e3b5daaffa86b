//! What every service is made of: the shape of a saga, the actors that carry it, the ports to the event log, the
//! database and the clock, and the HTTP edge.

pub mod acknowledgements;
pub mod actors;
pub mod audit;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod dashboard;
pub mod database;
pub mod dead_letters;
pub mod event_log;
pub mod health;
pub mod http;
pub mod program;
pub mod saga;
pub mod store;
pub mod trace;

/// A batch of rows is thousands of small allocations; with glibc's allocator they were a quarter of the CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
