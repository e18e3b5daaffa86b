//! The program, started for a test, and what tests ask of it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_order-system");
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn program(data_dir: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--http-port", "0", "--data-dir"]).arg(data_dir);
    command.env_clear().env("RUST_LOG", "warn").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running program, killed when it is dropped.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) output: BufReader<ChildStdout>,
    pub(super) url: String,
}

impl Running {
    /// Starts it, and reads from its output where order-service is.
    pub(super) fn start(data_dir: &Path) -> Result<Self> {
        let mut command = program(data_dir);
        command.stderr(Stdio::inherit());
        Self::of(command)
    }

    pub(super) fn of(mut command: Command) -> Result<Self> {
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().context("a piped output")?);
        let mut running = Running { child, output, url: String::new() };
        running.url = running.next_url()?;
        Ok(running)
    }

    /// Where the next service is, from the next line of its output.
    pub(super) fn next_url(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.split_whitespace().nth(1).with_context(|| format!("no URL in {line:?}"))?.to_owned())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

pub(super) fn order() -> Value {
    let line = json!({"productId": "P1", "quantity": 1, "unitPrice": 1});
    json!({"customerId": "c", "totalAmount": 1, "currency": "USD", "items": [line]})
}

pub(super) async fn status(url: &str, id: &str) -> Result<String> {
    let order: Value = reqwest::get(format!("{url}/api/orders/{id}")).await?.error_for_status()?.json().await?;
    Ok(order["status"].as_str().unwrap_or_default().to_owned())
}

pub(super) fn signal(running: &Running, name: &str) -> Result<()> {
    ensure!(Command::new("kill").args([name, &running.child.id().to_string()]).status()?.success());
    Ok(())
}

/// Places an order, and says which if it was accepted.
pub(super) async fn place(client: &reqwest::Client, url: &str) -> Option<String> {
    let reply = client.post(format!("{url}/api/orders")).json(&order()).send().await.ok()?;
    let is_accepted = reply.status() == 202;
    let reply: Value = reply.json().await.ok()?;
    reply["orderId"].as_str().filter(|_| is_accepted).map(str::to_owned)
}

/// Waits until these orders are confirmed.
pub(super) async fn until_confirmed(running: &Running, accepted: &[String]) -> Result<()> {
    let started = Instant::now();
    for id in accepted {
        while status(&running.url, id).await? != "CONFIRMED" {
            ensure!(started.elapsed() < PATIENCE, "order {id} is {}", status(&running.url, id).await?);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}
