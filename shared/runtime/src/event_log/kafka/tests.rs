use super::writer::producing;
use super::*;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::util::Timeout;

/// librdkafka's own mock of a broker takes any sequence number, as Kafka does on a partition that is new.
#[tokio::test]
async fn what_a_new_partition_acknowledges_is_there() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("new", 1, 1).unwrap();
    // Long enough for a second request, if there can be one.
    cluster.broker_round_trip_time(1, Duration::from_millis(100)).unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
    let settings = KafkaSettings {
        bootstrap_servers: cluster.bootstrap_servers(),
        partitions: 1,
        replication_factor: 1,
        instance_id: None,
    };
    let producer: FutureProducer = producing(&settings).create().unwrap();
    // So large that each is a request of its own (`batch.size`).
    let large = vec![0; 900_000];
    let record = || FutureRecord::<(), Vec<u8>>::to("new").payload(&large);
    let sent = join_all([1, 2, 3].map(|_| producer.send(record(), Timeout::Never))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let (_, end) = producer.client().fetch_watermarks("new", 0, ASK).unwrap();
    assert_eq!(end, 3, "records on the partition");
}
