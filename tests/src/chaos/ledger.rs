//! The sandbox payment provider and its books, where its program is beside the others.

use super::Run;
use super::options::Options;
use crate::audit::Audited;
use crate::programs::Programs;
use anyhow::{Context, Result, ensure};
use contracts::Money;
use order_service::saga::Stage;
use reqwest::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Its port, from the first one of the services.
const PORT: u16 = 40;
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Entries of one page of the books.
const PAGE: usize = 1_000;

/// A sandbox that runs.
#[derive(Debug)]
pub(super) struct Sandbox {
    child: Mutex<Child>,
    /// Where the books are: away from the logs, which people read.
    home: TempDir,
    programs: Programs,
    port: u16,
    seed: u64,
    client: Client,
}

/// What the books say of one payment: charges and refunds, and how much they come to.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    charges: u32,
    refunds: u32,
    kept: i128,
}

fn spawn(programs: &Programs, home: &Path, port: u16, seed: u64) -> Result<Child> {
    let log = programs.logs().join("payment-sandbox");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(programs.path("payment-sandbox"));
    command.arg("--ledger").arg(home.join("sandbox.sqlite")).args(["--seed", &seed.to_string()]);
    command.env_clear().env("HTTP_PORT", port.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().context("payment-sandbox")
}

impl Sandbox {
    /// Starts the sandbox, if its program is there, and has payment-service use it.
    pub(super) async fn start(programs: &mut Programs, options: &Options) -> Result<Option<Self>> {
        if !programs.path("payment-sandbox").is_file() {
            return Ok(None);
        }
        let (port, seed) = (options.http_port + PORT, options.seed);
        programs.settings.push(("PAYMENT_PROVIDER_URL".to_owned(), format!("http://127.0.0.1:{port}")));
        let home = tempfile::tempdir()?;
        let child = Mutex::new(spawn(programs, home.path(), port, seed)?);
        let sandbox = Sandbox { child, home, programs: programs.clone(), port, seed, client: Client::new() };
        sandbox.until_ready().await?;
        Ok(Some(sandbox))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn until_ready(&self) -> Result<()> {
        let ready = async {
            while self.client.get(self.url("/v1/totals")).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.context("payment-sandbox is not ready")
    }

    /// `kill -9`, a pause, and a start on the same books.
    pub(super) async fn kill(&self, down: Duration) -> Result<()> {
        self.stop();
        tokio::time::sleep(down).await;
        let child = spawn(&self.programs, self.home.path(), self.port, self.seed)?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = child;
        self.until_ready().await
    }

    fn stop(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended already is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Has a good part of all calls go wrong, in every way that there is.
    pub(super) async fn trouble(&self) -> Result<()> {
        let ways = ["timeoutAfter", "timeoutBefore", "error500", "tooMany", "slow"];
        // Later than payment-service waits, but for the slow ones.
        let delay = |way| if way == "slow" { 1_000 } else { 7_000 };
        let rule = |way| json!({"on": "any", "fault": way, "probability": 15, "delayMs": delay(way)});
        let rules: Vec<Value> = ways.into_iter().map(rule).collect();
        self.client.put(self.url("/v1/faults")).json(&rules).send().await?.error_for_status()?;
        Ok(())
    }

    /// Ends all faults.
    pub(super) async fn heal(&self) -> Result<()> {
        self.client.delete(self.url("/v1/faults")).send().await?.error_for_status()?;
        Ok(())
    }

    /// The books, by payment.
    async fn books(&self) -> Result<BTreeMap<String, Moved>> {
        let mut books: BTreeMap<String, Moved> = BTreeMap::new();
        let mut after = 0;
        loop {
            let url = self.url(&format!("/v1/ledger?limit={PAGE}&after={after}"));
            let page: Value = self.client.get(url).send().await?.error_for_status()?.json().await?;
            for entry in page["entries"].as_array().into_iter().flatten() {
                ensure!(entry["conflicts"] == 0, "I-3: one key, two requests: {entry}");
                let moved = books.entry(entry["reference"].as_str().unwrap_or_default().to_owned()).or_default();
                let amount = entry["amount"].as_number().context("no amount")?;
                let amount = Money::from_number(amount).map_err(|why| anyhow::anyhow!("{entry}: {why}"))?;
                match entry["outcome"].as_str() {
                    Some("CHARGED") => {
                        moved.charges += 1;
                        moved.kept += i128::from(amount.ten_thousandths());
                    }
                    Some("REFUNDED") => {
                        moved.refunds += 1;
                        moved.kept -= i128::from(amount.ten_thousandths());
                    }
                    Some("REFUSED") => anyhow::bail!("I-3: a refund was refused: {entry}"),
                    _ => {}
                }
            }
            match page["next"].as_i64() {
                Some(next) => after = next,
                None => return Ok(books),
            }
        }
    }

    /// I-3, at the provider: what it kept is what confirmed orders cost; one charge, and at most one refund, per order.
    pub(super) async fn check(&self, run: &Run, audited: &Audited) -> Result<()> {
        let books = match self.books().await {
            Ok(books) => books,
            Err(error) => {
                run.notes.problem(format!("{error:#}"));
                return Ok(());
            }
        };
        let mut payments = BTreeMap::new();
        for order in audited.orders.values() {
            let payment = contracts::PaymentId::of(order.order).to_string();
            let is_confirmed = order.state.stage == Stage::Confirmed;
            let owed = if is_confirmed { i128::from(order.state.details.total.ten_thousandths()) } else { 0 };
            let moved = books.get(&payment).copied().unwrap_or_default();
            if moved.kept != owed || moved.charges > 1 || moved.refunds > 1 {
                let what = format!("I-3: order {} is {:?}, the books say {moved:?}", order.order, order.state.stage);
                run.notes.problems([(Some(order.order.0), what)]);
            }
            payments.insert(payment, owed);
        }
        let strangers = books.keys().filter(|payment| !payments.contains_key(*payment)).count();
        if strangers > 0 {
            run.notes.problem(format!("I-3: the books have {strangers} payments that belong to no order"));
        }
        let kept: i128 = books.values().map(|moved| moved.kept).sum();
        let (charges, refunds) =
            books.values().fold((0, 0), |(charges, refunds), moved| (charges + moved.charges, refunds + moved.refunds));
        let owed: i128 = payments.values().sum();
        run.notes
            .fact(format!("the provider's books: {charges} charges, {refunds} refunds, {kept} ten-thousandths kept"));
        if kept != owed {
            run.notes.problem(format!("I-3: the provider kept {kept} ten-thousandths, and {owed} are owed"));
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop();
    }
}
