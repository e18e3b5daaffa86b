//! Notices from the log to their receivers, on embedded parts. Those that go by mail need a mail server, and are in
//! [`mail`].

#[cfg(feature = "live")]
mod mail;
mod rig;

use anyhow::{Context, Result, ensure};
use notification_service::channel::webhook::Secret;
use reqwest::StatusCode;
use rig::{PATIENCE, Rig, SECRET, contact, eventually};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn header(request: &Request, name: &str) -> String {
    request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The ids under which a receiver got messages, each as often as it came.
async fn ids(receiver: &MockServer) -> Vec<String> {
    let requests = receiver.received_requests().await.unwrap_or_default();
    requests.iter().map(|request| header(request, "webhook-id")).collect()
}

/// A receiver that answers so many requests with the first statuses, and all that follow with the last one.
async fn receiver(first: &[(u16, u64)], last: u16) -> MockServer {
    let receiver = MockServer::start().await;
    for ((status, times), priority) in first.iter().zip(1..) {
        let answer = Mock::given(any()).respond_with(ResponseTemplate::new(*status));
        answer.up_to_n_times(*times).with_priority(priority).mount(&receiver).await;
    }
    Mock::given(any()).respond_with(ResponseTemplate::new(last)).mount(&receiver).await;
    receiver
}

fn first(reply: &Value) -> &Value {
    &reply["notifications"][0]
}

fn is_sent(reply: &Value) -> bool {
    first(reply)["status"] == "SENT"
}

/// The notices that were sent by one channel, by their id.
fn sent_by(reply: &Value, channel: &str) -> BTreeMap<String, Value> {
    let notices = reply["notifications"].as_array().into_iter().flatten();
    let notices = notices.filter(|notice| notice["channel"] == channel && notice["status"] == "SENT");
    notices.map(|notice| (notice["notificationId"].as_str().unwrap_or_default().to_owned(), notice.clone())).collect()
}

const ALLOW_PRIVATE: [&str; 2] = ["--webhook-allow-private", "true"];

#[tokio::test(flavor = "multi_thread")]
async fn one_notice_per_occasion_and_channel() -> Result<()> {
    let receiver = receiver(&[], 204).await;
    let rig = Rig::start(&ALLOW_PRIVATE).await?;
    let order = rig.order();
    let contact = Some(contact(&receiver.uri()));
    for _ in 0..2 {
        // The second time they come under new ids.
        rig.confirmed(order, contact.clone()).await?;
        rig.cancelled(order, contact.clone()).await?;
        rig.refunded(order, contact.clone()).await?;
    }
    let path = format!("/api/notifications?orderId={order}");
    // The events are on three topics, and the cancellation may overtake the confirmation.
    let is_over = |notice: &Value| notice["status"] == "SENT" || notice["status"] == "SUPERSEDED";
    let all = |reply: &Value| reply["notifications"].as_array().is_some_and(|l| l.len() == 6 && l.iter().all(is_over));
    let reply = rig.until(&path, "all sent", all).await?;
    let posted = sent_by(&reply, "WEBHOOK");
    ensure!(posted.len() >= 2, "{reply}");

    let requests = receiver.received_requests().await.context("requests")?;
    ensure!(requests.len() == posted.len(), "{requests:?}");
    let secret = Secret::parse(SECRET).map_err(anyhow::Error::msg)?;
    for request in &requests {
        let (id, body) = (header(request, "webhook-id"), String::from_utf8(request.body.clone())?);
        let timestamp = header(request, "webhook-timestamp").parse()?;
        ensure!(header(request, "webhook-signature") == secret.sign(&id, timestamp, &body), "{body}");
        let (message, notice): (Value, _) = (serde_json::from_str(&body)?, posted.get(&id).context("an unknown id")?);
        ensure!(message["data"]["orderId"] == order.to_string(), "{body}");
        ensure!(message["data"]["occasion"] == notice["occasion"], "{body}");
    }
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_order_is_told_of_in_the_log_alone() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    let order = rig.order();
    rig.confirmed(order, None).await?;
    let reply = rig.until(&format!("/api/notifications?orderId={order}"), "sent", is_sent).await?;
    // It has no more fields than before there were other channels.
    let fields: BTreeSet<&String> = first(&reply).as_object().context("a notice")?.keys().collect();
    let before =
        ["channel", "createdAt", "customerId", "notificationId", "occasion", "orderId", "sentAt", "status", "text"];
    ensure!(fields.into_iter().eq(before) && first(&reply)["channel"] == "LOG", "{reply}");
    ensure!(reply == json!({"notifications": [first(&reply)]}), "{reply}");
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_gets_the_message_under_the_same_id() -> Result<()> {
    let receiver = receiver(&[(503, 3)], 200).await;
    let rig = Rig::start(&ALLOW_PRIVATE).await?;
    let order = rig.order();
    rig.confirmed(order, Some(contact(&receiver.uri()))).await?;
    let path = format!("/api/notifications?orderId={order}&channel=WEBHOOK");
    let reply = rig.until(&path, "posted", is_sent).await?;
    let ids = ids(&receiver).await;
    ensure!(ids.len() == 4 && ids.iter().all(|id| first(&reply)["notificationId"] == **id), "{ids:?}");
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_waits_for_an_operator() -> Result<()> {
    let receiver = receiver(&[(410, 1), (500, 3)], 200).await;
    let rig = Rig::start(&[&ALLOW_PRIVATE[..], &["--notify-max-attempts", "3"]].concat()).await?;
    let order = rig.order();
    rig.confirmed(order, Some(contact(&receiver.uri()))).await?;

    let path = format!("/api/notifications?orderId={order}&channel=WEBHOOK");
    let stands = |status: &'static str, count: i64| {
        move |reply: &Value| first(reply)["status"] == status && first(reply)["attempts"]["count"] == count
    };
    let reply = rig.until(&path, "gone", stands("FAILED", 1)).await?;
    ensure!(first(&reply)["attempts"]["lastError"].as_str().is_some_and(|error| error.contains("410")), "{reply}");
    let (_, failed) = rig.get("/api/notifications?status=FAILED").await?;
    ensure!(failed["notifications"].as_array().map(Vec::len) == Some(1), "{failed}");
    let id = first(&reply)["notificationId"].as_str().context("an id")?.to_owned();
    let resend = format!("/api/notifications/{id}/resend");
    // The second time it is given up, then it goes through, and what went through can be sent again, too.
    for (status, count) in [("FAILED", 4), ("SENT", 5), ("SENT", 6)] {
        ensure!(rig.post(&resend).await?.0 == StatusCode::ACCEPTED);
        rig.until(&path, status, stands(status, count)).await?;
    }
    let ids = ids(&receiver).await;
    ensure!(ids == vec![id; 6], "{ids:?}");
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancellation_has_superseded_is_not_sent_again() -> Result<()> {
    let receiver = receiver(&[], 200).await;
    let rig = Rig::start(&ALLOW_PRIVATE).await?;
    let order = rig.order();
    let contact = Some(contact(&receiver.uri()));
    rig.cancelled(order, contact.clone()).await?;
    let path = format!("/api/notifications?orderId={order}&channel=WEBHOOK");
    rig.until(&path, "sent", is_sent).await?;
    rig.confirmed(order, contact).await?;
    let path = format!("{path}&status=SUPERSEDED");
    let reply = rig.until(&path, "superseded", |reply| first(reply).is_object()).await?;
    let superseded = first(&reply)["notificationId"].as_str().context("an id")?;
    let (status, problem) = rig.post(&format!("/api/notifications/{superseded}/resend")).await?;
    ensure!(status == StatusCode::CONFLICT, "{problem}");
    ensure!(ids(&receiver).await.len() == 1);
    let unknown = "/api/notifications/00000000-0000-0000-0000-000000000001";
    ensure!(rig.get(unknown).await?.0 == StatusCode::NOT_FOUND);
    ensure!(rig.post(&format!("{unknown}/resend")).await?.0 == StatusCode::NOT_FOUND);
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_cut_off_is_repeated_under_the_same_id() -> Result<()> {
    let receiver = MockServer::start().await;
    // It takes the message, and the service is gone before it hears of it.
    let slow = ResponseTemplate::new(200).set_delay(PATIENCE);
    Mock::given(any()).respond_with(slow).up_to_n_times(1).with_priority(1).mount(&receiver).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&receiver).await;
    let settings = [&ALLOW_PRIVATE[..], &["--notify-timeout-ms", "15000"]].concat();
    let mut rig = Rig::start(&settings).await?;
    let order = rig.order();
    rig.confirmed(order, Some(contact(&receiver.uri()))).await?;
    eventually("taken", async || Ok((ids(&receiver).await.len() == 1).then_some(()))).await?;

    rig.kill_and_restart(&settings).await?;
    let path = format!("/api/notifications?orderId={order}&channel=WEBHOOK");
    let reply = rig.until(&path, "sent", is_sent).await?;
    let id = first(&reply)["notificationId"].as_str().context("an id")?;
    let ids = ids(&receiver).await;
    ensure!(ids == [id, id], "{ids:?}");
    // The delivery that was cut off is not known of.
    ensure!(first(&reply)["attempts"]["count"] == 1, "{reply}");
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_posted_to() -> Result<()> {
    let receiver = receiver(&[], 200).await;
    let rig = Rig::start(&[]).await?;
    let order = rig.order();
    rig.confirmed(order, Some(contact(&receiver.uri().replace("http:", "https:")))).await?;
    let path = format!("/api/notifications?orderId={order}&channel=WEBHOOK");
    let reply = rig.until(&path, "given up", |reply| first(reply)["status"] == "FAILED").await?;
    let error = first(&reply)["attempts"]["lastError"].as_str().unwrap_or_default();
    ensure!(error.contains("not public") && ids(&receiver).await.is_empty(), "{reply}");
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_where_it_stopped_while_more_comes() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    let mut orders = BTreeSet::new();
    for _ in 0..7 {
        let order = rig.order();
        orders.insert(order.to_string());
        rig.confirmed(order, None).await?;
    }
    let all = |reply: &Value| reply["notifications"].as_array().is_some_and(|list| list.len() == 7);
    rig.until("/api/notifications?status=SENT", "all sent", all).await?;
    let (mut seen, mut path) = (Vec::new(), "/api/notifications?limit=3".to_owned());
    loop {
        let (status, page) = rig.get(&path).await?;
        ensure!(status == StatusCode::OK, "{page}");
        let notices = page["notifications"].as_array().into_iter().flatten();
        seen.extend(notices.filter_map(|notice| Some(notice["orderId"].as_str()?.to_owned())));
        let late = rig.order();
        rig.confirmed(late, None).await?;
        rig.until(&format!("/api/notifications?orderId={late}"), "recorded", |reply| first(reply).is_object()).await?;
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/api/notifications?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    ensure!(seen.len() == 7 && seen.into_iter().collect::<BTreeSet<_>>() == orders);
    for (path, expected) in [
        ("/api/notifications?limit=0", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/notifications?cursor=x", StatusCode::BAD_REQUEST),
        ("/api/notifications?status=LOST", StatusCode::BAD_REQUEST),
    ] {
        let (status, problem) = rig.get(path).await?;
        ensure!(status == expected && problem["status"] == json!(expected.as_u16()), "{path}: {problem}");
    }
    rig.stop().await
}
