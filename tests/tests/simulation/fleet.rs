//! The processes of our services: how they are started, found, and stopped.

use super::kept::Kept;
use super::ledger::SimProvider;
use super::mutation::Mutant;
use super::outside::{SameOutside, SimChannel};
use super::process::{Process, SimClock};
use super::producer::SimLog;
use super::store::SimStore;
use super::world::World;
use e2e::api::Service;
use inventory_service::saga::InventorySaga;
use notification_service::saga::{NotificationSaga, Occasion};
use order_service::saga::OrderSaga;
use payment_service::provider::{Provided, Provider};
use payment_service::saga::PaymentSaga;
use ractor::Actor;
use runtime::actors::Wiring;
use runtime::actors::consumer::Attempts;
use runtime::actors::outside::{Nowhere, Outside};
use runtime::actors::supervisor::{Supervisor, Tree};
use runtime::health::Health;
use runtime::saga::Named;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use strum::VariantArray;
use tokio::sync::mpsc;

/// How long the provider is waited for.
const PROVIDER_LIMIT: Duration = Duration::from_secs(5);
/// The budget of one message.
const ATTEMPTS: Attempts = Attempts { max: 3, interval: Duration::from_millis(1_000) };

/// order-service's wiring.
pub(super) type OrderWiring = Arc<Wiring<Mutant<OrderSaga>>>;

/// A replica of a service, as it runs now.
struct Replica {
    process: Arc<Process>,
    /// For callers, where it is order-service.
    order: Option<OrderWiring>,
}

/// All processes of our services.
pub(super) struct Fleet {
    world: Arc<World>,
    replicas: Mutex<BTreeMap<(Service, usize), Replica>>,
}

impl Fleet {
    /// Starts every replica, and starts again each that ends.
    pub(super) async fn start(world: &Arc<World>, endings: mpsc::UnboundedReceiver<(Service, usize)>) -> Arc<Self> {
        let fleet = Arc::new(Fleet { world: Arc::clone(world), replicas: Mutex::default() });
        for service in Service::VARIANTS.iter().copied().filter(|service| !is_foreign(world, *service)) {
            for replica in 0..world.plan.replicas[service as usize] {
                fleet.launch(service, replica, 0).await;
            }
        }
        tokio::spawn(keep(Arc::clone(&fleet), endings));
        fleet
    }

    fn replicas(&self) -> MutexGuard<'_, BTreeMap<(Service, usize), Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The processes that were started last, running or not.
    pub(super) fn processes(&self) -> Vec<Arc<Process>> {
        self.replicas().values().map(|replica| Arc::clone(&replica.process)).collect()
    }

    /// The processes of order-service.
    pub(super) fn order_wirings(&self) -> Vec<(Arc<Process>, OrderWiring)> {
        let of = |replica: &Replica| Some((Arc::clone(&replica.process), replica.order.clone()?));
        self.replicas().values().filter_map(of).collect()
    }

    async fn launch(self: &Arc<Self>, service: Service, replica: usize, incarnation: u32) {
        let process = Arc::new(Process::new(service, replica, incarnation));
        let skew = self.world.plan.faults.skew;
        let off = self.world.with(|state| state.rng.i64(-skew..=skew));
        process.clock_is_off.store(off, Ordering::Relaxed);
        self.world.tell(&process, None, "starts".to_owned());
        let (world, deadline) = (&self.world, self.world.plan.deadline);
        match service {
            Service::Order => {
                let saga = OrderSaga { payment_deadline: deadline, inventory_deadline: deadline };
                let health = Arc::new(Health::starting("test", true));
                let wiring = self.wire(saga, &process, Arc::new(Nowhere), health).await;
                if let Some(replica) = self.replicas().get_mut(&(service, replica)) {
                    replica.order = Some(wiring);
                }
            }
            Service::Payment => {
                let adapter = Arc::new(SimProvider { world: Arc::clone(world), process: Arc::clone(&process) });
                let provider = Provider { adapter, time_limit: PROVIDER_LIMIT };
                let clock = Arc::new(SimClock { world: Arc::clone(world), process: Arc::clone(&process) });
                let health = Arc::new(Health::starting("test", false));
                let outside = Provided::new(provider, clock, Arc::clone(&health));
                self.wire(PaymentSaga, &process, Arc::new(SameOutside(outside)), health).await;
            }
            Service::Inventory => {
                let health = Arc::new(Health::starting("test", false));
                self.wire(InventorySaga { deadline }, &process, Arc::new(Nowhere), health).await;
            }
            Service::Notification => {
                let channel = SimChannel { world: Arc::clone(world), process: Arc::clone(&process) };
                let health = Arc::new(Health::starting("test", false));
                self.wire(everywhere(), &process, Arc::new(SameOutside(channel)), health).await;
            }
        }
    }

    /// Wires a service and starts its tree, without HTTP.
    async fn wire<S: Kept>(
        self: &Arc<Self>,
        saga: S,
        process: &Arc<Process>,
        outside: Arc<dyn Outside<Mutant<S>>>,
        health: Arc<Health>,
    ) -> Arc<Wiring<Mutant<S>>> {
        let world = &self.world;
        let saga = Mutant { saga, lacks: world.plan.mutation };
        let wiring = Wiring::new(
            saga.clone(),
            Arc::new(SimStore::new(Arc::clone(world), Arc::clone(process), saga)),
            Arc::new(SimLog { world: Arc::clone(world), process: Arc::clone(process) }),
            Arc::new(SimClock { world: Arc::clone(world), process: Arc::clone(process) }),
            outside,
            Arc::clone(&health),
        );
        let children = wiring.children(ATTEMPTS);
        let tree = Tree { service: S::SERVICE, children, health, roster: Arc::default() };
        let (supervisor, ended) = Supervisor::spawn(None, Supervisor, tree).await.expect("a supervisor starts");
        let (world, of) = (Arc::clone(world), Arc::clone(process));
        tokio::spawn(async move {
            // How it ended is seen in the story before.
            let _ = ended.await;
            world.kill(&of, "has ended");
        });
        // Nobody has set it before.
        let _ = process.supervisor.set(supervisor);
        let replica = Replica { process: Arc::clone(process), order: None };
        self.replicas().insert((process.service, process.replica), replica);
        wiring
    }
}

/// Notices by every way that leads to the customer.
fn everywhere() -> NotificationSaga {
    let all: BTreeSet<Occasion> = Occasion::ALL.iter().copied().collect();
    NotificationSaga { email: all.clone(), webhook: all, ..NotificationSaga::default() }
}

fn is_foreign(world: &World, service: Service) -> bool {
    let foreign = world.plan.foreign;
    match service {
        Service::Order => foreign.order,
        Service::Payment => foreign.payment,
        Service::Inventory => foreign.inventory,
        Service::Notification => false,
    }
}

/// Starts again what has ended.
async fn keep(fleet: Arc<Fleet>, mut endings: mpsc::UnboundedReceiver<(Service, usize)>) {
    while let Some((service, replica)) = endings.recv().await {
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50 + fleet.world.draw(3_000))).await;
            let incarnation =
                fleet.replicas().get(&(service, replica)).map_or(0, |replica| replica.process.incarnation);
            fleet.launch(service, replica, incarnation + 1).await;
        });
    }
}
