//! What each metric says, for those who meet it in `/metrics`. docs/monitoring/metrics.md has the same list with labels.

use metrics::{describe_counter, describe_gauge, describe_histogram};

const COUNTERS: &[(&str, &str)] = &[
    ("orders_total", "Orders that became PENDING (accepted), CONFIRMED, FAILED, CANCELLED."),
    (
        "order_failures_total",
        "Failed orders by reason: PAYMENT_DECLINED, OUT_OF_STOCK, PAYMENT_TIMEOUT, INVENTORY_TIMEOUT.",
    ),
    ("saga_events_total", "Events by type, counted by the service that commits them."),
    ("events_ignored_total", "Messages that changed nothing: duplicate, late, informs, unreachable, unknown-type."),
    ("dead_letters_total", "Messages that went to their dead-letter topic."),
    ("payments_needing_attention_total", "Payments that came to need attention."),
    ("notices_given_up_total", "Notices that were given up."),
    ("notice_deliveries_total", "Attempts at delivery: sent, failed."),
    ("actor_restarts_total", "Actors that ended and were started again."),
    ("actor_passivations_total", "Orders that left memory."),
];

const GAUGES: &[(&str, &str)] = &[
    ("service_ready", "1 if the service can do its work, as /health/ready says."),
    ("service_part_up", "1 if this part is well: database, eventLog, actors, provider, outbox, progress."),
    ("orders_by_stage", "Orders under way: AWAITING_PAYMENT, AWAITING_INVENTORY."),
    ("orders_stuck", "Orders that still wait although their deadline has passed."),
    ("orders_waiting", "Orders with something due, at any service: a deadline, a call to make or to repeat."),
    ("outbox_pending", "Events that the log has not taken yet."),
    ("outbox_oldest_age_seconds", "Age of the oldest of them."),
    ("kafka_consumer_lag", "Messages on the log that are not dealt with."),
    ("kafka_consumer_paused", "1 while partitions are paused since there is no room for more."),
    ("consumer_standstill_seconds", "How long a message has been in hand without coming to its end."),
    ("dead_letters_open", "Dead letters of this service that nobody has dealt with."),
    ("dead_letters_waiting", "Dead letters that cannot be written now; their partitions wait."),
    ("payments_needing_attention", "Payments that do not settle by themselves."),
    ("notices_needing_attention", "Notices that were given up."),
    ("actor_live", "Actors that run, by kind; order are the orders in memory."),
    ("actor_mailbox_depth", "Messages that wait in their mailboxes."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    ("order_duration_seconds", "From accepted to final."),
    ("outbox_publish_delay_seconds", "From commit to the log's acknowledgement."),
    ("actor_mailbox_wait_seconds", "How long a message waited there."),
    ("actor_handle_seconds", "How long it was worked on."),
    ("journal_batch_size", "Steps that were committed in one transaction."),
    ("journal_commit_seconds", "How long that took."),
    ("http_request_duration_seconds", "Requests, until the answer begins."),
];

/// Describes every metric to the recorder that is installed.
pub(super) fn describe_metrics() {
    COUNTERS.iter().for_each(|(name, what)| describe_counter!(*name, *what));
    GAUGES.iter().for_each(|(name, what)| describe_gauge!(*name, *what));
    HISTOGRAMS.iter().for_each(|(name, what)| describe_histogram!(*name, *what));
}
