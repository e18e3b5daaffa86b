//! What only a real Kafka shows.

use super::until_confirmed;
use anyhow::{Context, Result, ensure};
use e2e::amnesia::Amnesiac;
use e2e::programs::Stack;
use e2e::rig::{self, Rig, append, foreign, order_created};
use migrations::{OrderMigrator, PaymentMigrator};
use order_service::saga::OrderSaga;
use payment_service::saga::PaymentSaga;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use runtime::actors::outside::Nowhere;
use runtime::event_log::NewRecord;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Row 17. A broker that has just started says that there are no brokers, and a client may then know of none, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn row_17_clients_that_have_lost_the_brokers_are_made_anew() -> Result<()> {
    let stack = Stack::from_environment()?;
    let directory = tempfile::tempdir()?;
    let broker = Amnesiac::start(stack.kafka.clone()).await?;
    let through_proxy = Stack { kafka: broker.address.to_string(), ..stack.clone() };
    let store = Arc::new(rig::store::<PaymentSaga, PaymentMigrator>(directory.path()).await?);
    let rig = Rig::start(store, Arc::new(through_proxy.log()?), rig::stub_provider()).await?;
    let log = stack.log()?;
    let mut orders = Vec::new();
    for _ in 0..10 {
        let order = order_created("5");
        append(&log, vec![foreign(&order, 0)]).await?;
        orders.push(order);
        let forgot = broker.forgot();
        broker.restart(true);
        // A client that is lost does not ask any more.
        let asked = async {
            while broker.forgot() == forgot {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), asked).await;
        broker.restart(false);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    ensure!(broker.forgot() > 0, "nobody was told that there are no brokers");
    let all_done = async {
        for order in &orders {
            until_confirmed(&rig, order).await?;
        }
        while rig.wiring.store.backlog().await?.unsent > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    let in_time = tokio::time::timeout(Duration::from_secs(120), all_done).await;
    in_time.with_context(|| format!("a client finds no broker: {:?}", rig.wiring.health.report()))??;
    rig.stop().await
}

/// Row 21. The end of a transaction takes a place on its partition that nobody is given, and a transaction that was taken
/// back takes several: whoever waits until everything is read does not wait for these.
#[tokio::test(flavor = "multi_thread")]
async fn row_21_transactions_of_a_foreign_service_hold_nothing_up() -> Result<()> {
    let stack = Stack::from_environment()?;
    let directory = tempfile::tempdir()?;
    let store = Arc::new(rig::store::<OrderSaga, OrderMigrator>(directory.path()).await?);
    let rig = Rig::start(store, Arc::new(stack.log()?), Arc::new(Nowhere)).await?;
    rig.caught_up().await?;
    let servers = stack.kafka.clone();
    let written = tokio::task::spawn_blocking(move || -> Result<()> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("transactional.id", Uuid::now_v7().to_string());
        let producer: BaseProducer = config.create()?;
        let patience = Duration::from_secs(30);
        producer.init_transactions(patience)?;
        for is_kept in [true, false, true, false] {
            producer.begin_transaction()?;
            let order = Uuid::now_v7().to_string();
            let record = BaseRecord::to("payment.confirmed").key(&order).payload("nothing of ours");
            producer.send(record).map_err(|(error, _)| error)?;
            match is_kept {
                true => producer.commit_transaction(patience)?,
                false => {
                    // What is only in the client's memory would not be taken back, but never be sent.
                    producer.flush(patience)?;
                    producer.abort_transaction(patience)?;
                }
            }
        }
        Ok(())
    });
    written.await??;
    rig.caught_up().await.context("the ends of transactions are waited for")?;
    rig.stop().await
}

/// Row 21. A message that its sender compressed may be larger than its dead-letter topic takes: the dead letter is compressed,
/// too.
#[tokio::test(flavor = "multi_thread")]
async fn row_21_a_dead_letter_is_as_large_as_its_message() -> Result<()> {
    let log = Stack::from_environment()?.log()?;
    let letter = |value: Vec<u8>| NewRecord {
        topic: "order.created.dlt".to_owned(),
        key: None,
        value: Some(value),
        headers: Vec::new(),
    };
    append(&log, vec![letter(vec![b'x'; 6_000_000]), letter(b"small".to_vec())]).await
}
