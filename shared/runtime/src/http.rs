//! The HTTP edge that every service has: errors as problems, bodies within bounds, health, metrics, documents.

pub mod access;
mod amount;
mod audit;
mod body;
mod caller;
mod dead_letters;
mod edge;
mod newest;
pub mod object;
mod operations;
mod prefer;
mod problem;
mod server;

pub use access::Access;
pub use amount::JsonAmount;
pub use audit::AuditApi;
pub use body::{BODY_LIMIT, JsonBody, OptionalJsonBody};
pub use caller::{Caller, Role};
pub use dead_letters::DeadLetterApi;
pub use edge::{CORRELATION_ID, edge};
pub use newest::Page;
pub use operations::Operations;
pub use prefer::Wait;
pub use problem::{FieldError, Fields, Problem, Refusal};
pub use server::{HttpServer, Stopping};
