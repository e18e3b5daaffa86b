//! The HTTP edge that every service has: errors as problems, bodies within bounds, health, metrics, documents.

pub mod access;
mod amount;
mod audit;
mod body;
mod caller;
mod dashboard;
mod dead_letters;
mod edge;
mod newest;
mod operations;
mod parts;
mod prefer;
mod problem;
mod server;
mod stand_in;
mod text;
mod wish;

pub use access::Access;
pub use amount::JsonAmount;
pub use audit::AuditApi;
pub use body::{BODY_LIMIT, JsonBody, OptionalJsonBody};
pub use caller::{Caller, Role};
pub use dashboard::Dashboard;
pub use dead_letters::DeadLetterApi;
pub use edge::{CORRELATION_ID, bare_edge, edge};
pub use newest::{MOST, Page};
pub use operations::Operations;
pub use parts::PartsApi;
pub use prefer::Wait;
pub use problem::{FieldError, FieldFault, Fields, Problem, Refusal};
pub use server::{HttpServer, Stopping};
pub use stand_in::StandIn;
pub use text::{CorrelationId, Form, Text, Words};
pub use wish::wish;

use crate::actors::Wiring;
use crate::dead_letters::DeadLetters;
use crate::program::Ports;
use crate::saga::Saga;
use std::sync::Arc;

/// What every service has for those who run it: health and metrics, its parts, the audit, the dead letters.
pub fn for_operators<S: Saga>(
    wiring: &Wiring<S>,
    ports: &Ports,
    dead_letters: &Arc<DeadLetters>,
) -> (Operations, PartsApi, AuditApi, DeadLetterApi) {
    (
        Operations { health: Arc::clone(&wiring.health), metrics: ports.metrics.clone() },
        PartsApi::of(wiring, &ports.database),
        AuditApi(ports.database.clone()),
        DeadLetterApi(Arc::clone(dead_letters)),
    )
}
