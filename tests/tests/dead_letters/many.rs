//! Many letters: sent again at a rate, and listed page by page.

use crate::two::{LIST, Two, confirmed, malformed};
use anyhow::{Context, Result};
use e2e::api::Service;
use inventory_service::stock;
use runtime::database::{Database, DatabaseSettings};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// Many are sent again at a rate, in their order, and a stop in between only makes it later.
#[tokio::test]
async fn many_letters_are_sent_again_also_over_a_restart() -> Result<()> {
    const MANY: usize = 5;
    let directory: TempDir = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    let mut orders = Vec::new();
    for _ in 0..MANY {
        orders.push(two.placed().await?);
    }
    // Good messages that this group gave up, as while its database was refusing rows.
    for (order, offset) in orders.iter().zip(0..) {
        let mut letter = confirmed(order)?;
        letter.topic.push_str(".dlt");
        let headers = [
            ("dlt-original-topic", letter.topic.replace(".dlt", "")),
            ("dlt-original-partition", "0".into()),
            ("dlt-original-offset", format!("{}", 1_000 + offset)),
            ("dlt-consumer-group", "inventory-service".into()),
            ("dlt-attempts", "3".into()),
            ("dlt-error", "Refused for a while".into()),
        ];
        letter.headers = headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).into();
        // A copy is the same letter.
        two.append(letter.clone()).await?;
        two.append(letter).await?;
    }
    let letters = two.letters(Service::Inventory, &format!("{LIST}?state=OPEN"), MANY).await?;
    let oldest_first: Vec<&Value> = letters.iter().rev().map(|letter| &letter["id"]).collect();

    let redrive = "/api/dead-letters/redrive";
    let wish = json!({"topic": "payment.confirmed", "reason": "refused FOR a", "ratePerSecond": 2, "limit": 4});
    let mut dry = wish.clone();
    dry["dryRun"] = json!(true);
    let (status, found) = two.post(Service::Inventory, redrive, &dry).await?;
    assert_eq!((status.as_u16(), &found["count"]), (200, &json!(MANY)), "{found}");
    assert_eq!(found["ids"].as_array().context("ids")?.iter().collect::<Vec<_>>(), oldest_first[..4], "{found}");
    two.letters(Service::Inventory, &format!("{LIST}?state=OPEN"), MANY).await?;

    let started = Instant::now();
    let (status, taken) = two.post(Service::Inventory, redrive, &wish).await?;
    assert_eq!((status.as_u16(), &taken["ids"]), (202, &found["ids"]), "{taken}");
    let follow = format!("{}&state=REDRIVEN", taken["follow"].as_str().context("where to follow it")?);
    two.letters(Service::Inventory, &follow, 1).await?;
    two.stop().await;
    let two = Two::start(directory.path()).await?;
    two.letters(Service::Inventory, &follow, 4).await?;
    assert!(started.elapsed() >= Duration::from_millis(1_000), "four, two a second, in {:?}", started.elapsed());
    for order in &orders[..4] {
        two.api
            .until_says(
                Service::Inventory,
                &format!("/api/reservations?orderId={order}"),
                "/reservations/0/status",
                &json!("RESERVED"),
            )
            .await?;
    }
    two.letters(Service::Inventory, &format!("{LIST}?state=OPEN"), 1).await?;
    let others = two.api.get(Service::Order, LIST).await?;
    assert_eq!(others["deadLetters"], json!([]), "they are not order-service's");
    let audit = two.api.get(Service::Inventory, "/api/audit").await?;
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(4), "{audit}");
    two.stop().await;
    let database = Database::open(&DatabaseSettings::Sqlite(directory.path().join("inventory.sqlite"))).await?;
    let shelf = stock::Entity::find_by_id("P1").one(&database.read).await?.context("P1")?;
    assert_eq!(shelf.reserved, 8, "four times two units");
    Ok(())
}

#[tokio::test]
async fn pages_stay_while_letters_come() -> Result<()> {
    const AT_FIRST: usize = 7;
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    for _ in 0..AT_FIRST {
        two.append(malformed(&Uuid::now_v7().to_string())?).await?;
    }
    let ids = |letters: &[Value]| letters.iter().map(|letter| letter["id"].to_string()).collect::<Vec<_>>();
    let at_first = ids(&two.letters(Service::Order, LIST, AT_FIRST).await?);
    let mut seen = Vec::new();
    let (mut cursor, mut all) = (String::new(), AT_FIRST);
    loop {
        let page = two.api.get(Service::Order, &format!("{LIST}?limit=2{cursor}")).await?;
        seen.extend(ids(page["deadLetters"].as_array().context("letters")?));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // One more comes between any two pages.
        two.append(malformed(&Uuid::now_v7().to_string())?).await?;
        all += 1;
        two.letters(Service::Order, LIST, all).await?;
    }
    assert_eq!(seen, at_first);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), AT_FIRST);
    two.stop().await;
    Ok(())
}
