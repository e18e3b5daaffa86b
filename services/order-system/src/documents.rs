//! The documents: the OpenAPI of each service as it really serves it, and what the services say to each other.

use crate::config::RunSettings;
use crate::{System, asyncapi};
use anyhow::{Context, Result};
use runtime::program::Stop;

/// The names of the OpenAPI documents, in the order of the services.
pub const NAMES: [&str; 4] = ["order.yaml", "payment.yaml", "inventory.yaml", "notification.yaml"];

/// Every document, with the name of its file: those of the services, which are started for the moment and asked, the
/// one of the events, and their JSON Schemas.
pub async fn documents(stop: &Stop) -> Result<Vec<(String, String)>> {
    let directory = tempfile::tempdir().context("a directory for the moment")?;
    let system = System::start(&RunSettings::embedded(directory.path().to_owned()), None, stop).await?;
    let mut documents = Vec::new();
    for (name, url) in NAMES.into_iter().zip(system.urls()) {
        let document = reqwest::get(format!("{url}/openapi.yaml")).await?.error_for_status()?.text().await?;
        documents.push((name.to_owned(), document));
    }
    system.stop().await;
    documents.push((asyncapi::NAME.to_owned(), asyncapi::yaml()?));
    documents.extend(asyncapi::schema_files().map(|(name, schema)| (format!("events/{name}"), schema)));
    Ok(documents)
}
