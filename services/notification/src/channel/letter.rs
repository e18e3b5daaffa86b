//! What a mail says: a template for each occasion, the first line its subject, the rest its text.

use crate::saga::{Notice, Occasion};
use contracts::OrderId;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, context};
use runtime::saga::Named;

/// A written letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// The templates.
pub struct Letters(Environment<'static>);

impl Letters {
    /// With our own templates.
    pub fn new() -> Result<Self, Error> {
        let mut templates = Environment::new();
        // A name that a template misspells is found by the tests, and not by a customer.
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // Plain text: there is nothing in it that a reader's program would take for markup.
        templates.set_auto_escape_callback(|_| AutoEscape::None);
        for occasion in Occasion::ALL {
            let (subject, text) = source(*occasion).split_once("\n\n").unwrap_or_default();
            templates.add_template_owned(format!("{}/subject", occasion.name()), subject)?;
            templates.add_template_owned(format!("{}/text", occasion.name()), text)?;
        }
        Ok(Letters(templates))
    }

    /// Writes a notice of this order as a letter.
    pub fn write(&self, order: OrderId, notice: &Notice) -> Result<Letter, Error> {
        let details = &notice.details;
        let facts = context! {
            orderId => order.to_string(),
            customerId => notice.customer_id.as_str(),
            reason => details.reason.as_deref().map(one_line),
            code => details.code.as_deref(),
            amount => details.amount.map(|amount| amount.to_string()),
            currency => details.currency.as_deref(),
        };
        let render = |part: &str| self.0.get_template(&format!("{}/{part}", notice.occasion.name()))?.render(&facts);
        Ok(Letter { subject: one_line(&render("subject")?), text: render("text")? })
    }
}

fn source(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::OrderConfirmed => include_str!("letters/order_confirmed.txt"),
        Occasion::OrderFailed => include_str!("letters/order_failed.txt"),
        Occasion::OrderCancelled => include_str!("letters/order_cancelled.txt"),
        Occasion::PaymentRefunded => include_str!("letters/payment_refunded.txt"),
    }
}

/// Without line breaks and other control characters: what others have written must not add headers or lines of its own.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_control()).map(str::trim).filter(|part| !part.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::receive;
    use crate::saga::{Channel, Input, Notices, NotificationSaga};
    use contracts::{Contact, Timestamp};
    use contracts::{Money, OrderCancelled, OrderConfirmed, OrderFailed, Payload, PaymentId, PaymentRefunded};
    use contracts::{Reason, RefundId, Status};
    use runtime::saga::{Decision, Saga};
    use std::collections::BTreeSet;
    use uuid::Uuid;

    const ORDER: OrderId = OrderId(Uuid::from_u128(7));

    /// The mail that an event leads to.
    fn letter(payload: Payload) -> Letter {
        let occasions: BTreeSet<Occasion> = Occasion::ALL.iter().copied().collect();
        let saga = NotificationSaga { email: occasions, ..NotificationSaga::default() };
        let input = receive(payload).expect("an event that customers are told of");
        let Decision::Events(events) = saga.decide(&Notices::default(), &input, Timestamp::default()) else {
            panic!("nothing is made of {input:?}")
        };
        assert!(matches!(input, Input::Told(_)));
        let notices = events.iter().fold(Notices::default(), NotificationSaga::evolve);
        let mail = notices.0.iter().find(|notice| notice.channel == Channel::Email).expect("a mail");
        Letters::new().unwrap().write(ORDER, mail).unwrap()
    }

    fn contact() -> Option<Contact> {
        Some(Contact { email: Some("a@example.org".into()), webhook_url: None })
    }

    fn failed(message: &str) -> Payload {
        Payload::OrderFailed(OrderFailed {
            order_id: ORDER,
            customer_id: "cust-1".into(),
            status: Status::Failed,
            reason: Reason { code: "OUT_OF_STOCK".into(), message: message.into() },
            failed_at: String::new(),
            contact: contact(),
        })
    }

    #[test]
    fn there_is_a_letter_for_every_occasion() {
        let customer_id = || "cust-1".to_owned();
        let payloads = [
            Payload::OrderConfirmed(OrderConfirmed {
                order_id: ORDER,
                customer_id: customer_id(),
                status: Status::Confirmed,
                confirmed_at: String::new(),
                contact: contact(),
            }),
            failed("not enough stock"),
            Payload::OrderCancelled(OrderCancelled {
                order_id: ORDER,
                customer_id: customer_id(),
                status: Status::Cancelled,
                reason: "ordered twice".into(),
                cancelled_at: String::new(),
                contact: contact(),
            }),
            Payload::PaymentRefunded(PaymentRefunded {
                refund_id: RefundId("r".into()),
                payment_id: PaymentId::of(ORDER),
                order_id: ORDER,
                customer_id: customer_id(),
                amount: Money::MAX,
                currency: "USD".into(),
                status: Status::Refunded,
                reason: String::new(),
                contact: contact(),
            }),
        ];
        let expected = [
            ("is confirmed", "is confirmed: it is paid for"),
            ("could not be completed", "could not be completed: not enough stock."),
            ("is cancelled", "is cancelled: ordered twice."),
            ("returned 922337203685477.5807 USD", "for your order 00000000-0000-0000-0000-000000000007."),
        ];
        for (payload, (subject, text)) in payloads.into_iter().zip(expected) {
            let letter = letter(payload);
            assert!(letter.subject.contains(subject) && letter.subject.contains(&ORDER.to_string()), "{letter:?}");
            assert!(letter.text.contains(text), "{letter:?}");
        }
    }

    #[test]
    fn what_others_have_written_is_text_of_one_line() {
        let letter = letter(failed("<b>{{ orderId }}</b>\r\nBcc: everybody@example.org"));
        assert!(letter.text.contains("completed: <b>{{ orderId }}</b> Bcc: everybody@example.org."), "{letter:?}");
        assert!(!letter.subject.contains(['\r', '\n']), "{letter:?}");
    }
}
