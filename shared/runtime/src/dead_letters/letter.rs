//! A dead letter as it is on the log, and the message that it becomes again.

use crate::event_log::{DEAD_LETTER_SUFFIX, NewRecord, Record};
use uuid::Uuid;

/// How often a message was taken out of the dead letters, on the message itself: the next letter of it says so.
pub const REDRIVEN: &str = "dlt-redriven";
/// What stands before the names of the headers that make a message a dead letter.
const PREFIX: &str = "dlt-";
/// The namespace of letters' ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x7c6f_5a1e_93b4_4d27_8f0a_51d2_6be3_c9a4);

/// A message that could not be dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Equal for copies of one letter: made of where the message was, and of what it is, since a topic that was made
    /// anew has other messages at the same places.
    pub id: Uuid,
    /// Where the message was: the topic.
    pub topic: String,
    /// The partition; -1 if the letter does not say.
    pub partition: i64,
    /// The offset; that of the letter itself if it does not say.
    pub offset: i64,
    /// The message's key, as it was.
    pub key: Option<Vec<u8>>,
    /// The message's value, as it was.
    pub value: Option<Vec<u8>>,
    /// Every header of the letter, as it was.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What was wrong with it.
    pub reason: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When, in the words of who wrote the letter.
    pub died_at: String,
    /// How often it had been sent again before.
    pub redriven: i64,
}

/// The last header of this name. A message that was sent again with its old headers has them twice, and what was
/// added last is of this death.
fn last(headers: &[(String, Vec<u8>)], name: &str) -> Option<String> {
    let (_, value) = headers.iter().rev().find(|(key, _)| key == name)?;
    // No database takes a NUL in a text.
    Some(String::from_utf8_lossy(value).replace('\0', "\u{fffd}"))
}

impl Letter {
    /// The letter that this record of a dead-letter topic is; none if it is not this group's.
    pub fn of(record: Record, group: &str) -> Option<Self> {
        let Record { at, key, value, headers } = record;
        let header = |name: &str| last(&headers, name);
        let number = |name: &str| header(name).and_then(|text| text.parse::<i64>().ok()).filter(|number| *number >= 0);
        if header("dlt-consumer-group").as_deref() != Some(group) {
            return None;
        }
        // Not from a header: what anybody could write there must not decide where a message is sent.
        let topic = at.partition.topic.strip_suffix(DEAD_LETTER_SUFFIX)?.to_owned();
        let (partition, offset) = match (number("dlt-original-partition"), number("dlt-original-offset")) {
            (Some(partition), Some(offset)) => (partition, offset),
            _ => (-1, at.offset),
        };
        let mut name = format!("{topic} {partition} {offset} ").into_bytes();
        name.extend(value.as_deref().unwrap_or_default());
        Some(Letter {
            id: Uuid::new_v5(&NAMESPACE, &name),
            reason: header("dlt-error").unwrap_or_default(),
            attempts: number("dlt-attempts").unwrap_or(0),
            died_at: header("dlt-timestamp").unwrap_or_default(),
            redriven: number(REDRIVEN).unwrap_or(0),
            topic,
            partition,
            offset,
            key,
            value,
            headers,
        })
    }
}

/// The message again: to its topic, with its own headers, and a note of how often it was sent again.
pub fn again(
    topic: &str,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    times: i64,
) -> NewRecord {
    let mut headers = headers;
    headers.retain(|(name, _)| !name.starts_with(PREFIX));
    headers.push((REDRIVEN.to_owned(), times.to_string().into_bytes()));
    NewRecord { topic: topic.to_owned(), key, value, headers }
}

#[cfg(test)]
mod tests {
    use super::{Letter, again};
    use crate::event_log::{Partition, Position, Record};

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    fn record(pairs: &[(&str, &str)], value: &str) -> Record {
        let partition = Partition { topic: "order.created.dlt".into(), partition: 0 };
        let (key, value) = (Some(b"k".to_vec()), Some(value.as_bytes().to_vec()));
        Record { at: Position { partition, offset: 7 }, key, value, headers: headers(pairs) }
    }

    const DIED: &[(&str, &str)] = &[
        ("correlation-id", "c"),
        ("dlt-original-topic", "elsewhere"),
        ("dlt-original-partition", "3"),
        ("dlt-original-offset", "41"),
        ("dlt-consumer-group", "g"),
        ("dlt-attempts", "2"),
        ("dlt-error", "missing\0field"),
        ("dlt-timestamp", "then"),
    ];

    #[test]
    fn a_letter_is_read_from_its_headers() {
        let letter = Letter::of(record(DIED, "v"), "g").expect("this group's");
        assert_eq!((letter.topic.as_str(), letter.partition, letter.offset), ("order.created", 3, 41));
        assert_eq!((letter.reason.as_str(), letter.attempts, letter.redriven), ("missing\u{fffd}field", 2, 0));
        assert_eq!(letter.headers, headers(DIED), "headers are kept as they are");
    }

    #[test]
    fn what_is_not_this_groups_is_left() {
        assert_eq!(Letter::of(record(DIED, "v"), "another"), None);
        assert_eq!(Letter::of(record(&[], "v"), "g"), None);
    }

    #[test]
    fn copies_are_one_letter_and_others_are_not() {
        let id = |pairs: &[(&str, &str)], value: &str| Letter::of(record(pairs, value), "g").map(|letter| letter.id);
        let mut later = DIED.to_vec();
        later[7] = ("dlt-timestamp", "later");
        assert_eq!(id(DIED, "v"), id(&later, "v"), "a copy, written after a crash");
        assert_ne!(id(DIED, "v"), id(DIED, "w"), "the same place on a topic that was made anew");
        let mut next = DIED.to_vec();
        next[3] = ("dlt-original-offset", "42");
        assert_ne!(id(DIED, "v"), id(&next, "v"), "the same message, dead again");
    }

    #[test]
    fn the_last_death_counts() {
        let mut twice = DIED.to_vec();
        twice.extend(&[("dlt-original-offset", "99"), ("dlt-error", "again"), ("dlt-redriven", "1")]);
        let letter = Letter::of(record(&twice, "v"), "g").expect("this group's");
        assert_eq!((letter.offset, letter.reason.as_str(), letter.redriven), (99, "again", 1));
    }

    #[test]
    fn a_letter_that_does_not_say_where_is_told_apart_by_its_own_place() {
        let letter = Letter::of(record(&[("dlt-consumer-group", "g")], "v"), "g").expect("this group's");
        assert_eq!((letter.partition, letter.offset), (-1, 7));
    }

    #[test]
    fn sent_again_it_is_the_message_that_it_was() {
        let message = again("order.created", Some(b"k".to_vec()), Some(b"v".to_vec()), headers(DIED), 2);
        assert_eq!(message.headers, headers(&[("correlation-id", "c"), ("dlt-redriven", "2")]));
    }
}
