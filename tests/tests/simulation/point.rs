//! The named points at which a process can be killed.

use strum::VariantArray;

/// A point that every process passes, and at which it can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub(crate) enum Point {
    /// Orders are about to be read from the database.
    BeforeLoad,
    /// Steps are decided and not committed.
    BeforeCommit,
    /// Steps are committed, and nobody knows.
    Committed,
    /// The outcome of a call of the provider is known and not committed.
    OutcomeUncommitted,
    /// Events are committed and not on the log.
    BeforeAppend,
    /// Events are on the log, and the log has not said so.
    Appended,
    /// The log has acknowledged, and the rows are still in the outbox.
    BeforeDelete,
    /// The rows are gone from the outbox, and nobody knows.
    Deleted,
    /// A record was read.
    Read,
    /// What was read is committed; the offset is not stored.
    BeforeOffset,
    /// The offset is stored.
    OffsetStored,
    /// The intent to charge is committed; the provider has not been asked.
    BeforeCharge,
    /// The provider has charged and not answered.
    Charged,
    /// The intent to refund is committed; the provider has not been asked.
    BeforeRefund,
    /// The provider has refunded and not answered.
    Refunded,
    /// A notice is recorded and not sent.
    BeforeNotice,
    /// A notice is sent and not noted.
    Noticed,
    /// A message is bad, and is not yet on the dead-letter topic.
    BeforeDeadLetter,
    /// A dead letter is on its topic; the offset is not stored.
    DeadLettered,
    /// A group is joined.
    Joining,
    /// Partitions are given back.
    Revoking,
    /// The process is ending, with its work being done.
    InDrain,
}
