use super::*;
use proptest::prelude::*;
use testkit::{Column, Row, Story, golden, table};

fn told(occasion: Occasion) -> Input {
    Input::Told { occasion, customer_id: "cust-1".into(), text: "text".into() }
}

fn notice(occasion: Occasion, status: Status) -> Notice {
    Notice { occasion, status, customer_id: "cust-1".into(), text: "text".into(), attempts: 0, retry_at: 0 }
}

fn inputs() -> Vec<Row<'static, NotificationSaga>> {
    vec![
        ("`order.confirmed`", told(Occasion::OrderConfirmed)),
        ("channel: delivered", Input::Delivered(Occasion::OrderConfirmed)),
        ("channel: not delivered", Input::NotDelivered { occasion: Occasion::OrderConfirmed, retry_at: Timestamp(7) }),
    ]
}

fn states() -> Vec<Column<'static, NotificationSaga>> {
    let with = |status| Notices(vec![notice(Occasion::OrderConfirmed, status)]);
    vec![
        ("none", Notices::default()),
        ("none, but the cancellation's", Notices(vec![notice(Occasion::OrderCancelled, Status::Sent)])),
        ("PENDING", with(Status::Pending)),
        ("SENT", with(Status::Sent)),
        ("SUPERSEDED", with(Status::Superseded)),
    ]
}

fn name(event: &Event) -> String {
    match event {
        Event::Recorded(notice) => format!("Recorded {}", notice.status.name()),
        Event::Sent(_) => "Sent".into(),
        Event::Postponed(..) => "Postponed".into(),
    }
}

#[test]
fn every_cell_is_as_documented() {
    let text = format!(
        "# The saga of notification-service\n\nGenerated from `services/notification/src/saga.rs`; a test keeps it \
         true.\n\nThe columns are how far the notice of one occasion has come. The table shows the confirmation; the \
         notices of\n`order.failed`, `order.cancelled` and `payment.refunded` differ in one cell: nothing supersedes \
         them, so they are\nrecorded as PENDING. An order's notices are sent one at a time, in the order in which \
         they came.\n\n{}",
        table(&NotificationSaga, &states(), &inputs(), name)
    );
    golden("docs/sagas/notification.md", &text);
}

proptest! {
    #[test]
    fn one_notice_per_occasion_and_no_false_confirmation(
        messages in prop::collection::vec(prop::sample::select(Occasion::ALL), 0..12),
        deliver in prop::collection::vec(any::<bool>(), 12),
    ) {
        let mut story = Story::<NotificationSaga>::default();
        let mut sent = Vec::new();
        for (occasion, deliver) in messages.into_iter().zip(deliver) {
            story.feed(told(occasion));
            while deliver && let Some((_, Due::Outside(notice))) = NotificationSaga::due(&story.instance.state) {
                sent.push(notice.occasion);
                story.feed(Input::Delivered(notice.occasion));
            }
        }
        for occasion in Occasion::ALL {
            prop_assert!(sent.iter().filter(|o| *o == occasion).count() <= 1, "{occasion:?} was sent twice: {story}");
        }
        let place = |of| sent.iter().position(|occasion| *occasion == of);
        let false_confirmation = place(Occasion::OrderCancelled).is_some_and(|cancelled| place(Occasion::OrderConfirmed) > Some(cancelled));
        // A confirmation that was recorded first may still be waiting when the cancellation comes; it goes first.
        prop_assert!(!false_confirmation, "a confirmation after the cancellation: {story}");
    }
}
