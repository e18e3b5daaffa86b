use super::*;
use contracts::{EventType, PaymentId};
use proptest::prelude::*;
use runtime::saga::Named;
use testkit::{Column, Row, Story, golden, table};
use uuid::Uuid;

const ORDER: OrderId = OrderId(Uuid::from_u128(1));

fn total() -> Money {
    Money::from_ten_thousandths(999_900)
}

fn contact() -> Contact {
    Contact { email: Some("a@example.org".into()), webhook_url: None }
}

fn created(unpayable: Option<&str>) -> Input {
    Input::OrderCreated {
        customer_id: "cust-1".into(),
        amount: total().into(),
        currency: "USD".into(),
        contact: Some(contact()),
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

fn no_outcome() -> Input {
    Input::NoOutcome { error: "timeout".into(), retry_at: Timestamp(7) }
}

fn resolved() -> Input {
    Input::Operator(Wish::ResolveRefund("by bank transfer".into()))
}

fn acknowledged() -> Input {
    Input::Operator(Wish::Acknowledge("a mistake of theirs".into()))
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
        ("provider: refund refused", Input::RefundRefused("account closed".into())),
        ("provider: no outcome", no_outcome()),
        ("operator: ask for the refund again", Input::Operator(Wish::RetryRefund)),
        ("operator: given back by other means", resolved()),
        ("operator: looked at", acknowledged()),
    ]
}

fn states() -> Vec<Column<'static, PaymentSaga>> {
    let known = |stage: Stage| Payment { stage, amount: total(), currency: "USD".into(), ..Payment::default() };
    let refund = Some(Refund { requested_as: None, reason: "closed".into(), note: None });
    Stage::ALL
        .iter()
        .map(|stage| {
            let payment = match stage {
                Stage::Unknown => Payment::default(),
                Stage::RefundHeld => Payment { stage: *stage, held: vec![request(total())], ..Payment::default() },
                Stage::Closed => Payment { stage: *stage, reason: Some("closed".into()), ..Payment::default() },
                Stage::Charging | Stage::Confirmed | Stage::Failed => known(*stage),
                Stage::ChargingToRefund | Stage::Refunding | Stage::RefundRefused | Stage::Refunded => {
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
        "# The saga of payment-service\n\nGenerated from `services/payment/src/saga/decide.rs`; a test keeps it true.\n\nThe \
         columns are the stages. In bold: what happens. *Duplicate*, *late* and *unreachable* change nothing.\n\
         `Confirmed`, `Failed` and `Refunded` are told to the others as `payment.confirmed`, `payment.failed` and\n\
         `payment.refunded`. In `CHARGING`, `CHARGING_TO_REFUND` and `REFUNDING` the provider is asked until it \
         answers;\nwith the tenth attempt without an outcome the payment needs attention besides \
         (**AttentionNeeded**). In\n`REFUND_REFUSED` it is not asked any more, \
         until an operator says so.\n\n{}",
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
                no_outcome()
            }
            Effect::Charge(_) if declines => Input::Declined("declined".into()),
            Effect::Charge(_) => Input::Charged,
            Effect::Refund(_) => Input::RefundDone,
        };
        story.feed(input);
    }
}

fn message() -> impl Strategy<Value = Input> {
    // What comes from the log and from operators; the provider is played by `see_through`.
    prop_oneof![
        5 => (0..5_usize).prop_map(|i| inputs().swap_remove(i).1),
        1 => prop_oneof![Just(Input::Operator(Wish::RetryRefund)), Just(resolved()), Just(acknowledged())],
    ]
}

proptest! {
    #[test]
    fn money_moves_at_most_once_each_way(
        messages in prop::collection::vec((message(), any::<bool>()), 0..15),
        declines: bool,
        silences in 0..15_u8,
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
fn a_wrong_request_is_not_in_the_way_of_the_right_one() {
    let [wrong, right] = [request(Money::MAX), request(total())].map(Input::RefundRequested);
    let mut inputs = [wrong, right, created(None)];
    for turn in 0..inputs.len() {
        inputs.rotate_left(1);
        for inputs in [inputs.to_vec(), inputs.iter().rev().cloned().collect()] {
            let mut story = Story::<PaymentSaga>::default();
            for input in inputs {
                story.feed(input);
            }
            see_through(&mut story, false, 0);
            assert_eq!(story.instance.state.stage, Stage::Refunded, "turn {turn}: {story}");
            assert_eq!(concerns(&story), [Concern::RequestRefused], "turn {turn}: {story}");
        }
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
            Some(Payload::PaymentRefunded(refunded)) => {
                assert_eq!(refunded.refund_id, expected, "{case}: {story}");
                assert_eq!(refunded.contact, Some(contact()), "{case}: {story}");
            }
            other => panic!("{case}: {other:?} and no refund: {story}"),
        }
    }
}

/// A charged payment whose refund is under way, and has been in vain so often.
fn refunding(in_vain: u32) -> Story<PaymentSaga> {
    let mut story = Story::<PaymentSaga>::default();
    for input in [created(None), Input::Charged, Input::Closed("closed".into())] {
        story.feed(input);
    }
    for _ in 0..in_vain {
        story.feed(no_outcome());
    }
    story
}

fn concerns(story: &Story<PaymentSaga>) -> Vec<Concern> {
    story.instance.state.attention.keys().copied().collect()
}

#[test]
fn a_charge_or_refund_without_outcome_needs_attention_and_is_still_asked_for() {
    let mut charging = Story::<PaymentSaga>::default();
    charging.feed(created(None));
    for (mut story, concern, outcome) in [
        (charging, Concern::ChargeWithoutOutcome, Input::Charged),
        (refunding(0), Concern::RefundWithoutOutcome, Input::RefundDone),
    ] {
        for attempt in 1..=20 {
            story.feed(no_outcome());
            let expected: &[Concern] = if attempt < 10 { &[] } else { &[concern] };
            assert_eq!(concerns(&story), expected, "attempt {attempt}: {story}");
            let due = PaymentSaga::due(&story.instance.state);
            assert!(matches!(due, Some((Timestamp(7), Due::Outside(_)))), "{story}");
        }
        story.feed(outcome);
        assert_eq!(concerns(&story), [], "{story}");
        assert_eq!((story.instance.state.attempts, &story.instance.state.last_error), (0, &None), "{story}");
    }
}

#[test]
fn a_refused_refund_waits_for_an_operator() {
    let mut story = refunding(12);
    story.feed(Input::RefundRefused("account closed".into()));
    assert_eq!(concerns(&story), [Concern::RefundRefused], "{story}");
    assert_eq!(PaymentSaga::due(&story.instance.state), None, "{story}");
    assert!(!story.feed(Input::Closed("again".into())), "{story}");

    story.feed(Input::Operator(Wish::RetryRefund));
    assert!(matches!(PaymentSaga::due(&story.instance.state), Some((Timestamp(0), Due::Outside(_)))), "{story}");
    assert_eq!(concerns(&story), [Concern::RefundRefused], "it is not settled: {story}");
    story.feed(Input::RefundRefused("account closed".into()));
    assert_eq!(story.instance.state.stage, Stage::RefundRefused, "{story}");
    story.feed(Input::Operator(Wish::RetryRefund));
    story.feed(Input::RefundDone);
    assert_eq!((story.instance.state.stage, concerns(&story)), (Stage::Refunded, vec![]), "{story}");
    assert_eq!(story.told(EventType::PaymentRefunded), 1, "{story}");
    assert!(!story.feed(Input::Operator(Wish::RetryRefund)), "{story}");
}

#[test]
fn money_given_back_by_other_means_is_told_once() {
    for refused in [false, true] {
        let mut story = refunding(10);
        if refused {
            story.feed(Input::RefundRefused("account closed".into()));
        }
        assert!(story.feed(resolved()), "{story}");
        for late in [resolved(), no_outcome(), Input::RefundRefused("account closed".into())] {
            assert!(!story.feed(late), "{story}");
        }
        let payment = &story.instance.state;
        assert_eq!((payment.stage, concerns(&story)), (Stage::Refunded, vec![]), "{story}");
        let note = payment.refund.as_ref().and_then(|refund| refund.note.as_deref());
        assert_eq!(note, Some("by bank transfer"), "{story}");

        assert!(story.feed(Input::RefundDone), "the call was on its way: {story}");
        assert_eq!(concerns(&story), [Concern::RefundedTwice], "{story}");
        assert!(!story.feed(Input::RefundDone), "it is known: {story}");
        assert!(story.feed(acknowledged()), "{story}");
        assert!(!story.feed(Input::RefundDone), "it was looked at: {story}");
        assert_eq!((story.instance.state.stage, concerns(&story)), (Stage::Refunded, vec![]), "{story}");
        assert_eq!(story.told(EventType::PaymentRefunded), 1, "{story}");
    }
}

/// A request for a refund of more than was charged.
fn other(refund: &str) -> Input {
    Input::RefundRequested(RefundRequest { refund_id: RefundId(refund.into()), ..request(Money::MAX) })
}

#[test]
fn no_number_of_wrong_requests_hides_money_given_back_twice() {
    let mut story = refunding(10);
    let seen = (0..1_000).take_while(|number| story.feed(other(&number.to_string()))).count();
    assert!((10..1_000).contains(&seen), "{seen} were shown");
    for input in [acknowledged(), resolved(), Input::RefundDone] {
        assert!(story.feed(input), "{story}");
    }
    assert_eq!(concerns(&story), [Concern::RefundedTwice], "{story}");
}

#[test]
fn a_request_for_something_else_is_refused_and_seen() {
    let mut story = Story::<PaymentSaga>::default();
    for input in [created(None), Input::Charged, other("a"), other("b")] {
        assert!(story.feed(input), "{story}");
    }
    assert_eq!(story.instance.state.stage, Stage::Confirmed, "{story}");
    assert_eq!(concerns(&story), [Concern::RequestRefused], "{story}");
    let text = &story.instance.state.attention[&Concern::RequestRefused];
    assert!(text.contains("refund a ") && text.contains("refund b "), "{story}");
    assert!(!story.feed(other("a")), "it is known: {story}");

    assert!(story.feed(acknowledged()), "{story}");
    assert_eq!(concerns(&story), [], "{story}");
    for known in [acknowledged(), other("a"), other("b")] {
        assert!(!story.feed(known), "it was looked at: {story}");
    }
    story.feed(other("c"));
    assert_eq!(concerns(&story), [Concern::RequestRefused], "{story}");
    story.feed(Input::Closed("closed".into()));
    story.feed(Input::RefundDone);
    assert_eq!(concerns(&story), [Concern::RequestRefused], "a refund does not settle it: {story}");
}
