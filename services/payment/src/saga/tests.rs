use super::*;
use contracts::EventType;
use proptest::prelude::*;
use testkit::{Column, Row, Story, golden, table};
use uuid::Uuid;

const ORDER: OrderId = OrderId(Uuid::from_u128(1));

fn total() -> Money {
    Money::from_ten_thousandths(999_900)
}

fn created(unpayable: Option<&str>) -> Input {
    Input::OrderCreated {
        customer_id: "cust-1".into(),
        amount: total().into(),
        currency: "USD".into(),
        unpayable: unpayable.map(Into::into),
    }
}

fn request(amount: Money) -> RefundRequest {
    RefundRequest {
        order_id: ORDER,
        refund_id: RefundId("refund-1".into()),
        payment_id: PaymentId::of(ORDER),
        amount: amount.into(),
        currency: "USD".into(),
        reason: "not enough stock".into(),
    }
}

fn inputs() -> Vec<Row<'static, PaymentSaga>> {
    vec![
        ("`order.created`", created(None)),
        ("`order.created`, impossible", created(Some("no items"))),
        ("`payment.refund.requested`", Input::RefundRequested(request(total()))),
        ("`payment.refund.requested`, of another amount", Input::RefundRequested(request(Money::MAX))),
        ("`order.failed` or `order.cancelled`", Input::Closed("closed".into())),
        ("provider: charged", Input::Charged),
        ("provider: declined", Input::Declined("declined".into())),
        ("provider: refunded", Input::RefundDone),
        ("provider: no outcome", Input::NoOutcome { error: "timeout".into(), retry_at: Timestamp(7) }),
    ]
}

fn states() -> Vec<Column<'static, PaymentSaga>> {
    let known = |stage: Stage| Payment { stage, amount: total(), currency: "USD".into(), ..Payment::default() };
    let refund = Some(Refund { requested_as: None, reason: "closed".into() });
    Stage::ALL
        .iter()
        .map(|stage| {
            let payment = match stage {
                Stage::Unknown => Payment::default(),
                Stage::RefundHeld => Payment { stage: *stage, held: Some(request(total())), ..Payment::default() },
                Stage::Closed => Payment { stage: *stage, reason: Some("closed".into()), ..Payment::default() },
                Stage::Charging | Stage::Confirmed | Stage::Failed => known(*stage),
                Stage::ChargingToRefund | Stage::Refunding | Stage::Refunded => {
                    Payment { refund: refund.clone(), ..known(*stage) }
                }
            };
            (stage.name(), payment)
        })
        .collect()
}

fn name(event: &Event) -> String {
    let debug = format!("{event:?}");
    debug.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn every_cell_is_as_documented() {
    let text = format!(
        "# The saga of payment-service\n\nGenerated from `services/payment/src/saga.rs`; a test keeps it true.\n\nThe \
         columns are the stages. In bold: what happens. *Duplicate*, *late* and *unreachable* change nothing.\n\
         `Confirmed`, `Failed` and `Refunded` are told to the others as `payment.confirmed`, `payment.failed` and\n\
         `payment.refunded`. In `CHARGING`, `CHARGING_TO_REFUND` and `REFUNDING` the provider is asked until it \
         answers.\n\n{}",
        table(&PaymentSaga, &states(), &inputs(), name)
    );
    golden("docs/sagas/payment.md", &text);
}

/// A provider that gives no outcome a few times and then the one it was made for, once per key.
fn see_through(story: &mut Story<PaymentSaga>, declines: bool, mut silences: u8) {
    while let Some((_, Due::Outside(effect))) = PaymentSaga::due(&story.instance.state) {
        let input = match effect {
            _ if silences > 0 => {
                silences -= 1;
                Input::NoOutcome { error: "timeout".into(), retry_at: Timestamp(1) }
            }
            Effect::Charge(_) if declines => Input::Declined("declined".into()),
            Effect::Charge(_) => Input::Charged,
            Effect::Refund(_) => Input::RefundDone,
        };
        story.feed(input);
    }
}

fn message() -> impl Strategy<Value = Input> {
    // What comes from the log; the provider is played by `see_through`.
    (0..5_usize).prop_map(|i| inputs().swap_remove(i).1)
}

proptest! {
    #[test]
    fn money_moves_at_most_once_each_way(
        messages in prop::collection::vec((message(), any::<bool>()), 0..15),
        declines: bool,
        silences in 0..3_u8,
    ) {
        let mut story = Story::<PaymentSaga>::default();
        for (message, provider_answers) in messages {
            story.feed(message);
            if provider_answers {
                see_through(&mut story, declines, silences);
            }
        }
        see_through(&mut story, declines, silences);
        let confirmed = story.told(EventType::PaymentConfirmed);
        prop_assert!(confirmed + story.told(EventType::PaymentFailed) <= 1, "two answers: {story}");
        prop_assert!(story.told(EventType::PaymentRefunded) <= confirmed, "a refund without its charge: {story}");
    }

    #[test]
    fn a_closed_order_keeps_no_money(
        messages in Just(vec![
            created(None),
            Input::Closed("closed".into()),
            Input::RefundRequested(request(total())),
        ]).prop_shuffle(),
        answers in prop::collection::vec(any::<bool>(), 3),
        declines: bool,
    ) {
        let mut story = Story::<PaymentSaga>::default();
        let closed_first = messages.iter().position(|m| matches!(m, Input::Closed(_)))
            < messages.iter().position(|m| matches!(m, Input::OrderCreated { .. }));
        for (message, answer) in messages.into_iter().zip(answers) {
            story.feed(message);
            if answer {
                see_through(&mut story, declines, 0);
            }
        }
        see_through(&mut story, declines, 0);
        let expected = if closed_first || declines { Stage::Failed } else { Stage::Refunded };
        prop_assert_eq!(story.instance.state.stage, expected, "{}", story);
        prop_assert_eq!(story.told(EventType::PaymentFailed), usize::from(expected == Stage::Failed), "{}", story);
    }
}

#[test]
fn a_refund_bears_the_name_of_its_first_request() {
    let rows: [(&str, Vec<Input>, Option<&str>); 4] = [
        ("closed only", vec![created(None), Input::Charged, Input::Closed("c".into())], None),
        ("requested", vec![created(None), Input::Charged, Input::RefundRequested(request(total()))], Some("refund-1")),
        (
            "closed, then requested",
            vec![created(None), Input::Charged, Input::Closed("c".into()), Input::RefundRequested(request(total()))],
            Some("refund-1"),
        ),
        (
            "requested before the order",
            vec![Input::RefundRequested(request(total())), created(None), Input::Charged],
            Some("refund-1"),
        ),
    ];
    for (case, inputs, expected) in rows {
        let mut story = Story::<PaymentSaga>::default();
        for input in inputs {
            story.feed(input);
        }
        see_through(&mut story, false, 0);
        let own = RefundId::of(&PaymentId::of(ORDER));
        let expected = expected.map_or(own, |name| RefundId(name.into()));
        match story.emitted.last() {
            Some(Payload::PaymentRefunded(refunded)) => assert_eq!(refunded.refund_id, expected, "{case}: {story}"),
            other => panic!("{case}: {other:?} and no refund: {story}"),
        }
    }
}

#[test]
fn a_request_for_something_else_is_refused_and_seen() {
    let mut story = Story::<PaymentSaga>::default();
    for input in [created(None), Input::Charged, Input::RefundRequested(request(Money::MAX))] {
        story.feed(input);
    }
    assert_eq!(story.instance.state.stage, Stage::Confirmed, "{story}");
    assert!(story.instance.state.attention.is_some(), "{story}");
}
