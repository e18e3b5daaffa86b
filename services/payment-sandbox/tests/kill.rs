//! `kill -9` in the middle of charges: what was answered is in the books, and what was not can be asked again.

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Charges that are under way at a time.
const AT_A_TIME: usize = 16;
/// How often the program is killed.
const KILLS: usize = 3;

struct Program {
    process: Child,
    /// Kept open, so that the program can say more.
    _output: BufReader<ChildStdout>,
    url: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL. One that has ended already is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(ledger: &Path) -> Result<Program> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_payment-sandbox"))
        .args(["--http-port", "0", "--ledger"])
        .arg(ledger)
        .env("RUST_LOG", "off")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = String::new();
    let mut output = BufReader::new(process.stdout.take().context("its output")?);
    output.read_line(&mut ready)?;
    let url = ready.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
    let url = url.with_context(|| format!("it said {ready:?}"))?;
    Ok(Program { process, _output: output, url })
}

async fn charge(client: Client, url: String, i: usize) -> Result<String> {
    let body = json!({"customerId": "c", "amount": 1, "currency": "USD", "reference": format!("payment-{i}")});
    let request = client.post(format!("{url}/v1/charges")).header("Idempotency-Key", format!("key-{i}")).json(&body);
    let reply: Value = request.send().await?.error_for_status()?.json().await?;
    ensure!(reply["status"] == "CHARGED", "{reply}");
    Ok(format!("key-{i}"))
}

#[tokio::test]
async fn what_was_answered_outlives_a_kill() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let ledger = directory.path().join("sandbox.sqlite");
    let mut answered: Vec<String> = Vec::new();
    let mut next = 0;
    for kill in 1..=KILLS {
        let program = start(&ledger)?;
        let client = Client::new();
        while answered.len() < kill * 4 * AT_A_TIME {
            let batch = (next..next + AT_A_TIME).map(|i| charge(client.clone(), program.url.clone(), i));
            next += AT_A_TIME;
            for key in join_all(batch).await {
                answered.push(key?);
            }
        }
        // Killed with these under way: some are in the books, and some are not.
        let under_way = (next..next + AT_A_TIME).map(|i| tokio::spawn(charge(client.clone(), program.url.clone(), i)));
        next += AT_A_TIME;
        let mut under_way: Vec<_> = under_way.collect();
        answered.push(under_way.remove(0).await??);
        drop(program);
        for task in under_way {
            answered.extend(task.await?.ok());
        }
    }
    let program = start(&ledger)?;
    let page: Value = reqwest::get(format!("{}/v1/ledger?limit=1000", program.url)).await?.json().await?;
    let keys: Vec<&str> =
        page["entries"].as_array().context("entries")?.iter().filter_map(|e| e["key"].as_str()).collect();
    for key in &answered {
        ensure!(keys.contains(&key.as_str()), "{key} was answered and is not in the books");
    }
    for i in 0..next {
        charge(Client::new(), program.url.clone(), i).await?;
    }
    let totals: Value = reqwest::get(format!("{}/v1/totals", program.url)).await?.json().await?;
    assert_eq!((&totals["charges"], &totals["captured"]), (&json!(next), &json!(next)), "each key once: {totals}");
    Ok(())
}
