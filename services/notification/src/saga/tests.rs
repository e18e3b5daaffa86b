use super::*;
use proptest::prelude::*;
use runtime::saga::Named;
use testkit::{Column, Row, Story, golden, table};

const CONFIRMED: Key = Key { occasion: Occasion::OrderConfirmed, channel: Channel::Email };

/// With every way open.
fn saga() -> NotificationSaga {
    let all: BTreeSet<Occasion> = Occasion::ALL.iter().copied().collect();
    NotificationSaga { email: all.clone(), webhook: all, attempts: 3 }
}

fn story() -> Story<NotificationSaga> {
    let mut story = Story::default();
    story.saga = saga();
    story
}

fn contact() -> Contact {
    Contact { email: Some("a@example.org".into()), webhook_url: Some("https://example.org/hook".into()) }
}

fn news(occasion: Occasion) -> News {
    News {
        occasion,
        customer_id: "cust-1".into(),
        text: "text".into(),
        details: Details::default(),
        contact: Some(contact()),
    }
}

fn told(occasion: Occasion) -> Input {
    Input::Told(news(occasion))
}

fn not_delivered(key: Key, retry_at: Option<Timestamp>) -> Input {
    Input::NotDelivered { key, error: "away".into(), retry_at }
}

/// An order that is told of this, as far as its mail is concerned.
fn notices(occasion: Occasion, status: Status) -> Notices {
    let saga = NotificationSaga { webhook: BTreeSet::new(), ..saga() };
    let events = saga.record(&Notices::default(), &news(occasion), Timestamp::default());
    let mut notices = events.iter().fold(Notices::default(), NotificationSaga::evolve);
    notices.0.iter_mut().for_each(|notice| notice.status = status);
    notices
}

fn inputs() -> Vec<Row<'static, NotificationSaga>> {
    vec![
        ("`order.confirmed`", told(Occasion::OrderConfirmed)),
        ("channel: delivered", Input::Delivered(CONFIRMED)),
        ("channel: not delivered", not_delivered(CONFIRMED, Some(Timestamp(7)))),
        ("channel: never deliverable", not_delivered(CONFIRMED, None)),
        ("operator: send again", Input::Resend(CONFIRMED)),
    ]
}

fn states() -> Vec<Column<'static, NotificationSaga>> {
    let with = |status| notices(Occasion::OrderConfirmed, status);
    let mut last = with(Status::Pending);
    last.0.iter_mut().for_each(|notice| notice.attempts = 2);
    vec![
        ("none", Notices::default()),
        ("none, but the cancellation's", notices(Occasion::OrderCancelled, Status::Sent)),
        ("PENDING", with(Status::Pending)),
        ("PENDING, last attempt", last),
        ("SENT", with(Status::Sent)),
        ("FAILED", with(Status::Failed)),
        ("SUPERSEDED", with(Status::Superseded)),
    ]
}

fn name(event: &Event) -> String {
    match event {
        Event::Recorded(notice) => format!("{} {}", notice.channel.name(), notice.status.name()),
        Event::Sent(_) => "Sent".into(),
        Event::Postponed(..) => "Postponed".into(),
        Event::GivenUp(..) => "GivenUp".into(),
        Event::BegunAnew(_) => "BegunAnew".into(),
    }
}

#[test]
fn every_cell_is_as_documented() {
    let text = format!(
        "# The saga of notification-service\n\nGenerated from `services/notification/src/saga.rs`; a test keeps it \
         true.\n\nThe columns are how far the notice of one occasion and channel has come. The table shows the \
         confirmation and its\nmail, of an order that came with an address and a webhook; the notices of \
         `order.failed`, `order.cancelled` and\n`payment.refunded` differ in one cell: nothing supersedes them, so \
         they are recorded as PENDING. An event is told\nonce by every way that is open for it. An order's notices \
         are sent one at a time, in the order in which they came;\none that waits for its next attempt holds up what \
         goes by the same channel, and nothing else.\n\n{}",
        table(&saga(), &states(), &inputs(), name)
    );
    golden("docs/sagas/notification.md", &text);
}

#[test]
fn a_way_is_taken_if_it_is_open_and_leads_somewhere() {
    let only = |occasion| BTreeSet::from([occasion]);
    let saga =
        NotificationSaga { email: only(Occasion::OrderFailed), webhook: only(Occasion::OrderConfirmed), ..saga() };
    let no_email = Contact { email: None, ..contact() };
    let rows = [
        (Occasion::OrderFailed, Some(contact()), vec![Channel::Log, Channel::Email]),
        (Occasion::OrderConfirmed, Some(contact()), vec![Channel::Log, Channel::Webhook]),
        (Occasion::OrderCancelled, Some(contact()), vec![Channel::Log]),
        (Occasion::OrderFailed, Some(no_email), vec![Channel::Log]),
        (Occasion::OrderFailed, None, vec![Channel::Log]),
    ];
    for (occasion, contact, expected) in rows {
        let events = saga.record(&Notices::default(), &News { contact, ..news(occasion) }, Timestamp(5));
        let channels: Vec<Channel> = events.iter().map(|event| event.key().channel).collect();
        assert_eq!(channels, expected, "{occasion:?}");
    }
}

#[test]
fn a_row_of_the_time_before_there_were_channels_is_a_notice_in_the_log() {
    let stored = r#"{"occasion":"ORDER_FAILED","status":"SENT","customerId":"c","text":"t","attempts":1,"retryAt":7}"#;
    let notice: Notice = serde_json::from_str(stored).unwrap();
    assert_eq!(notice.key(), Key { occasion: Occasion::OrderFailed, channel: Channel::Log });
    assert_eq!((notice.attempts, notice.retry_at, notice.to), (1, 7, None));
}

#[test]
fn a_failing_channel_holds_up_what_goes_by_it_and_nothing_else() {
    let mut story = story();
    story.feed(told(Occasion::OrderConfirmed));
    story.feed(told(Occasion::OrderCancelled));
    let mut taken = Vec::new();
    while let Some((Timestamp(0), Due::Outside(notice))) = NotificationSaga::due(&story.instance.state) {
        taken.push(notice.key());
        story.feed(match notice.channel {
            Channel::Email => not_delivered(notice.key(), Some(Timestamp(9))),
            Channel::Log | Channel::Webhook => Input::Delivered(notice.key()),
        });
    }
    let of = |occasion, channel| Key { occasion, channel };
    let expected = [
        of(Occasion::OrderConfirmed, Channel::Log),
        of(Occasion::OrderConfirmed, Channel::Email),
        of(Occasion::OrderConfirmed, Channel::Webhook),
        of(Occasion::OrderCancelled, Channel::Log),
        of(Occasion::OrderCancelled, Channel::Webhook),
    ];
    assert_eq!(taken, expected, "{story}");
    let due = NotificationSaga::due(&story.instance.state);
    assert!(matches!(due, Some((Timestamp(9), Due::Outside(notice))) if notice.key() == CONFIRMED), "{story}");
}

#[test]
fn the_attempts_are_a_budget_that_a_resend_renews() {
    let mut story = story();
    story.feed(told(Occasion::OrderConfirmed));
    for round in 1..=2_u32 {
        for attempt in 1..=3 {
            assert_eq!(story.instance.state.status(CONFIRMED), Some(Status::Pending), "{attempt}: {story}");
            story.feed(not_delivered(CONFIRMED, Some(Timestamp(attempt))));
        }
        let notice = story.instance.state.get(CONFIRMED).unwrap();
        assert_eq!((notice.status, notice.attempts, notice.deliveries), (Status::Failed, 3, 3 * round), "{story}");
        assert_eq!(notice.last_error.as_deref(), Some("away"), "{story}");
        story.feed(Input::Resend(CONFIRMED));
    }
    story.feed(Input::Delivered(CONFIRMED));
    let notice = story.instance.state.get(CONFIRMED).unwrap();
    assert_eq!((notice.status, notice.deliveries, &notice.last_error), (Status::Sent, 7, &None), "{story}");
}

proptest! {
    #[test]
    fn one_notice_per_occasion_and_channel_and_no_false_confirmation(
        messages in prop::collection::vec(prop::sample::select(Occasion::ALL), 0..12),
        deliver in prop::collection::vec(any::<bool>(), 12),
        fails in prop::collection::vec(any::<bool>(), 40),
    ) {
        let mut story = story();
        let mut sent = Vec::new();
        let mut fails = fails.into_iter();
        for (occasion, deliver) in messages.into_iter().zip(deliver) {
            story.feed(told(occasion));
            while deliver && let Some((_, Due::Outside(notice))) = NotificationSaga::due(&story.instance.state) {
                let key = notice.key();
                if fails.next() == Some(true) {
                    story.feed(not_delivered(key, Some(Timestamp(notice.retry_at + 1))));
                } else {
                    sent.push(key);
                    story.feed(Input::Delivered(key));
                }
            }
        }
        for channel in Channel::ALL {
            let sent: Vec<Occasion> = sent.iter().filter(|key| key.channel == *channel).map(|key| key.occasion).collect();
            for occasion in Occasion::ALL {
                let times = sent.iter().filter(|other| *other == occasion).count();
                prop_assert!(times <= 1, "{occasion:?} was sent twice: {story}");
            }
            let place = |of| sent.iter().position(|occasion| *occasion == of);
            let cancelled = place(Occasion::OrderCancelled);
            // A confirmation that was recorded first may still be waiting when the cancellation comes; it goes first.
            let false_confirmation = cancelled.is_some() && place(Occasion::OrderConfirmed) > cancelled;
            prop_assert!(!false_confirmation, "a confirmation after the cancellation: {story}");
        }
    }
}
