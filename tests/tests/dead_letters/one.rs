//! One letter: corrected and sent again, dead again and again, discarded.

use crate::two::{LIST, Two, confirmed, malformed, path, text};
use anyhow::{Context, Result};
use e2e::api::Service;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::NewRecord;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// The whole story of one message with a field missing.
#[tokio::test]
async fn a_corrected_letter_sends_its_order_on() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    let order = two.placed().await?;
    let (bad, good) = (malformed(&order)?, confirmed(&order)?);
    two.append(bad.clone()).await?;

    // Both read payment.confirmed, and each shows what its own group could not read.
    two.letters(Service::Order, LIST, 1).await?;
    let letter = two.letters(Service::Inventory, LIST, 1).await?.remove(0);
    assert_eq!((&letter["topic"], &letter["state"]), (&json!("payment.confirmed"), &json!("OPEN")), "{letter}");
    assert_eq!((&letter["key"], &letter["attempts"]), (&json!(order), &json!(1)), "{letter}");
    assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains("amount")), "{letter}");
    let path = path(&letter);
    let whole = two.api.get(Service::Inventory, &path).await?;
    assert_eq!((&whole["payload"], &whole["payloadEncoding"]), (&json!(text(&bad)), &json!("TEXT")), "{whole}");
    assert_eq!(whole["headers"][0], json!({"name": "correlation-id", "value": "bad-deployment", "encoding": "TEXT"}));
    assert_eq!(whole["history"], json!([]), "{whole}");

    let redrive = format!("{path}/redrive");
    let (status, problem) = two.post(Service::Inventory, &redrive, &json!({"payload": text(&bad)})).await?;
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/payload")), "{problem}");
    assert_eq!(two.api.get(Service::Order, &format!("/api/orders/{order}")).await?["status"], "PENDING");

    let corrected = json!({"payload": text(&good), "reason": "rolled back"});
    let (status, sent) = two.post(Service::Inventory, &redrive, &corrected).await?;
    assert_eq!((status.as_u16(), &sent["state"], &sent["redriven"]), (202, &json!("REDRIVEN"), &json!(1)), "{sent}");
    let before = two.api.until_final(&order).await?;
    assert_eq!(before["status"], "CONFIRMED", "{before}");

    // Once more changes nothing: an order behind it on the same topic goes its way, and this one stays as it is.
    let (status, sent) = two.post(Service::Inventory, &redrive, &corrected).await?;
    assert_eq!((status.as_u16(), &sent["redriven"]), (202, &json!(2)), "{sent}");
    let other = two.placed().await?;
    two.append(confirmed(&other)?).await?;
    assert_eq!(two.api.until_final(&other).await?["status"], "CONFIRMED");
    assert_eq!(two.api.get(Service::Order, &format!("/api/orders/{order}")).await?, before);
    assert_eq!(two.api.get(Service::Inventory, "/api/stock/P1").await?["reserved"], 4, "twice two units");
    assert_eq!(two.letters(Service::Inventory, LIST, 1).await?[0]["state"], "REDRIVEN");

    let subject = format!("dead-letter/{}", letter["id"].as_str().unwrap_or_default());
    let audit = two.api.get(Service::Inventory, &format!("/api/audit?subject={subject}")).await?;
    let entries = audit["entries"].as_array().context("entries")?;
    assert_eq!(entries.len(), 2, "{audit}");
    for entry in entries {
        assert_eq!((&entry["actor"], &entry["action"]), (&json!("anyone"), &json!("dead-letter.redrive")), "{entry}");
        assert_eq!((&entry["reason"], &entry["detail"]["corrected"]), (&json!("rolled back"), &json!(true)), "{entry}");
    }
    assert_eq!(two.api.get(Service::Inventory, &path).await?["history"], audit["entries"]);
    let others = two.api.get(Service::Inventory, "/api/audit?actor=nobody").await?;
    assert_eq!(others["entries"], json!([]));
    two.stop().await;
    Ok(())
}

/// A message that dies again and again is sent again three times, and then only for who insists.
#[tokio::test]
async fn a_letter_that_dies_again_says_so_and_is_stopped() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    two.append(malformed(&Uuid::now_v7().to_string())?).await?;
    let mut newest = two.letters(Service::Order, LIST, 1).await?.remove(0);
    for life in 1..=3_usize {
        let (status, sent) = two.post(Service::Order, &format!("{}/redrive", path(&newest)), &json!({})).await?;
        assert_eq!((status.as_u16(), &sent["state"]), (202, &json!("REDRIVEN")), "{sent}");
        newest = two.letters(Service::Order, LIST, life + 1).await?.remove(0);
        assert_eq!((&newest["state"], &newest["redriven"]), (&json!("OPEN"), &json!(life)), "{newest}");
    }
    let redrive = format!("{}/redrive", path(&newest));
    let (status, problem) = two.post(Service::Order, &redrive, &json!({})).await?;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("force")), "{problem}");
    let (_, none) = two.post(Service::Order, "/api/dead-letters/redrive", &json!({"dryRun": true})).await?;
    assert_eq!((&none["count"], &none["ids"]), (&json!(0), &json!([])), "{none}");
    let (status, sent) = two.post(Service::Order, &redrive, &json!({"force": true})).await?;
    assert_eq!((status.as_u16(), &sent["redriven"]), (202, &json!(4)), "{sent}");
    let last = two.letters(Service::Order, LIST, 5).await?.remove(0);
    let whole = two.api.get(Service::Order, &path(&last)).await?;
    let headers = whole["headers"].as_array().context("headers")?;
    let named = |name: &str| headers.iter().filter(|header| header["name"] == name).count();
    assert_eq!((named("dlt-redriven"), named("dlt-error"), named("correlation-id")), (1, 1, 1), "{whole}");
    two.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_letter_is_discarded_with_a_reason() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    // A payment of an order that order-service does not know (fault 24); bytes that are no text, and no value at all.
    let unknown = confirmed(&Uuid::now_v7().to_string())?;
    let bytes = NewRecord { value: Some(vec![0, 159, 146]), ..unknown.clone() };
    let tombstone = NewRecord { value: None, ..unknown.clone() };
    for (record, count) in [unknown, bytes, tombstone].into_iter().zip(1..) {
        two.append(record).await?;
        two.letters(Service::Order, LIST, count).await?;
    }
    let letters = two.letters(Service::Order, LIST, 3).await?;
    let whole = two.api.get(Service::Order, &path(&letters[1])).await?;
    assert_eq!((&whole["payload"], &whole["payloadEncoding"]), (&json!("AJ+S"), &json!("BASE64")), "{whole}");
    assert_eq!(two.api.get(Service::Order, &path(&letters[0])).await?.get("payload"), None);

    let discard = format!("{}/discard", path(&letters[2]));
    assert_eq!(two.post(Service::Order, &discard, &json!({"reason": " "})).await?.0, 422);
    assert_eq!(two.post(Service::Order, &discard, &json!({})).await?.0, 422);
    for _ in 0..2 {
        let (status, letter) = two.post(Service::Order, &discard, &json!({"reason": "of another system"})).await?;
        assert_eq!((status.as_u16(), &letter["state"]), (200, &json!("DISCARDED")), "{letter}");
        assert_eq!(letter["history"].as_array().map(Vec::len), Some(1), "the second time changed nothing: {letter}");
        assert_eq!(letter["history"][0]["reason"], "of another system", "{letter}");
    }
    assert_eq!(two.post(Service::Order, &format!("{}/redrive", path(&letters[2])), &json!({})).await?.0, 409);
    two.letters(Service::Order, &format!("{LIST}?state=OPEN"), 2).await?;
    two.letters(Service::Order, &format!("{LIST}?state=DISCARDED&topic=payment.confirmed"), 1).await?;
    two.letters(Service::Order, &format!("{LIST}?topic=payment.failed"), 0).await?;
    two.letters(Service::Order, &format!("{LIST}?reason=UTF-8"), 1).await?;
    two.letters(Service::Order, &format!("{LIST}?reason=%25"), 0).await?;

    let unknown = format!("{LIST}/{}", Uuid::now_v7());
    assert_eq!(two.post(Service::Order, &format!("{unknown}/discard"), &json!({"reason": "x"})).await?.0, 404);
    assert_eq!(two.post(Service::Order, &format!("{unknown}/redrive"), &json!({})).await?.0, 404);
    for (query, status) in [("limit=0", 422), ("limit=101", 422), ("cursor=x", 400), ("state=LOST", 400)] {
        assert_eq!(two.api.get(Service::Order, &format!("{LIST}?{query}")).await?["status"], status, "{query}");
    }
    two.stop().await;
    Ok(())
}

/// An order whose row cannot be read, such as one of a newer version: its message is a dead letter, and waits for somebody
/// to mend the row. No other order waits with it.
#[tokio::test]
async fn an_order_that_cannot_be_read_holds_up_no_other() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    let orders = [two.placed().await?, two.placed().await?];
    let file = DatabaseSettings::Sqlite(directory.path().join("inventory.sqlite"));
    let inventory = Database::open(&file).await?;
    let count = Statement::from_string(DbBackend::Sqlite, "SELECT count(*) FROM reservations");
    while inventory.read.query_one_raw(count.clone()).await?.map(|row| row.try_get_by_index(0)).transpose()?
        != Some(2_i64)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What is in memory is not read.
    two.stop().await;
    let order = Uuid::parse_str(&orders[0])?;
    let rewrite = async |stage: &str| {
        let values = [stage.into(), order.into()];
        let update = "UPDATE reservations SET stage = ? WHERE order_id = ?";
        inventory.writer().execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, update, values)).await
    };
    let stage = Statement::from_string(DbBackend::Sqlite, "SELECT stage FROM reservations LIMIT 1");
    let stage = inventory.read.query_one_raw(stage).await?.context("a row")?.try_get_by_index::<String>(0)?;
    rewrite("OF_A_NEWER_VERSION").await?;

    let two = Two::start(directory.path()).await?;
    for order in &orders {
        two.append(confirmed(order)?).await?;
    }
    assert_eq!(two.api.until_final(&orders[1]).await?["status"], "CONFIRMED");
    let letter = two.letters(Service::Inventory, LIST, 1).await?.remove(0);
    assert_eq!((&letter["key"], &letter["attempts"]), (&json!(orders[0]), &json!(3)), "{letter}");
    assert!(letter["reason"].as_str().is_some_and(|why| why.contains("OF_A_NEWER_VERSION")), "{letter}");

    rewrite(&stage).await?;
    let (status, sent) = two.post(Service::Inventory, &format!("{}/redrive", path(&letter)), &json!({})).await?;
    assert_eq!(status, 202, "{sent}");
    assert_eq!(two.api.until_final(&orders[0]).await?["status"], "CONFIRMED");
    two.stop().await;
    Ok(())
}
