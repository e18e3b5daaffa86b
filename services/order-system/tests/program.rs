//! order-system as a program: `kill -9`, a second copy, bad settings, an orderly end.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_order-system");
const PATIENCE: Duration = Duration::from_secs(60);

fn program(data_dir: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--http-port", "0", "--data-dir"]).arg(data_dir);
    command.env_clear().env("RUST_LOG", "warn").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running program, killed when it is dropped.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Running {
    /// Starts it, and reads from its output where order-service is.
    fn start(data_dir: &Path) -> Result<Self> {
        let mut child = program(data_dir).stderr(Stdio::inherit()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("a piped output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let url = line.split_whitespace().nth(1).with_context(|| format!("no URL in {line:?}"))?.to_owned();
        Ok(Running { child, output, url })
    }

    fn kill(&mut self) -> Result<()> {
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

fn order() -> Value {
    let line = json!({"productId": "P1", "quantity": 1, "unitPrice": 1});
    json!({"customerId": "c", "totalAmount": 1, "currency": "USD", "items": [line]})
}

async fn status(url: &str, id: &str) -> Result<String> {
    let order: Value = reqwest::get(format!("{url}/api/orders/{id}")).await?.error_for_status()?.json().await?;
    Ok(order["status"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn every_accepted_order_becomes_final_after_kill_9() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let client = reqwest::Client::new();
    let mut accepted: Vec<String> = Vec::new();
    for round in 0..4 {
        let mut running = Running::start(directory.path())?;
        for _ in 0..25 {
            let reply: Value =
                client.post(format!("{}/api/orders", running.url)).json(&order()).send().await?.json().await?;
            accepted.push(reply["orderId"].as_str().with_context(|| format!("round {round}: {reply}"))?.to_owned());
        }
        // In the middle of the last orders' sagas, wherever they are.
        running.kill()?;
    }
    let running = Running::start(directory.path())?;
    let started = Instant::now();
    for id in &accepted {
        while status(&running.url, id).await? != "CONFIRMED" {
            ensure!(started.elapsed() < PATIENCE, "order {id} is {}", status(&running.url, id).await?);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

#[test]
fn a_second_copy_on_the_same_data_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let _first = Running::start(directory.path())?;
    let second = program(directory.path()).output()?;
    let error = String::from_utf8(second.stderr)?;
    assert_eq!(second.status.code(), Some(2), "{error}");
    let name = directory.path().display().to_string();
    assert!(error.contains(&name) && error.lines().count() == 1, "{error}");
    Ok(())
}

#[test]
fn sigterm_ends_it_in_order() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut running = Running::start(directory.path())?;
    // Said once everything is ready.
    let mut line = String::new();
    while !line.contains("Ctrl-C") {
        line.clear();
        ensure!(running.output.read_line(&mut line)? > 0, "it ended before it was ready");
    }
    let pid = running.child.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status()?;
    assert_eq!(running.child.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn bad_settings_end_it_with_one_line_that_names_them() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rows = [
        ("HTTP_PORT", "eighty"),
        ("HTTP_PORT", "65533"),
        ("HTTP_HOST", "nowhere"),
        ("AUTH", "on"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("ORDER_DATABASE_URL", "mysql://localhost/x"),
        ("PAYMENT_STUB_FAIL_ABOVE_AMOUNT", "-1"),
        ("PAYMENT_STUB_FAIL_ABOVE_AMOUNT", "ten"),
        ("INVENTORY_INITIAL_STOCK", "P1"),
        ("INVENTORY_INITIAL_STOCK", "P1=1,P1=2"),
        ("CONSUMER_MAX_ATTEMPTS", "0"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "a=b=c"),
    ];
    for (setting, value) in rows {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("DATA_DIR", directory.path()).env("HTTP_PORT", "0").env(setting, value);
        let output = command.output()?;
        let error = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{setting}={value}: {error}");
        assert!(error.contains(setting) && error.lines().count() == 1, "{setting}={value}: {error}");
    }
    let beyond =
        Command::new(PROGRAM).env_clear().env("DATA_DIR", directory.path()).env("HTTP_HOST", "0.0.0.0").output()?;
    let error = String::from_utf8(beyond.stderr)?;
    assert!(beyond.status.code() == Some(2) && error.contains("AUTH"), "{error}");
    Ok(())
}
