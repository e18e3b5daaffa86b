//! What clients of order-service rely on: idempotency keys, lists, entity tags, timelines, live streams.

use anyhow::{Context, Result, ensure};
use e2e::api::{Api, Service, example, order_of};
use e2e::embedded::Embedded;
use e2e::events::Events;
use futures::future::{join_all, try_join_all};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

fn post(api: &Api, path: &str) -> RequestBuilder {
    api.request(Method::POST, Service::Order, path)
}

fn place(api: &Api, key: &str, order: &Value) -> RequestBuilder {
    post(api, "/api/orders").header("Idempotency-Key", key).json(order)
}

async fn reply(request: RequestBuilder) -> Result<(u16, HeaderMap, Value)> {
    let reply = request.send().await?;
    Ok((reply.status().as_u16(), reply.headers().clone(), reply.json().await?))
}

#[tokio::test]
async fn a_key_is_free_while_nothing_was_stored_under_it() -> Result<()> {
    let embedded = Embedded::start_with(|settings| settings.orders.orders_under_way_limit = 0).await?;
    for product in ["P1", "P2"] {
        let (status, _, problem) = reply(place(&embedded.api, "full", &order_of(product, 1))).await?;
        assert_eq!(status, 503, "{problem}");
    }
    embedded.finish().await
}

#[tokio::test]
async fn a_key_places_one_order() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let order = order_of("P1", 1);

    // All at once, some with the key quoted.
    let keys = ["once", "\"once\""];
    let replies = try_join_all((0..100).map(|i| reply(place(api, keys[i % 2], &order)))).await?;
    let bodies: BTreeSet<String> = replies.iter().map(|(_, _, body)| body.to_string()).collect();
    ensure!(replies.iter().all(|(status, ..)| *status == 202), "{replies:?}");
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let fresh = replies.iter().filter(|(_, headers, _)| !headers.contains_key("idempotency-replayed")).count();
    assert_eq!(fresh, 1, "all but one are repetitions");
    let headers: HashSet<_> = replies.iter().map(|(_, headers, _)| headers["x-correlation-id"].clone()).collect();
    assert_eq!(headers.len(), 1, "{headers:?}");
    let listed = api.get(Service::Order, "/api/orders").await?;
    assert_eq!(listed["orders"].as_array().map(Vec::len), Some(1), "{listed}");
    let id = replies[0].2["orderId"].as_str().context("an id")?.to_owned();
    api.until_final(&id).await?;

    // Later, and in other words, it is still the same request.
    let reworded = json!({"items": [{"unitPrice": 0.0, "quantity": 1, "productId": "P1"}], "currency": "EUR",
                          "totalAmount": 10.00, "customerId": "cust-1"});
    let (status, headers, body) = reply(place(api, "once", &reworded)).await?;
    assert_eq!((status, body.to_string()), (202, replies[0].2.to_string()));
    assert_eq!(headers["idempotency-replayed"], "true");

    // Another request under the same key is refused, and a refused one leaves its key free.
    let (status, _, problem) = reply(place(api, "once", &order_of("P2", 1))).await?;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("Idempotency-Key")), "{problem}");
    assert_eq!(reply(place(api, "free", &order_of("P1", 0))).await?.0, 422);
    let (status, headers, _) = reply(place(api, "free", &order)).await?;
    assert_eq!((status, headers.contains_key("idempotency-replayed")), (202, false));
    for bad in ["", "\"\"", &"k".repeat(256)] {
        assert_eq!(reply(place(api, bad, &order)).await?.0, 422, "{bad:?}");
    }

    // A cancel under a key, too: also once the order has another version.
    let cancel = || post(api, &format!("/api/orders/{id}/cancel")).header("Idempotency-Key", "off");
    let etag = api.request(Method::GET, Service::Order, &format!("/api/orders/{id}")).send().await?;
    let etag = etag.headers()["etag"].clone();
    let (status, headers, first) = reply(cancel().header("If-Match", etag.clone())).await?;
    assert_eq!((status, headers.contains_key("idempotency-replayed")), (202, false), "{first}");
    let (status, headers, again) = reply(cancel().header("If-Match", etag)).await?;
    assert_eq!((status, again), (202, first));
    assert_eq!(headers["idempotency-replayed"], "true");
    assert_eq!(reply(cancel().json(&json!({"reason": "another"}))).await?.0, 422);
    // One that is refused leaves its key free, too.
    let stale = || post(api, &format!("/api/orders/{id}/cancel")).header("Idempotency-Key", "stale");
    assert_eq!(reply(stale().header("If-Match", "\"v0\"")).await?.0, 412);
    assert_eq!(reply(stale().json(&json!({"reason": "another"}))).await?.0, 202);
    api.until(&id, "refunded", |order| order["money"] == "REFUNDED").await?;
    embedded.finish().await
}

#[tokio::test]
async fn a_caller_can_wait_for_the_end_and_keep_what_it_has() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let waiting = |order: &Value| post(api, "/api/orders").header("Prefer", "wait=30").json(order);
    let (status, headers, order) = reply(waiting(&example())).await?;
    assert_eq!((status, &order["status"], &order["money"]), (200, &json!("CONFIRMED"), &json!("CHARGED")), "{order}");
    assert_eq!(order["totalAmount"].to_string(), "99.99");
    assert_eq!(headers["preference-applied"], "wait=30");
    let location = headers["location"].to_str()?.to_owned();
    assert_eq!(location, format!("/api/orders/{}", order["orderId"].as_str().context("an id")?));
    let mut declined = example();
    declined["customerId"] = json!("fail-payment");
    let (status, _, order) = reply(waiting(&declined)).await?;
    assert_eq!((status, &order["reason"]["code"]), (200, &json!("PAYMENT_DECLINED")), "{order}");

    let read = |tag: &str| api.request(Method::GET, Service::Order, &location).header("If-None-Match", tag);
    let etag = headers["etag"].to_str()?;
    let unchanged = read(etag).send().await?;
    assert_eq!((unchanged.status().as_u16(), &unchanged.headers()["etag"]), (304, &headers["etag"]));
    assert_eq!(unchanged.text().await?, "");
    assert_eq!(read("\"v1\"").send().await?.status(), 200);

    // The longest key, in quotes, which do not count.
    let quoted = format!("\"{}\"", "k".repeat(255));
    assert_eq!(reply(place(api, &quoted, &example())).await?.0, 202);
    embedded.finish().await
}

#[tokio::test]
async fn an_order_is_cancelled_only_as_it_is_known() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let id = api.place(&example()).await?;
    let order = api.until_final(&id).await?;
    let cancel = |tag: &str| post(api, &format!("/api/orders/{id}/cancel")).header("If-Match", tag);
    let tag = format!("\"v{}\"", order["version"]);
    for stale in ["\"v1\"", &format!("W/{tag}"), "v3"] {
        let (status, _, problem) = reply(cancel(stale)).await?;
        assert_eq!(status, 412, "{stale}: {problem}");
    }
    // Of many who know the same, one is the first.
    let both = join_all((0..8).map(|_| reply(cancel(&tag)))).await;
    let statuses: Vec<u16> = both.into_iter().map(|reply| Ok(reply?.0)).collect::<Result<_>>()?;
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [202, 412].contains(status)), "{statuses:?}");
    assert_eq!(reply(cancel("*")).await?.0, 202);
    embedded.finish().await
}

#[tokio::test]
async fn lists_stand_still_while_orders_are_placed() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let mut placed = Vec::new();
    for _ in 0..60 {
        placed.push(api.place(&order_of("P1", 1)).await?);
    }
    let mut declined = example();
    declined["customerId"] = json!("fail-payment");
    let failed = api.place(&declined).await?;
    api.until_final(&failed).await?;
    placed.push(failed.clone());

    let placing = async {
        for _ in 0..20 {
            let order = example();
            try_join_all((0..50).map(|_| api.post_order(&order))).await?;
        }
        anyhow::Ok(())
    };
    let listing = async {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = api.get(Service::Order, &format!("/api/orders?limit=7{cursor}")).await?;
            let orders = page["orders"].as_array().with_context(|| page.to_string())?;
            seen.extend(orders.iter().filter_map(|order| order["orderId"].as_str().map(str::to_owned)));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return anyhow::Ok(seen),
            }
        }
    };
    let ((), seen) = futures::try_join!(placing, listing)?;
    let unique: HashSet<&String> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "no order is listed twice");
    let ours: Vec<&String> = seen.iter().filter(|id| placed.contains(id)).collect();
    assert_eq!(ours, placed.iter().rev().collect::<Vec<_>>(), "each is listed, newest first");

    let only = |query: &str| format!("/api/orders?{query}");
    let listed = api.get(Service::Order, &only("status=FAILED&customerId=fail-payment")).await?;
    assert_eq!((&listed["orders"][0]["orderId"], &listed["nextCursor"]), (&json!(failed), &Value::Null), "{listed}");
    let at = listed["orders"][0]["createdAt"].as_str().unwrap_or_default();
    let listed = api.get(Service::Order, &only(&format!("createdFrom={at}&createdTo={at}&status=FAILED"))).await?;
    assert_eq!(listed["orders"][0]["orderId"], json!(failed), "{listed}");
    for wrong in ["limit=0", "limit=101", "cursor=x", "status=LOST", "createdFrom=yesterday"] {
        let status = api.request(Method::GET, Service::Order, &only(wrong)).send().await?.status().as_u16();
        assert!([400, 422].contains(&status), "{wrong}: {status}");
    }
    let stuck = api.get(Service::Order, &only("stuck=true")).await?;
    assert_eq!(stuck["orders"], json!([]), "nothing is past its deadline");
    Ok(())
}

#[tokio::test]
async fn a_timeline_tells_of_all_services() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let mut order = order_of("P4", 2);
    order["contact"] = json!({"email": "a@example.org"});
    let id = api.place(&order).await?;
    api.until_final(&id).await?;
    assert_eq!(post(api, &format!("/api/orders/{id}/cancel")).send().await?.status(), 202);
    let path = format!("/api/orders/{id}/timeline");
    api.until_says(Service::Order, &path, "/next", &json!([])).await?;
    let timeline = api.get(Service::Order, &path).await?;
    let entries = timeline["entries"].as_array().with_context(|| timeline.to_string())?;
    let said: Vec<String> = entries
        .iter()
        .map(|entry| [&entry["kind"], &entry["service"], &entry["name"]].map(|v| v.as_str().unwrap_or("?")).join(" "))
        .collect();
    let has = |what: &str| said.iter().any(|said| said == what);
    assert_eq!(
        said[..3],
        [
            "REQUEST order-service PLACED",
            "TRANSITION order-service AWAITING_PAYMENT",
            "EVENT order-service OrderCreated",
        ]
    );
    for expected in [
        "EVENT payment-service PaymentConfirmed",
        "EVENT inventory-service InventoryReserved",
        "TRANSITION order-service CONFIRMED",
        "EVENT order-service OrderConfirmed",
        "REQUEST order-service CANCEL_REQUESTED",
        "EVENT order-service OrderCancelled",
        "EVENT payment-service PaymentRefunded",
        "EVENT inventory-service InventoryReleased",
    ] {
        assert!(has(expected), "{expected} is not in {said:#?}");
    }
    let times: Vec<&str> = entries.iter().filter_map(|entry| entry["at"].as_str()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(api.get(Service::Order, &format!("/api/orders/{id}")).await?["contact"], order["contact"]);
    embedded.finish().await
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_left() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let follow = |last: Option<&str>| {
        let request = api.request(Method::GET, Service::Order, "/api/orders/events");
        last.map_or(request.try_clone(), |last| Some(request.header("Last-Event-ID", last))).context("a request")
    };
    let mut events = Events::of(follow(None)?).await?;
    let a = api.place(&example()).await?;
    let last = loop {
        let (id, change) = events.next().await?;
        assert_eq!(change["orderId"], json!(a));
        if change["status"] == "CONFIRMED" && change["money"] == "CHARGED" {
            break id;
        }
    };
    drop(events);
    let b = api.place(&example()).await?;
    api.until_final(&b).await?;
    let mut events = Events::of(follow(Some(&last))?).await?;
    let (_, change) = events.next().await?;
    assert_eq!(change["orderId"], json!(b), "what was seen is not told again, and nothing is left out");

    // One order's stream begins with how it stands, and then tells of its changes alone.
    let path = format!("/api/orders/{a}/events");
    let mut one = Events::of(api.request(Method::GET, Service::Order, &path)).await?;
    let (version, order) = one.next().await?;
    assert_eq!((order["status"].as_str(), json!(version)), (Some("CONFIRMED"), json!(order["version"].to_string())));
    api.place(&example()).await?;
    assert_eq!(post(api, &format!("/api/orders/{a}/cancel")).send().await?.status(), 202);
    let (_, order) = one.next().await?;
    assert_eq!((&order["orderId"], &order["status"]), (&json!(a), &json!("CANCELLED")));
    // A stream that is open holds nothing up.
    embedded.finish().await
}
