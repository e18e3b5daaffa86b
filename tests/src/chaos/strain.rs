//! Scenarios in which nothing breaks and everything is too much, or too slow.

use super::load::Load;
use super::tally::Kind;
use super::{Run, faults};
use crate::programs::{Action, Server};
use anyhow::{Result, ensure};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the peak is measured.
const MEASURING: Duration = Duration::from_secs(20);
/// Orders under way while it is.
const UNDER_WAY: usize = 400;
/// How long the system may take to be whole again.
const WHOLE_AGAIN: Duration = Duration::from_secs(30);

/// Three times the load that the system can take, from the same cores: it sheds, goes on finishing most of what it can,
/// and is whole again soon after.
pub(super) async fn overload(run: &Arc<Run>) -> Result<()> {
    let peak = peak(run).await?;
    let before = run.fleet.resident();
    let seen = run.watch.seen();
    let started = Instant::now();
    let load = Load::start(run.shop.clone(), peak * 3, run.options.seed);
    let until = started + Duration::from_secs(run.options.seconds());
    let mut most = before;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        most = most.max(run.fleet.resident());
    }
    let finals = run.watch.seen().finals - seen.finals;
    let millis = i64::try_from(started.elapsed().as_millis())?;
    let goodput = finals * 1_000 / millis.max(1);
    load.stop().await?;
    let shed = run.tally.lock().unknown.get("503").copied().unwrap_or(0);
    run.notes.fact(format!("peak {peak}/s, offered {}/s: {goodput}/s became final, {shed} POSTs were shed", peak * 3));
    run.notes.fact(format!("memory of all programs: {before} MiB before, at most {most} MiB"));
    if goodput * 10 < i64::try_from(peak)? * 7 {
        run.notes.problem(format!("under three times the peak of {peak}/s only {goodput}/s became final"));
    }
    if shed == 0 {
        run.notes.problem("nothing was shed");
    }
    match run.watch.until_caught_up(WHOLE_AGAIN).await {
        Some(took) => run.notes.fact(format!("whole again after {took:.1?}")),
        None => run.notes.problem(format!("not whole again {WHOLE_AGAIN:?} after the overload")),
    }
    Ok(())
}

/// Orders per second that become final while so many are always under way, and nothing else goes on.
async fn peak(run: &Arc<Run>) -> Result<u64> {
    run.notes.say("measuring the peak");
    let line = json!({"productId": "P1", "quantity": 1, "unitPrice": 1});
    let order = json!({"customerId": "c-1", "totalAmount": 10, "currency": "EUR", "items": [line]});
    let mut placing = JoinSet::new();
    let (started, seen) = (Instant::now(), run.watch.seen());
    while started.elapsed() < MEASURING {
        while placing.try_join_next().is_some() {}
        let (accepted, _) = run.tally.sums();
        let finals = usize::try_from(run.watch.seen().finals)?;
        for _ in (accepted + placing.len()).saturating_sub(finals)..UNDER_WAY {
            let (shop, order) = (run.shop.clone(), order.clone());
            placing.spawn(async move { shop.place(Kind::Good, &order, 100_000).await });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    placing.join_all().await;
    let finals = u64::try_from(run.watch.seen().finals - seen.finals)?;
    let peak = finals * 1_000 / u64::try_from(started.elapsed().as_millis())?.max(1);
    ensure!(peak > 0, "nothing became final");
    Ok(peak)
}

/// A broker that answers in fits: it stands still for 450 ms of every 500.
pub(super) async fn kafka_slow(run: &Arc<Run>) -> Result<()> {
    run.notes.fault(faults::Kind::BrokerFreeze.name(), "again and again");
    let until = Instant::now() + Duration::from_secs(run.options.seconds());
    while Instant::now() < until {
        run.stack.control(Server::Kafka, Action::Freeze).await?;
        tokio::time::sleep(Duration::from_millis(450)).await;
        run.stack.control(Server::Kafka, Action::Thaw).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    match run.watch.until_caught_up(Duration::from_secs(60)).await {
        Some(took) => run.notes.fact(format!("caught up {took:.1?} after the broker was itself again")),
        None => run.notes.problem("not caught up 60 s after the broker was itself again"),
    }
    Ok(())
}
