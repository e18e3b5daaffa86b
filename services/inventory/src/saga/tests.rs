use super::*;
use contracts::{EventType, Money};
use proptest::prelude::*;
use runtime::saga::Step;
use testkit::{Column, Row, Story, golden, table};

fn lines() -> Vec<Line> {
    vec![Line { product_id: "P1".into(), quantity: 2 }]
}

fn payment() -> Payment {
    let amount = Money::from_ten_thousandths(999_900).into();
    Payment { payment_id: PaymentId("payment-1".into()), amount, currency: "USD".into() }
}

fn inputs() -> Vec<Row<'static, InventorySaga>> {
    vec![
        ("`order.created`", Input::OrderCreated(lines())),
        ("`order.created`, impossible", Input::OrderCreated(Vec::new())),
        ("`payment.confirmed`", Input::PaymentConfirmed(payment())),
        ("`order.failed` or `order.cancelled`", Input::Closed(Close::Ended("closed".into()))),
        ("`payment.refunded`", Input::Closed(Close::Refunded("refunded".into()))),
        ("deadline of a held payment", Input::OrderOverdue),
        ("stock: enough", Input::StockSuffices),
        ("stock: too little", Input::StockShort(Vec::new())),
    ]
}

fn states() -> Vec<Column<'static, InventorySaga>> {
    let unknown = Reservation::default();
    let with_lines = Reservation { lines: lines(), ..unknown.clone() };
    let with_payment = Reservation { payment: Some(payment()), ..unknown.clone() };
    let with_both = Reservation { lines: lines(), payment: Some(payment()), ..unknown.clone() };
    let at = |stage, state: &Reservation| Reservation { stage, ..state.clone() };
    vec![
        ("UNKNOWN", unknown.clone()),
        ("AWAITING_PAYMENT", at(Stage::AwaitingPayment, &with_lines)),
        ("AWAITING_ORDER", at(Stage::AwaitingOrder, &with_payment)),
        ("ALLOCATING", at(Stage::Allocating, &with_both)),
        ("RESERVED", at(Stage::Reserved, &with_both)),
        ("FAILED", at(Stage::Failed, &with_both)),
        ("RELEASED", at(Stage::Released, &with_both)),
        ("CLOSED, payment unknown", at(Stage::Closed, &unknown)),
        ("CLOSED, payment known", at(Stage::Closed, &with_payment)),
    ]
}

fn name(event: &Event) -> String {
    let debug = format!("{event:?}");
    debug.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn every_cell_is_as_documented() {
    let text = format!(
        "# The saga of inventory-service\n\nGenerated from `services/inventory/src/saga.rs`; a test keeps it true.\n\nThe \
         columns are the stages. In bold: what happens. *Duplicate*, *late*, *informs* and *unreachable* change\n\
         nothing. `Reserved`, `Failed`, `Released` and `RefundRequested` are told to the others as \
         `inventory.reserved`,\n`inventory.failed`, `inventory.released` and `payment.refund.requested`. `ALLOCATING` is \
         never at rest: it is left in\nthe transaction that enters it, once the stock is locked.\n\n{}",
        table(&InventorySaga::default(), &states(), &inputs(), name)
    );
    golden("docs/sagas/inventory.md", &text);
}

/// What the transaction does: the stock answers at once.
fn stock(enough: bool) -> impl Fn(&InventorySaga, &mut Step<InventorySaga>) {
    move |saga, step| {
        if step.next.state.stage == Stage::Allocating {
            step.follow(saga, &if enough { Input::StockSuffices } else { Input::StockShort(Vec::new()) });
        }
    }
}

fn message() -> impl Strategy<Value = Input> {
    (0..6_usize).prop_map(|i| inputs().swap_remove(i).1)
}

proptest! {
    #[test]
    fn it_answers_once_and_asks_for_one_refund(
        messages in prop::collection::vec(message(), 0..15),
        enough: bool,
    ) {
        let mut story = Story::<InventorySaga>::default();
        let mut closed = false;
        for message in messages {
            let answered = story.told(EventType::InventoryReserved) + story.told(EventType::InventoryFailed);
            let was_closed = closed;
            closed |= matches!(message, Input::Closed(_));
            story.feed_settled(message, stock(enough));
            let answers = story.told(EventType::InventoryReserved) + story.told(EventType::InventoryFailed);
            prop_assert!(answers <= 1, "two answers: {story}");
            prop_assert!(!was_closed || answers == answered, "an answer after a close: {story}");
            prop_assert!(story.told(EventType::PaymentRefundRequested) <= 1, "two refunds: {story}");
            prop_assert!(story.told(EventType::InventoryReleased) <= story.told(EventType::InventoryReserved), "{story}");
            prop_assert_ne!(story.instance.state.stage, Stage::Allocating, "at rest while allocating: {}", story);
        }
    }

    #[test]
    fn lines_and_payment_in_either_order_come_to_the_same(
        messages in Just(vec![Input::OrderCreated(lines()), Input::PaymentConfirmed(payment())]).prop_shuffle(),
        enough: bool,
    ) {
        let mut story = Story::<InventorySaga>::default();
        messages.into_iter().for_each(|message| { story.feed_settled(message, stock(enough)); });
        let expected = if enough { Stage::Reserved } else { Stage::Failed };
        prop_assert_eq!(story.instance.state.stage, expected, "{}", story);
        prop_assert_eq!(story.told(EventType::PaymentRefundRequested), usize::from(!enough), "{}", story);
    }

    #[test]
    fn a_closed_order_holds_nothing_and_its_payment_is_asked_back(
        messages in Just(vec![
            Input::OrderCreated(lines()),
            Input::PaymentConfirmed(payment()),
            Input::Closed(Close::Ended("closed".into())),
        ]).prop_shuffle(),
        enough: bool,
    ) {
        let mut story = Story::<InventorySaga>::default();
        messages.into_iter().for_each(|message| { story.feed_settled(message, stock(enough)); });
        prop_assert_ne!(story.instance.state.stage, Stage::Reserved, "{}", story);
        prop_assert_eq!(story.told(EventType::PaymentRefundRequested), 1, "{}", story);
        prop_assert_eq!(story.told(EventType::InventoryReserved), story.told(EventType::InventoryReleased), "{}", story);
    }
}
