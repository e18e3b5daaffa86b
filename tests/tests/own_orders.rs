//! A customer has its own orders alone, whichever way it asks: another's are not there.

use anyhow::{Context, Result, ensure};
use e2e::api::{Service, example};
use e2e::embedded::Embedded;
use e2e::events::Events;
use e2e::tokens::{AUDIENCE, ISSUER, claims, hs256, token};
use reqwest::{Method, RequestBuilder};
use runtime::config::{AccessSettings, Auth, Secret};
use serde_json::{Value, json};
use std::slice;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOBODYS: &str = "018f4e2a-7b1c-7000-8000-000000000001";
const OWN: [&str; 2] = ["cust-a", "cust-b"];

/// What two customers and an operator show to be let in.
struct Callers {
    customers: [String; 2],
    operator: String,
}

fn order_of(customer: &str) -> Value {
    let mut order = example();
    order["customerId"] = json!(customer);
    order
}

fn request(guarded: &Embedded, method: Method, path: &str, credential: &str) -> RequestBuilder {
    guarded.api.request(method, Service::Order, path).bearer_auth(credential)
}

async fn answer(request: RequestBuilder) -> Result<(u16, Value)> {
    // In one trace, so that nothing but what the service says can differ.
    let reply = request.header("traceparent", TRACE).send().await?;
    Ok((reply.status().as_u16(), reply.json().await?))
}

/// The ids of a list.
async fn listed(guarded: &Embedded, query: &str, credential: &str) -> Result<Vec<Value>> {
    let (status, list) = answer(request(guarded, Method::GET, &format!("/api/orders{query}"), credential)).await?;
    ensure!(status == 200, "{query}: {list}");
    let orders = list["orders"].as_array().with_context(|| list.to_string())?;
    Ok(orders.iter().map(|order| order["orderId"].clone()).collect())
}

/// Follows the changes of all orders until one says this, and returns where the stream was then. All that it tells of is
/// this order.
async fn until(events: &mut Events, order: &Value, field: &str, value: &str) -> Result<String> {
    loop {
        let (id, change) = events.next().await?;
        ensure!(&change["orderId"] == order, "this is not of {order}: {change}");
        if change[field] == value {
            return Ok(id);
        }
    }
}

async fn two_customers_stay_apart(set: impl FnOnce(&mut AccessSettings), callers: Callers) -> Result<()> {
    let guarded = &Embedded::guarded(set).await?;
    let Callers { customers, operator } = &callers;
    let follow = |credential: &str| request(guarded, Method::GET, "/api/orders/events", credential);
    let mut streams = [Events::of(follow(&customers[0])).await?, Events::of(follow(&customers[1])).await?];

    // Keys belong to their callers: the same one is two requests.
    let mut orders = Vec::new();
    let mut positions = Vec::new();
    for (credential, own) in customers.iter().zip(OWN) {
        let placing = request(guarded, Method::POST, "/api/orders", credential).header("Idempotency-Key", "first");
        let (status, placed) = answer(placing.json(&order_of(own))).await?;
        assert_eq!(status, 202, "{placed}");
        orders.push(placed["orderId"].clone());
    }
    assert_ne!(orders[0], orders[1]);
    for (events, order) in streams.iter_mut().zip(&orders) {
        positions.push(until(events, order, "status", "CONFIRMED").await?);
    }

    for (me, credential) in customers.iter().enumerate() {
        let (own, other) = (&orders[me], &orders[1 - me]);
        let (id, others) = (own.as_str().context("an id")?, other.as_str().context("an id")?);
        let (status, before) = answer(request(guarded, Method::GET, &format!("/api/orders/{id}"), credential)).await?;
        assert_eq!((status, &before["customerId"]), (200, &json!(OWN[me])), "{before}");

        // Another's order is answered as one that there never was.
        for (method, path) in
            [(Method::GET, ""), (Method::GET, "/timeline"), (Method::GET, "/events"), (Method::POST, "/cancel")]
        {
            let ask = |id: &str| {
                let asked = request(guarded, method.clone(), &format!("/api/orders/{id}{path}"), credential);
                answer(asked.header("Prefer", "wait=1").header("If-Match", "*").header("Idempotency-Key", "first"))
            };
            let (status, problem) = ask(others).await?;
            let (unknown, expected) = ask(NOBODYS).await?;
            assert_eq!((status, unknown), (404, 404), "{method} {path}: {problem}");
            assert_eq!(problem.to_string().replace(others, NOBODYS), expected.to_string(), "{method} {path}");
        }
        assert_eq!(listed(guarded, "", credential).await?, slice::from_ref(own));
        assert_eq!(listed(guarded, "?status=CONFIRMED&limit=1", credential).await?, slice::from_ref(own));
        let wanted = format!("?customerId={}", OWN[1 - me]);
        assert!(listed(guarded, &wanted, credential).await?.is_empty(), "a filter widens nothing");

        let placing = request(guarded, Method::POST, "/api/orders", credential).json(&order_of(OWN[1 - me]));
        let (status, problem) = answer(placing).await?;
        assert_eq!((status, &problem["type"]), (403, &json!("urn:order-system:problem:forbidden")), "{problem}");

        // Also with the place of the other's stream: what follows is one's own.
        let mut resumed = Events::of(follow(credential).header("Last-Event-ID", &positions[1 - me])).await?;
        let cancel = request(guarded, Method::POST, &format!("/api/orders/{id}/cancel"), credential);
        assert_eq!(answer(cancel).await?.0, 202);
        for events in [&mut streams[me], &mut resumed] {
            until(events, own, "money", "REFUNDED").await?;
        }
    }

    let mut all = listed(guarded, "", operator).await?;
    all.reverse();
    assert_eq!(all, orders, "an operator sees both, and nothing was placed in another's name");
    Ok(())
}

#[tokio::test]
async fn customers_with_keys_stay_apart() -> Result<()> {
    let [a, b, operator] = ["the-key-of-customer-a", "the-key-of-customer-b", "the-key-of-an-operator"];
    let keys = format!("a:{a}:customer:cust-a,b:{b}:customer:cust-b,ops:{operator}:operator");
    let set = |access: &mut AccessSettings| {
        access.auth = Some(Auth::ApiKey);
        access.api_keys = Some(Secret::from(keys));
    };
    let callers = Callers { customers: [a, b].map(str::to_owned), operator: operator.to_owned() };
    two_customers_stay_apart(set, callers).await
}

#[tokio::test]
async fn customers_with_tokens_stay_apart() -> Result<()> {
    let secret = "a secret of at least 32 bytes, or more";
    let of = |all: Value| token(&json!({"alg": "HS256"}), &claims(all), hs256(secret.as_bytes()));
    // One is known by the claim that says so, the other by its name alone.
    let a = of(json!({"sub": "u-1", "role": "customer", "customer_id": "cust-a"}));
    let b = of(json!({"sub": "cust-b", "role": null}));
    let callers = Callers { customers: [a, b], operator: of(json!({"role": "operator"})) };
    let set = |access: &mut AccessSettings| {
        access.auth = Some(Auth::Jwt);
        access.jwt_issuer = Some(ISSUER.into());
        access.jwt_audience = Some(AUDIENCE.into());
        access.jwt_secret = Some(Secret::from(secret.to_owned()));
    };
    two_customers_stay_apart(set, callers).await
}
