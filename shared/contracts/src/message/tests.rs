use super::*;
use crate::{Contact, Money, PaymentRefunded, RefundId, Status};

const ORDER: &str = "018f4e2a-7b1c-7000-8000-000000000001";
const CREATED: &str = r#"{"eventId":"018f4e2a-7b1c-7000-8000-0000000000aa","eventType":"OrderCreated","version":"1.0","correlationId":"c-1","timestamp":"2026-01-01T00:00:00Z","payload":{"orderId":"018f4e2a-7b1c-7000-8000-000000000001","customerId":"cust-1","totalAmount":99.99,"currency":"USD","items":[{"productId":"P1","quantity":2,"unitPrice":49.99}]}}"#;

fn read(value: &str) -> Result<Decoded, BadMessage> {
    decode("order.created", Some(ORDER.as_bytes()), Some(value.as_bytes()))
}

fn created() -> Envelope {
    match read(CREATED) {
        Ok(Decoded::Event(envelope)) => envelope,
        other => panic!("{other:?}"),
    }
}

fn with_payload(payload: &str) -> String {
    let (envelope, _) = CREATED.split_once(r#""payload":"#).unwrap();
    format!(r#"{envelope}"payload":{payload}}}"#)
}

/// No database of ours takes NUL in every text, and an event with it is no reason to give up its order.
#[test]
fn nul_is_read_as_another_character() {
    let rows = [
        (r"cust\u0000", "cust\u{fffd}"),
        (r"\u0000\u0000x", "\u{fffd}\u{fffd}x"),
        (r"cust\\u0000", r"cust\u0000"),
        (r"cust\\\u0000", "cust\\\u{fffd}"),
    ];
    for (written, expected) in rows {
        let Ok(Decoded::Event(envelope)) = read(&CREATED.replace("cust-1", written)) else { panic!("{written}") };
        let Payload::OrderCreated(created) = envelope.payload else { panic!("{written}") };
        assert_eq!(created.customer_id, expected, "{written}");
    }
}

#[test]
fn what_is_read_is_written_again_field_for_field() {
    let written = String::from_utf8(created().encode(Timestamp(1_767_225_600_000_000))).unwrap();
    assert_eq!(written, CREATED.replace("00:00:00Z", "00:00:00.000Z"));
}

#[test]
fn readers_are_liberal_where_the_contract_is() {
    let rows = [
        ("unknown fields", CREATED.replace(r#""payload":{"#, r#""extra":[[1]],"payload":{"contact":{"a":1},"#)),
        ("a newer minor version", CREATED.replace(r#""1.0""#, r#""1.7""#)),
        ("a whole number with places", CREATED.replace(r#""quantity":2"#, r#""quantity":2.0"#)),
        ("an impossible quantity", CREATED.replace(r#""quantity":2"#, r#""quantity":1e30"#)),
        ("an empty correlation id", CREATED.replace("c-1", "")),
        ("no correlation id", CREATED.replace(r#""correlationId":"c-1","#, "")),
        ("a null correlation id", CREATED.replace(r#""c-1""#, "null")),
        ("no timestamp", CREATED.replace(r#""timestamp":"2026-01-01T00:00:00Z","#, "")),
        ("a timestamp in milliseconds", CREATED.replace(r#""2026-01-01T00:00:00Z""#, "1767225600000")),
        ("an impossible amount", CREATED.replace("99.99", "-1e400")),
        ("no items", CREATED.replace(r#"{"productId":"P1","quantity":2,"unitPrice":49.99}"#, "")),
    ];
    for (case, value) in rows {
        assert!(matches!(read(&value), Ok(Decoded::Event(_))), "{case}: {:?}", read(&value));
    }
    let unknown = read(&with_payload("null").replace("OrderCreated", "OrderShipped"));
    assert_eq!(unknown, Ok(Decoded::UnknownType("OrderShipped".into())));
    // A known type on another type's topic is unknown there.
    let stray = decode("payment.confirmed", Some(ORDER.as_bytes()), Some(CREATED.as_bytes()));
    assert_eq!(stray, Ok(Decoded::UnknownType("OrderCreated".into())));
}

#[test]
fn what_is_impossible_cannot_be_paid() {
    let rows = [
        ("99.99,", "0,", "the amount 0 is not positive"),
        ("99.99,", "0.00001,", "the amount 0.00001 has more than 4 decimal places"),
        ("USD", "XYZ", "\"XYZ\" is not a currency of ISO 4217"),
        ("49.99", "-5", "\"P1\" cannot cost -5"),
        ("49.99", "1e400", "\"P1\" cannot cost 1e+400"),
        (r#""quantity":2"#, r#""quantity":0"#, "a quantity of 0 of \"P1\" cannot be delivered"),
        (r#"{"productId":"P1","quantity":2,"unitPrice":49.99}"#, "", "the order has no items"),
    ];
    for (written, impossible, expected) in rows {
        let Ok(Decoded::Event(envelope)) = read(&CREATED.replace(written, impossible)) else { panic!("{impossible}") };
        let Payload::OrderCreated(created) = envelope.payload else { panic!("{impossible}") };
        assert_eq!(created.unpayable().as_deref(), Some(expected));
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let rows = [
        ("empty", String::new(), "no value"),
        ("not JSON", "hello".into(), "envelope"),
        ("truncated", CREATED[..100].into(), "envelope"),
        ("deep", deep, "envelope"),
        (
            "no event id",
            CREATED.replace(r#""eventId":"018f4e2a-7b1c-7000-8000-0000000000aa","#, ""),
            "missing field `eventId`",
        ),
        ("no payload", CREATED.replace(r#""payload":{"#, r#""other":{"#), "missing field `payload`"),
        ("an array in place of the envelope", r#"["018f4e2a-7b1c-7000-8000-0000000000aa"]"#.into(), "not an object"),
        (
            "an array in place of a line",
            CREATED.replace(r#"{"productId":"P1","quantity":2,"unitPrice":49.99}"#, r#"["P1",2,49.99]"#),
            "invalid type",
        ),
        ("an array in place of the payload", with_payload("[1,2]"), "not an object"),
        ("an unknown major version", CREATED.replace(r#""1.0""#, r#""2.0""#), "version \"2.0\""),
        ("a missing field", CREATED.replace(r#""customerId":"cust-1","#, ""), "missing field `customerId`"),
        ("a wrong type", CREATED.replace(r#""quantity":2"#, r#""quantity":"2""#), "invalid type"),
        ("an amount in quotes", CREATED.replace("99.99", r#""99.99""#), "invalid type"),
        ("half a unit", CREATED.replace(r#""quantity":2"#, r#""quantity":2.5"#), "payload of OrderCreated"),
    ];
    for (case, value, expected) in rows {
        match read(&value) {
            Err(error) => assert!(error.to_string().contains(expected), "{case}: {error}"),
            Ok(decoded) => panic!("{case} was read as {decoded:?}"),
        }
    }
    assert_eq!(decode("order.created", None, None), Err(BadMessage::NoValue));
    assert!(matches!(decode("order.created", None, Some(&[0xff, 0xfe])), Err(BadMessage::NotUtf8(_))));
    for key in [None, Some(&b"other"[..]), Some(b"018f4e2a-7b1c-7000-8000-000000000002")] {
        let read = decode("order.created", key, Some(CREATED.as_bytes()));
        assert!(matches!(read, Err(BadMessage::WrongKey { .. })), "{key:?}: {read:?}");
    }
}

#[test]
fn amounts_are_numbers_on_the_wire() {
    let Payload::OrderCreated(order) = created().payload else { panic!("another payload") };
    let refunded = PaymentRefunded {
        refund_id: RefundId("r".into()),
        payment_id: crate::PaymentId::of(order.order_id),
        order_id: order.order_id,
        customer_id: order.customer_id,
        amount: Money::MAX,
        currency: order.currency,
        status: Status::Refunded,
        reason: "short".into(),
        contact: None,
    };
    let text = serde_json::to_string(&refunded).unwrap();
    assert!(text.contains(r#""amount":922337203685477.5807,"currency":"USD","status":"REFUNDED""#), "{text}");
}

#[test]
fn a_contact_is_an_extra_that_holds_nothing_up() {
    let contact_of = |contact: &str| {
        let value = CREATED.replace(r#""items""#, &format!(r#""contact":{contact},"items""#));
        match read(&value) {
            Ok(Decoded::Event(Envelope { payload: Payload::OrderCreated(order), .. })) => order.contact,
            other => panic!("{contact}: {other:?}"),
        }
    };
    let (email, url) = ("a@example.org", "https://example.org/hook");
    let known = |email: Option<&str>, url: Option<&str>| {
        Some(Contact { email: email.map(str::to_owned), webhook_url: url.map(str::to_owned) })
    };
    assert_eq!(contact_of(&format!(r#"{{"email":"{email}","webhookUrl":"{url}"}}"#)), known(Some(email), Some(url)));
    assert_eq!(contact_of(&format!(r#"{{"email":"{email}","fax":[1]}}"#)), known(Some(email), None));
    assert_eq!(contact_of(&format!(r#"{{"email":null,"webhookUrl":"{url}"}}"#)), known(None, Some(url)));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!(r#"{{"email":"{}"}}"#, "a".repeat(Contact::MAX_EMAIL + 1));
    for unusable in
        ["null", "{}", "1e400", "[]", r#""a@example.org""#, r#"{"email":1}"#, r#"{"email":"a\u0000"}"#, &deep, &long]
    {
        assert_eq!(contact_of(unusable), None, "{unusable:.40}");
    }
}

#[test]
fn a_contact_is_written_where_there_is_one() {
    let Payload::OrderCreated(mut order) = created().payload else { panic!("another payload") };
    assert!(!serde_json::to_string(&order).unwrap().contains("contact"));
    order.contact = Some(Contact { email: Some("a@example.org".into()), webhook_url: None });
    let text = serde_json::to_string(&order).unwrap();
    assert!(text.ends_with(r#","contact":{"email":"a@example.org"}}"#), "{text}");
}

#[test]
fn the_examples_are_read_and_written_again() {
    for event_type in EventType::ALL {
        let example: serde_json::Value = serde_json::from_str(event_type.example()).unwrap();
        let key = example["payload"]["orderId"].as_str().unwrap();
        let read = decode(event_type.topic(), Some(key.as_bytes()), Some(event_type.example().as_bytes()));
        let Ok(Decoded::Event(envelope)) = read else { panic!("{event_type:?}: {read:?}") };
        let mut written: serde_json::Value = serde_json::from_slice(&envelope.encode(Timestamp(0))).unwrap();
        written["timestamp"] = example["timestamp"].clone();
        assert_eq!(written, example);
    }
}
