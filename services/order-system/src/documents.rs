//! The OpenAPI documents: those that the services really serve.

use crate::System;
use crate::config::RunSettings;
use anyhow::{Context, Result};
use runtime::program::Stop;

/// The names of the documents, in the order of the services.
pub const NAMES: [&str; 4] = ["order.yaml", "payment.yaml", "inventory.yaml", "notification.yaml"];

/// Starts a system for the moment, and asks each service for its document.
pub async fn documents(stop: &Stop) -> Result<Vec<(&'static str, String)>> {
    let directory = tempfile::tempdir().context("a directory for the moment")?;
    let system = System::start(&RunSettings::embedded(directory.path().to_owned()), None, stop).await?;
    let mut documents = Vec::new();
    for (name, url) in NAMES.into_iter().zip(system.urls()) {
        let document = reqwest::get(format!("{url}/openapi.yaml")).await?.error_for_status()?.text().await?;
        documents.push((name, document));
    }
    system.stop().await;
    Ok(documents)
}
