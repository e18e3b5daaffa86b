use super::*;
use contracts::EventType;
use proptest::prelude::*;
use runtime::saga::Named;
use std::fmt::Write;
use testkit::{Row, Story, golden, table};

fn details() -> Arc<Details> {
    let total = Amount::from_ten_thousandths(999_900);
    Arc::new(Details { customer_id: "cust-1".into(), total, ..Details::default() })
}

fn inputs() -> Vec<Row<'static, OrderSaga>> {
    vec![
        ("place", Input::Place(details())),
        ("cancel", Input::Cancel("changed my mind".into())),
        ("`payment.confirmed`", Input::PaymentConfirmed),
        ("`payment.failed`", Input::PaymentFailed("declined".into())),
        ("`inventory.reserved`", Input::InventoryReserved),
        ("`inventory.failed`", Input::InventoryFailed("short".into())),
        ("`payment.refund.requested`", Input::RefundRequested),
        ("`payment.refunded`", Input::PaymentRefunded),
        ("`inventory.released`", Input::InventoryReleased),
        ("payment deadline", Input::PaymentOverdue),
        ("inventory deadline", Input::InventoryOverdue),
        ("deadline, but the log was away", Input::LogWasAway),
    ]
}

fn name(event: &Event) -> String {
    match event {
        Event::Placed(..) => "Placed".into(),
        Event::MoneyMoved(money) => format!("money {}", money.name()),
        Event::PaymentAccepted(_) => "PaymentAccepted".into(),
        Event::DeadlineMoved(_) => "DeadlineMoved".into(),
        Event::Confirmed => "Confirmed".into(),
        Event::Failed(reason) => format!("Failed {}", reason.code),
        Event::Cancelled(_) => "Cancelled".into(),
        // In every step, so not worth a word in every cell.
        Event::Noted(..) => String::new(),
    }
}

#[test]
fn every_cell_is_as_documented() {
    let mut text = String::from(
        "# The saga of order-service\n\nGenerated from `services/order/src/saga.rs`; a test keeps it true.\n\nOne table per \
         stage; the columns are what is known of the money, which follows the stage and never decides it. In bold:\nwhat \
         happens. *Noted* shows in the order's timeline the first time, and changes nothing else; *duplicate*, *late* and\n\
         *unreachable* change nothing. `Placed`, `Confirmed`, `Failed` \
         and `Cancelled`\nare told to the others as `order.created`, `order.confirmed`, `order.failed` and \
         `order.cancelled`.\n",
    );
    for stage in Stage::ALL {
        let states: Vec<_> = Money::ALL
            .iter()
            .map(|money| (money.name(), Order { stage: *stage, money: *money, ..Order::default() }))
            .collect();
        write!(text, "\n## {}\n\n{}", stage.name(), table(&OrderSaga::default(), &states, &inputs(), name)).unwrap();
    }
    golden("docs/sagas/order.md", &text);
}

fn any_input() -> impl Strategy<Value = Input> {
    (0..inputs().len()).prop_map(|i| inputs().swap_remove(i).1)
}

/// What comes from the log or a caller, and so may come again; time does not.
fn any_message() -> impl Strategy<Value = Input> {
    (0..9_usize).prop_map(|i| inputs().swap_remove(i).1)
}

fn rank(money: Money) -> u8 {
    match money {
        Money::Unknown => 0,
        Money::None | Money::Charged => 1,
        Money::RefundDue => 2,
        Money::Refunded => 3,
    }
}

proptest! {
    #[test]
    fn an_end_is_an_end(inputs in prop::collection::vec(any_input(), 0..20)) {
        let mut story = Story::<OrderSaga>::default();
        story.feed(Input::Place(details()));
        for input in inputs {
            let before = story.instance.state.clone();
            let cancels = matches!(input, Input::Cancel(_));
            story.feed(input);
            let after = &story.instance.state;
            let allowed = match before.stage {
                Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => after.stage != Stage::Unknown,
                Stage::Confirmed => after.stage == before.stage || (cancels && after.stage == Stage::Cancelled),
                Stage::Failed | Stage::Cancelled => after.stage == before.stage,
            };
            prop_assert!(allowed, "{:?} became {:?}: {story}", before.stage, after.stage);
            prop_assert!(rank(after.money) >= rank(before.money), "money went back: {story}");
        }
        for event_type in [EventType::OrderCreated, EventType::OrderConfirmed, EventType::OrderFailed, EventType::OrderCancelled] {
            prop_assert!(story.told(event_type) <= 1, "{event_type:?} was told twice: {story}");
        }
        prop_assert!(story.told(EventType::OrderConfirmed) + story.told(EventType::OrderFailed) <= 1, "two ends: {story}");
    }

    #[test]
    fn what_was_heard_once_tells_nothing_new(inputs in prop::collection::vec(any_message(), 0..20)) {
        let mut story = Story::<OrderSaga>::default();
        story.feed(Input::Place(details()));
        inputs.iter().cloned().for_each(|input| { story.feed(input); });
        let (stage, told) = (story.instance.state.stage, story.emitted.len());
        inputs.into_iter().for_each(|input| { story.feed(input); });
        // A cancel is a caller's wish, not a repeated message: it may still be granted.
        let cancelled = story.instance.state.stage == Stage::Cancelled && stage == Stage::Confirmed;
        prop_assert!(cancelled || (stage == story.instance.state.stage && told == story.emitted.len()), "{story}");
    }

    #[test]
    fn the_services_answers_in_any_order_come_to_the_same_end(
        answers in prop_oneof![
            Just((vec![Input::PaymentConfirmed, Input::InventoryReserved], Stage::Confirmed, Money::Charged)),
            Just((vec![Input::PaymentFailed("declined".into())], Stage::Failed, Money::None)),
            Just((
                vec![
                    Input::PaymentConfirmed,
                    Input::InventoryFailed("short".into()),
                    Input::RefundRequested,
                    Input::PaymentRefunded,
                ],
                Stage::Failed,
                Money::Refunded,
            )),
        ].prop_flat_map(|(answers, stage, money)| (Just(answers).prop_shuffle(), Just(stage), Just(money)))
    ) {
        let (answers, stage, money) = answers;
        let mut story = Story::<OrderSaga>::default();
        story.feed(Input::Place(details()));
        answers.into_iter().for_each(|answer| { story.feed(answer); });
        prop_assert_eq!((story.instance.state.stage, story.instance.state.money), (stage, money), "{}", story);
    }
}

/// Success after a deadline, and a deadline after success: one outcome, and the money follows it.
#[test]
fn a_deadline_counts_in_its_own_stage_and_a_late_success_is_compensated() {
    use Input::*;
    let rows: &[(&[Input], Stage, Money, Option<&str>)] = &[
        (&[PaymentOverdue], Stage::Failed, Money::Unknown, Some(PAYMENT_TIMEOUT)),
        (&[PaymentOverdue, PaymentConfirmed], Stage::Failed, Money::RefundDue, Some(PAYMENT_TIMEOUT)),
        (&[PaymentConfirmed, PaymentOverdue], Stage::AwaitingInventory, Money::Charged, None),
        (&[InventoryOverdue, PaymentConfirmed], Stage::AwaitingInventory, Money::Charged, None),
        (&[PaymentConfirmed, InventoryOverdue], Stage::Failed, Money::RefundDue, Some(INVENTORY_TIMEOUT)),
        (
            &[PaymentConfirmed, InventoryOverdue, InventoryReserved, PaymentRefunded, InventoryReleased],
            Stage::Failed,
            Money::Refunded,
            Some(INVENTORY_TIMEOUT),
        ),
        (&[PaymentConfirmed, InventoryReserved, InventoryOverdue], Stage::Confirmed, Money::Charged, None),
        (&[PaymentConfirmed, LogWasAway], Stage::AwaitingInventory, Money::Charged, None),
        (&[LogWasAway, LogWasAway], Stage::AwaitingPayment, Money::Unknown, None),
    ];
    for (inputs, stage, money, code) in rows {
        let mut story = Story::<OrderSaga>::default();
        story.saga = OrderSaga { payment_deadline: Some(30_000), inventory_deadline: Some(20_000) };
        story.feed(Place(details()));
        inputs.iter().cloned().for_each(|input| {
            story.feed(input);
        });
        let order = &story.instance.state;
        let found = order.reason.as_ref().map(|reason| reason.code.as_str());
        assert_eq!((order.stage, order.money, found), (*stage, *money, *code), "{story}");
        let waits = matches!(stage, Stage::AwaitingPayment | Stage::AwaitingInventory);
        assert_eq!(OrderSaga::due(order).is_some(), waits, "{story}");
    }
}
