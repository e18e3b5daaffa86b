//! The whole system on embedded parts, over HTTP.

use anyhow::Result;
use e2e::api::{Service, example, order_of};
use e2e::embedded::Embedded;
use serde_json::json;

#[tokio::test]
async fn orders_come_to_their_ends() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;

    let reply = api.post_order(&example()).await?;
    assert_eq!(reply.status(), 202);
    assert!(reply.headers().contains_key("x-correlation-id"), "{reply:?}");
    let location = reply.headers()["location"].to_str()?.to_owned();
    let confirmed = location.rsplit('/').next().unwrap_or_default().to_owned();
    let order = api.until_final(&confirmed).await?;
    assert_eq!(order["status"], "CONFIRMED", "{order}");
    assert_eq!(order["totalAmount"].to_string(), "99.99", "{order}");
    assert_eq!(api.get(Service::Order, &location).await?["orderId"], order["orderId"]);
    let notices = format!("/api/notifications?orderId={confirmed}");
    api.until_says(Service::Notification, &notices, "/notifications/0/status", &json!("SENT")).await?;

    let mut declined = example();
    declined["customerId"] = json!("fail-payment");
    let declined = api.place(&declined).await?;
    let order = api.until_final(&declined).await?;
    assert_eq!((&order["status"], &order["reason"]["code"]), (&json!("FAILED"), &json!("PAYMENT_DECLINED")));
    let reservations = api.get(Service::Inventory, &format!("/api/reservations?orderId={declined}")).await?;
    assert_eq!(reservations, json!({"reservations": []}));

    let short = api.place(&order_of("P2", 1_000_001)).await?;
    let order = api.until(&short, "refunded", |order| order["money"] == "REFUNDED").await?;
    assert_eq!((&order["status"], &order["reason"]["code"]), (&json!("FAILED"), &json!("OUT_OF_STOCK")));
    let payments = api.get(Service::Payment, &format!("/api/payments?orderId={short}")).await?;
    assert_eq!(payments["payments"][0]["status"], "REFUNDED", "{payments}");
    let payment = format!("/api/payments/{}", payments["payments"][0]["paymentId"].as_str().unwrap_or_default());
    assert_eq!(api.get(Service::Payment, &payment).await?["orderId"], short);
    let stock = api.get(Service::Inventory, "/api/stock/P2").await?;
    assert_eq!(stock, json!({"productId": "P2", "onHand": 1_000_000, "reserved": 0, "available": 1_000_000}));

    embedded.finish().await
}

#[tokio::test]
async fn a_cancelled_order_is_refunded_and_released() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let cancel = |id: &str| api.request(reqwest::Method::POST, Service::Order, &format!("/api/orders/{id}/cancel"));

    let id = api.place(&order_of("P3", 7)).await?;
    api.until_final(&id).await?;
    assert_eq!(cancel(&id).json(&json!({"reason": "ordered twice"})).send().await?.status(), 202);
    assert_eq!(cancel(&id).send().await?.status(), 202, "cancelling again changes nothing");
    let order = api.until(&id, "refunded", |order| order["money"] == "REFUNDED").await?;
    assert_eq!((&order["status"], &order["reason"]["message"]), (&json!("CANCELLED"), &json!("ordered twice")));
    api.until_says(Service::Inventory, "/api/stock/P3", "/reserved", &json!(0)).await?;

    // At once: wherever the saga stands by now, it ends the same way.
    let early = api.place(&order_of("P3", 7)).await?;
    assert_eq!(cancel(&early).send().await?.status(), 202);

    let mut declined = example();
    declined["customerId"] = json!("fail-payment");
    let failed = api.place(&declined).await?;
    api.until_final(&failed).await?;
    assert_eq!(cancel(&failed).send().await?.status(), 409);
    assert_eq!(cancel("00000000-0000-0000-0000-000000000000").send().await?.status(), 404);

    embedded.finish().await
}

#[tokio::test]
async fn the_last_units_are_not_sold_twice() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let set = api.request(reqwest::Method::PUT, Service::Inventory, "/api/stock/LAST").json(&json!({"onHand": 20}));
    assert_eq!(set.send().await?.status(), 200);
    // Two lines of one product count together: three units an order, so six orders fit.
    let line = json!({"productId": "LAST", "quantity": 1, "unitPrice": 0});
    let pair = json!({"productId": "LAST", "quantity": 2, "unitPrice": 0});
    let order = json!({"customerId": "c", "totalAmount": 1, "currency": "USD", "items": [line, pair]});
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(api.place(&order).await?);
    }
    let statuses = api.until_all_final(&ids).await?;
    assert_eq!(statuses, [("CONFIRMED".to_owned(), 6), ("FAILED".to_owned(), 24)].into());
    let adjust = api.request(reqwest::Method::POST, Service::Inventory, "/api/stock/LAST/adjustments");
    let too_much = adjust.json(&json!({"delta": -3, "reason": "broken"})).send().await?;
    assert_eq!(too_much.status(), 409, "eighteen units are held");
    embedded.finish().await
}
