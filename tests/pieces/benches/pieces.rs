//! The pieces that decide how fast the system is: `cargo bench -p pieces`. With `tests/stack/run.sh` before it, also on
//! PostgreSQL and Kafka.

use contracts::{Envelope, OrderId, Payload, Timestamp};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use e2e::programs::Stack;
use e2e::rig;
use e2e::topics;
use migrations::OrderMigrator;
use order_service::saga::{OrderSaga, Stage};
use runtime::acknowledgements::Acknowledgements;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::{EventLog, NewRecord};
use runtime::saga::{Instance, Step};
use runtime::store::sql::SqlStore;
use runtime::store::{Store, Verdict};
use sea_orm::ConnectionTrait;
use std::hint::black_box;
use std::sync::Arc;
use tokio::runtime::Runtime;
use uuid::Uuid;

const SIZES: [usize; 4] = [1, 10, 100, 1_000];
const NOW: Timestamp = Timestamp(1_795_000_000_000_000);

fn step() -> Step<OrderSaga> {
    let order = Instance::unknown(OrderId(Uuid::now_v7()));
    Step::decide(&OrderSaga::default(), &order, &rig::placed(), NOW).expect("an order can be placed")
}

fn messages(criterion: &mut Criterion) {
    let payload: Payload = rig::order_created("99.99");
    let envelope = Envelope { event_id: Uuid::now_v7(), correlation_id: Uuid::now_v7().to_string(), payload };
    let bytes = envelope.encode(NOW);
    let key = envelope.payload.order_id().to_string();
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&envelope).encode(NOW)));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| contracts::decode("order.created", Some(key.as_bytes()), Some(black_box(&bytes))));
    });
}

fn rules(criterion: &mut Criterion) {
    let (order, cause) = (Instance::unknown(OrderId(Uuid::now_v7())), rig::placed());
    criterion.bench_function("decide and evolve", |bencher| {
        bencher.iter(|| Step::decide(&OrderSaga::default(), black_box(&order), black_box(&cause), NOW));
    });
    criterion.bench_function("1,000 acknowledgements, every tenth late", |bencher| {
        bencher.iter(|| {
            let mut acknowledgements = Acknowledgements::default();
            (0..1_000).for_each(|offset| acknowledgements.begin(offset));
            let (late, soon): (Vec<i64>, Vec<i64>) = (0..1_000).partition(|offset| offset % 10 == 0);
            soon.into_iter().chain(late).filter_map(|offset| acknowledgements.finish(offset)).max()
        });
    });
}

fn journal(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let sqlite = runtime.block_on(rig::store::<OrderSaga, OrderMigrator>(directory.path())).expect("a database");
    let mut stores = vec![("SQLite", sqlite)];
    if let Ok(stack) = Stack::from_environment() {
        stores.push(("PostgreSQL", runtime.block_on(postgres(&stack)).expect("a database")));
    }
    for (name, store) in stores {
        let mut group = criterion.benchmark_group(format!("journal batch on {name}"));
        group.sample_size(20);
        for size in SIZES {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, size| {
                let steps = || (0..*size).map(|_| step()).collect::<Vec<_>>();
                bencher.iter_batched(
                    steps,
                    |steps| {
                        let verdicts = runtime.block_on(store.commit(&steps, &[])).expect("it commits");
                        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Committed(order, _) if order.state.stage == Stage::AwaitingPayment)));
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
}

async fn postgres(stack: &Stack) -> anyhow::Result<SqlStore<OrderSaga>> {
    let server = Database::open(&DatabaseSettings::Postgres(format!("{}/postgres", stack.postgres))).await?;
    server.read.execute_unprepared("CREATE DATABASE pieces").await?;
    let database = Database::open(&DatabaseSettings::Postgres(format!("{}/pieces", stack.postgres))).await?;
    database.migrate::<OrderMigrator>().await?;
    Ok(SqlStore::new(OrderSaga::default(), database))
}

fn log(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let embedded: Arc<dyn EventLog> = runtime.block_on(rig::log(directory.path())).expect("a log");
    let mut logs = vec![("the embedded log", embedded)];
    if let Ok(stack) = Stack::from_environment() {
        logs.push(("Kafka", Arc::new(stack.log().expect("a log"))));
    }
    for (name, log) in logs {
        let topic = "order.created".to_owned();
        let group_id = format!("pieces-{}", Uuid::now_v7());
        let mut subscription = runtime.block_on(log.subscribe(&group_id, &[topic])).expect("a subscription");
        let mut group = criterion.benchmark_group(format!("publish and consume on {name}"));
        group.sample_size(20);
        for size in SIZES {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, size| {
                let records: Vec<NewRecord> = (0..*size).map(|_| record()).collect();
                bencher.iter(|| {
                    runtime.block_on(async {
                        rig::append(log.as_ref(), records.clone()).await.expect("it is taken");
                        for _ in 0..*size {
                            topics::next(&mut subscription).await.expect("it comes");
                        }
                    });
                });
            });
        }
    }
}

fn record() -> NewRecord {
    rig::foreign(&rig::order_created("99.99"), 0)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    [messages, rules, journal, log].into_iter().for_each(|pieces: fn(&mut Criterion)| pieces(&mut criterion));
    criterion.final_summary();
}
