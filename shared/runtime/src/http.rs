//! The HTTP edge that every service has: errors as problems, bodies within bounds, health, metrics, documents.

mod amount;
mod body;
mod caller;
mod edge;
mod operations;
mod prefer;
mod problem;
mod server;
mod yaml;

pub use amount::JsonAmount;
pub use body::{BODY_LIMIT, JsonBody, OptionalJsonBody};
pub use caller::{Caller, Role};
pub use edge::{CORRELATION_ID, edge};
pub use operations::Operations;
pub use prefer::Wait;
pub use problem::{FieldError, Fields, Problem, Refusal};
pub use server::{HttpServer, Stopping};
