use super::*;
use crate::saga::{Channel, Details, Status};

/// The published test vector: <https://github.com/standard-webhooks/standard-webhooks>.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn notice(to: &str) -> Notice {
    Notice {
        occasion: Occasion::PaymentRefunded,
        channel: Channel::Webhook,
        status: Status::Pending,
        customer_id: "cust-1".into(),
        text: "We have returned it.".into(),
        attempts: 0,
        retry_at: 0,
        to: Some(to.to_owned()),
        details: Details {
            amount: Some(Money::from_ten_thousandths(999_900)),
            currency: Some("USD".into()),
            ..Details::default()
        },
        recorded_at: 1_700_000_000_123_456,
        deliveries: 0,
        last_error: None,
    }
}

#[test]
fn signatures_are_those_of_the_specification() {
    let signature =
        Secret::parse(SECRET).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_secret_is_long_enough_and_marked_as_one() {
    assert!(Secret::parse(&format!("{SECRET}\n")).is_ok());
    for wrong in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64"] {
        assert!(Secret::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_message_is_the_same_in_every_repetition() {
    let (order, id) = (OrderId(Uuid::from_u128(1)), Uuid::from_u128(2));
    let body = body(order, id, &notice("https://example.org")).unwrap();
    let expected = concat!(
        r#"{"type":"payment.refunded","timestamp":"2023-11-14T22:13:20.123Z","data":{"#,
        r#""notificationId":"00000000-0000-0000-0000-000000000002","#,
        r#""orderId":"00000000-0000-0000-0000-000000000001","customerId":"cust-1","#,
        r#""occasion":"PAYMENT_REFUNDED","text":"We have returned it.","amount":99.99,"currency":"USD"}}"#
    );
    assert_eq!(body, expected);
}

#[test]
fn only_public_addresses_are_posted_to() {
    for public in ["1.1.1.1", "192.88.98.1", "2606:4700::1111", "::ffff:8.8.8.8", "2001:4860:4860::8888"] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
    let private = [
        "127.0.0.1",
        "127.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
    ];
    for private in private {
        assert!(!is_public(private.parse().unwrap()), "{private}");
    }
}

#[tokio::test]
async fn what_leads_inside_is_refused_before_anything_is_connected_to() {
    let strict = Webhooks::new(Secret::parse(SECRET).unwrap(), false).unwrap();
    let rows = [
        ("https://127.0.0.1/", "not public"),
        ("https://[::1]:8443/", "not public"),
        // Other ways to write 127.0.0.1.
        ("https://2130706433/", "not public"),
        ("https://0x7f.1/", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("http://example.org/", "must begin with https"),
        ("file:///etc/passwd", "must begin with https"),
        ("nonsense", "relative URL"),
    ];
    for (url, expected) in rows {
        let failure = strict.url(url).unwrap_err();
        assert!(failure.error.contains(expected) && failure.for_good, "{url}: {failure:?}");
    }
    // A name is refused by what it leads to.
    let (order, id) = (OrderId(Uuid::from_u128(1)), Uuid::from_u128(2));
    let failure = strict.post(order, id, &notice("https://localhost:1/"), Timestamp(0)).await.unwrap_err();
    assert!(failure.error.contains("it has no public address"), "{failure:?}");
}
