//! Clients that have lost the brokers for good.
//!
//! A broker that has just started may answer that the cluster has no brokers: itself it does not count yet. librdkafka
//! (since 2.10) then forgets all that it knows, and sometimes those that it was told to begin with, too: it has nobody left to
//! ask, for ever (confluentinc/librdkafka#5301, in 2.12 and 2.13 at least). Such a client is made anew.

use super::{KafkaLog, KafkaSettings};
use rdkafka::admin::AdminClient;
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use std::time::Duration;

/// How long a new client may take to find brokers,
const NEW: Duration = Duration::from_secs(1);
/// and one that has found none so far, once that has.
const AGAIN: Duration = Duration::from_secs(3);

/// Whether this client finds brokers soon enough. Blocks.
pub(super) fn finds_brokers<C: ClientContext>(client: &Client<C>, patience: Duration) -> bool {
    client.fetch_metadata(None, patience).is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// Whether this client, which has just found no brokers, finds none while a new one does. Blocks for a second, or a few.
pub(super) fn is_lost<C: ClientContext>(settings: &KafkaSettings, client: &Client<C>) -> bool {
    let new_finds = || {
        let new: Result<AdminClient<DefaultClientContext>, _> = KafkaLog::client(settings).create();
        new.is_ok_and(|new| finds_brokers(new.inner(), NEW))
    };
    new_finds() && !finds_brokers(client, AGAIN)
}
