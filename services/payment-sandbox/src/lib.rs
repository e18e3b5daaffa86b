//! A payment provider to try things out on: it keeps books of its own, which can be compared with those of the
//! services, and it goes wrong on demand.
//!
//! The rules of the books are in [`ledger`], pure; [`faults`] is what goes wrong, [`store`] how the books are stored,
//! and [`api`] what is there over HTTP.

pub mod api;
pub mod config;
pub mod faults;
pub mod ledger;
pub mod store;

use api::Api;
use config::Settings;
use faults::Faults;
use metrics_exporter_prometheus::PrometheusHandle;
use migrations::SandboxMigrator;
use poem_openapi::OpenApiService;
use runtime::actors::address::Address;
use runtime::actors::group_commit::{GroupCommit, Request};
use runtime::actors::supervisor::Tree;
use runtime::clock::SystemClock;
use runtime::config::BadSetting;
use runtime::database::DatabaseSettings;
use runtime::health::{Health, Part};
use runtime::http::{Operations, StandIn, bare_edge};
use runtime::program::{Running, Starting, Stop, open_database};
use std::sync::Arc;
use store::Ledger;

const SERVICE: &str = "payment-sandbox";

/// Starts the sandbox.
pub fn start<'a>(settings: &'a Settings, metrics: Option<PrometheusHandle>, stop: &'a Stop) -> Starting<'a> {
    Box::pin(async move {
        let terms = settings.terms()?;
        let access = Arc::new(settings.common.access.access()?);
        if !access.is_open() {
            return Err(BadSetting::new("AUTH", "can only be `off`: payment-sandbox asks nobody for a name").into());
        }
        let listener = settings.common.listen(settings.http_port)?;
        if let Some(directory) = settings.ledger.parent() {
            let bad = |error| BadSetting::new("--ledger", format!("{}: {error}", directory.display()));
            std::fs::create_dir_all(directory).map_err(bad)?;
        }
        let file = DatabaseSettings::Sqlite(settings.ledger.clone());
        let stand_in = StandIn::on(&listener)?;
        let database = open_database::<SandboxMigrator>("--ledger", &file, &stand_in, stop).await?;
        drop(stand_in);
        let ledger = Arc::new(Ledger { database: database.clone(), terms, clock: Arc::new(SystemClock) });
        let health = Arc::new(Health::starting(SERVICE, true));
        // It reads no event log, so there is none to wait for.
        health.set(Part::EventLog, Ok(()));
        let writer = Address::<Request<Ledger>>::of(SERVICE, "ledger");
        let routes = (
            Api::new(Arc::clone(&ledger), writer.clone(), Faults::new(settings.seed)),
            Operations { health: Arc::clone(&health), metrics },
        );
        let api = OpenApiService::new(routes, SERVICE, env!("CARGO_PKG_VERSION")).description(
            "A payment provider to try things out on: it keeps books, moves no money, and fails on demand.",
        );
        let app = bare_edge(SERVICE, api, access, poem::Route::new());
        let address = writer.clone();
        let children = vec![writer.child(move || GroupCommit::at(&address, Arc::clone(&ledger)))];
        let tree = Tree { service: SERVICE, children, health, roster: Arc::default() };
        Running::start(database, listener, app, tree).await
    })
}
