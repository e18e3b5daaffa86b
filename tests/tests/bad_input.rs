//! Bad requests: each gets its status and a problem that names what is wrong, and leaves nothing behind.

use anyhow::{Context, Result};
use e2e::api::{Service, example};
use e2e::embedded::Embedded;
use reqwest::Method;
use serde_json::{Value, json};

/// The example with one field changed.
fn with(pointer: &str, value: Value) -> String {
    let mut order = example();
    *order.pointer_mut(pointer).expect("a field of the example") = value;
    order.to_string()
}

/// The example with the text of a number put in place of its total, as no JSON value could hold it.
fn with_total(text: &str) -> String {
    example().to_string().replace("99.99", text)
}

fn without(field: &str) -> String {
    let mut order = example();
    order.as_object_mut().expect("an object").remove(field);
    order.to_string()
}

#[tokio::test]
async fn every_bad_order_is_refused_by_name_and_leaves_nothing() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;

    let line = json!({"productId": "P1", "quantity": 1, "unitPrice": 1});
    // What is sent, the status, and the field that is named.
    let rows: Vec<(String, u16, Option<&str>)> = vec![
        ("hello".into(), 400, None),
        ("{\"customerId\": \"c".into(), 400, None),
        (String::new(), 400, None),
        (format!("{} x", example()), 400, None),
        ("[".repeat(10_000), 400, None),
        ("[1]".into(), 422, Some("")),
        (with("/items/0", json!(["P1", 1, 1])), 422, Some("/items/0")),
        (with("/customerId", json!("")), 422, Some("/customerId")),
        (with("/customerId", json!("  ")), 422, Some("/customerId")),
        (with("/customerId", json!("a\u{0}b")), 422, Some("/customerId")),
        (with("/customerId", json!("x".repeat(201))), 422, Some("/customerId")),
        (with("/customerId", json!(7)), 422, Some("/customerId")),
        (without("customerId"), 422, Some("/customerId")),
        (without("totalAmount"), 422, Some("/totalAmount")),
        (without("items"), 422, Some("/items")),
        (with("/items", json!([])), 422, Some("/items")),
        (with("/items", json!(vec![line; 501])), 422, Some("/items")),
        (with("/items/0/productId", json!("")), 422, Some("/items/0/productId")),
        (with("/items/0/quantity", json!(0)), 422, Some("/items/0/quantity")),
        (with("/items/0/quantity", json!(-1)), 422, Some("/items/0/quantity")),
        (with("/items/0/quantity", json!(1_000_000_001)), 422, Some("/items/0/quantity")),
        (with("/items/0/quantity", json!("2")), 422, Some("/items/0/quantity")),
        (example().to_string().replace(":2,", ":2.5,"), 422, Some("/items/0/quantity")),
        (with("/items/0/unitPrice", json!(-1)), 422, Some("/items/0/unitPrice")),
        (with("/items/0", json!({"productId": "P1", "quantity": 1})), 422, Some("/items/0/unitPrice")),
        (with("/currency", json!("usd")), 422, Some("/currency")),
        (with("/currency", json!("ZZZ")), 422, Some("/currency")),
        (with("/currency", json!("")), 422, Some("/currency")),
        (with("/totalAmount", json!("99.99")), 422, Some("/totalAmount")),
        (with_total("0"), 422, Some("/totalAmount")),
        (with_total("-1"), 422, Some("/totalAmount")),
        (with_total("0.00001"), 422, Some("/totalAmount")),
        (with_total("99.98999"), 422, Some("/totalAmount")),
        (with_total("1e400"), 422, Some("/totalAmount")),
        (with_total("9223372036854775808"), 422, Some("/totalAmount")),
        (with_total("922337203685477.5808"), 422, Some("/totalAmount")),
        (with_total("99.97"), 422, Some("/totalAmount")),
        (with_total("NaN"), 400, None),
        (with("/customerId", json!("x".repeat(300_000))), 413, None),
    ];
    for (body, status, field) in rows {
        let case = body.chars().take(120).collect::<String>();
        let request =
            api.request(Method::POST, Service::Order, "/api/orders").header("Content-Type", "application/json");
        let reply = request.body(body).send().await.with_context(|| case.clone())?;
        assert_eq!(reply.status(), status, "{case}");
        assert_eq!(reply.headers()["content-type"], "application/problem+json", "{case}");
        assert!(reply.headers().contains_key("x-correlation-id"), "{case}");
        let problem: Value = reply.json().await?;
        assert_eq!(problem["status"], status, "{case}: {problem}");
        assert_eq!(problem["instance"], "/api/orders", "{case}: {problem}");
        assert!(problem["traceId"].as_str().is_some_and(|id| id.len() == 32), "{case}: {problem}");
        let coded = problem["errors"].as_array().into_iter().flatten().all(|error| error["code"].is_string());
        assert!(coded, "{case}: {problem}");
        let pointers: Vec<&str> =
            problem["errors"].as_array().into_iter().flatten().filter_map(|e| e["pointer"].as_str()).collect();
        assert!(field.is_none_or(|field| pointers.contains(&field)), "{case} is not blamed on {field:?}: {problem}");
    }

    let routes = [
        (Method::POST, Service::Order, "/api/orders", Some("text/plain"), 415),
        (Method::POST, Service::Order, "/api/orders", None, 415),
        (Method::GET, Service::Order, "/api/orders/018f4e2a-7b1c-7000-8000-000000000001", None, 404),
        (Method::GET, Service::Order, "/api/orders/7", None, 400),
        (Method::DELETE, Service::Order, "/api/orders", None, 405),
        (Method::POST, Service::Order, "/docs", None, 405),
        (Method::PUT, Service::Payment, "/openapi.json", None, 405),
        (Method::GET, Service::Order, "/docs/more", None, 404),
        (Method::GET, Service::Order, "/nowhere", None, 404),
        (Method::GET, Service::Payment, "/api/payments/none", None, 404),
        (Method::GET, Service::Payment, "/api/payments?attention=maybe", None, 400),
        (Method::GET, Service::Inventory, "/api/stock/none", None, 404),
        (Method::GET, Service::Notification, "/api/notifications?orderId=x", None, 400),
    ];
    for (method, service, path, content_type, status) in routes {
        let case = format!("{method} {path}");
        let mut request = api.request(method, service, path).body("x");
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        let reply = request.send().await?;
        assert_eq!(reply.status(), status, "{case}");
        assert_eq!(reply.headers()["content-type"], "application/problem+json", "{case}");
        assert_eq!(reply.headers().contains_key("allow"), status == 405, "{case}");
    }

    let reply = api.request(Method::GET, Service::Order, "/api/orders/7/timeline").send().await?;
    let problem: Value = reply.json().await?;
    assert_eq!(problem["errors"][0]["pointer"], "orderId", "a parameter of the path has its name: {problem}");
    let mut latin = example().to_string().into_bytes();
    latin.splice(1..1, *b"\"note\":\"caf\xe9\",");
    let request = api.request(Method::POST, Service::Order, "/api/orders").header("Content-Type", "application/json");
    assert_eq!(request.body(latin).send().await?.status(), 400, "JSON is UTF-8, also where nobody reads it");

    // What the caller relies on is not passed over when it cannot be read.
    for name in ["Idempotency-Key", "If-Match"] {
        let value = reqwest::header::HeaderValue::from_bytes(b"caf\xe9")?;
        let reply = api.request(Method::POST, Service::Order, "/api/orders").header(name, value).json(&example());
        assert_eq!(reply.send().await?.status(), 400, "{name}");
    }
    let cancel = "/api/orders/018f4e2a-7b1c-7000-8000-000000000001/cancel";
    let reply = api.request(Method::POST, Service::Order, cancel).json(&json!([])).send().await?;
    assert_eq!(reply.status(), 422, "an array is no body");

    assert_eq!(embedded.orders().await?, 0, "a refused request left an order");
    Ok(())
}

#[tokio::test]
async fn amounts_are_kept_to_the_last_place() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    for total in ["12345678901234.5678", "922337203685477.5807", "0.01", "100", "1e3"] {
        let body = with_total(total).replace("49.99", "0");
        let request =
            api.request(Method::POST, Service::Order, "/api/orders").header("Content-Type", "application/json");
        let reply: Value = request.body(body).send().await?.json().await?;
        let id = reply["orderId"].as_str().with_context(|| format!("{total}: {reply}"))?;
        let order = api.until_final(id).await?;
        assert_eq!(order["totalAmount"].to_string(), total.replace("1e3", "1000"));
    }
    embedded.stop().await;
    Ok(())
}
