//! order-system: all four services in one process.

use anyhow::Context;
use order_system::config::{Command, RunSettings, Settings};
use order_system::{System, bench, documents};
use runtime::program::{self, Stop};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(|Settings { command, run }, stop| async move {
        match command {
            None => serve(run, stop).await,
            Some(Command::Run(run)) => serve(*run, stop).await,
            Some(Command::Bench(settings)) => bench::run(*settings, stop).await,
            Some(Command::Openapi { write }) => openapi(write, stop).await,
        }
    })
}

async fn serve(settings: RunSettings, stop: Stop) -> anyhow::Result<()> {
    let metrics = program::telemetry(&settings.common)?;
    let System { services, events, data_dir } = System::start(&settings, Some(metrics), &stop).await?;
    let hint = hint(services[0].url(), &settings);
    program::until_stopped(services, &hint, &stop).await?;
    stop.unless_insisted(order_system::close(events)).await;
    drop(data_dir);
    Ok(())
}

fn hint(url: &str, settings: &RunSettings) -> String {
    let order = r#"{"customerId":"cust-1","totalAmount":99.99,"currency":"USD","items":[{"productId":"P1","quantity":2,"unitPrice":49.99}]}"#;
    let kept = match settings.is_embedded() {
        true => format!("data is kept in {}", settings.data_dir.display()),
        false => "nothing is embedded".into(),
    };
    format!(
        "\nPlace the first order in Swagger UI, or with\n\n  curl -X POST {url}/api/orders -H 'Content-Type: application/json' -d '{order}'\n\nCtrl-C stops the system; {kept}."
    )
}

async fn openapi(write: Option<PathBuf>, stop: Stop) -> anyhow::Result<()> {
    for (name, document) in documents::documents(&stop).await? {
        match &write {
            Some(directory) => {
                let file = directory.join(name);
                let written = std::fs::create_dir_all(file.parent().unwrap_or(directory))
                    .and_then(|()| std::fs::write(&file, document));
                written.with_context(|| format!("--write: {}", file.display()))?;
            }
            // A stream of YAML documents, of which JSON is one kind.
            None => match writeln!(std::io::stdout(), "---\n# {name}\n{document}") {
                // Who reads has read enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                written => written?,
            },
        }
    }
    Ok(())
}
