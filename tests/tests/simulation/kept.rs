//! What the simulation has to know of each saga: where its rows are, what its transactions do besides, what it is like
//! without one of its rules.

use super::mutation::{Mutant, Mutation};
use super::store::Rows;
use super::watch::{Commit, Watch};
use contracts::Timestamp;
use e2e::api::Service;
use inventory_service::saga::{self as inventory, InventorySaga};
use inventory_service::stock::{self, Shelves};
use notification_service::saga::NotificationSaga;
use order_service::saga::OrderSaga;
use payment_service::saga::{self as payment, PaymentSaga};
use runtime::saga::{Decision, Instance, Named, Nothing, Saga, Step};
use std::sync::{Arc, Mutex, PoisonError};

/// The products that there are.
pub(super) const PRODUCTS: [&str; 3] = ["P1", "P2", "P3"];

/// The four databases.
pub(super) struct Databases {
    pub(super) order: Mutex<Rows<OrderSaga>>,
    pub(super) payment: Mutex<Rows<PaymentSaga>>,
    pub(super) inventory: Mutex<Rows<InventorySaga>>,
    pub(super) notification: Mutex<Rows<NotificationSaga>>,
    /// In inventory's database.
    pub(super) shelves: Mutex<Shelves>,
}

impl Databases {
    /// Empty, but for so many of each product.
    pub(super) fn new(on_hand: i64) -> Self {
        let shelf =
            |product: &str| (product.to_owned(), stock::Model { product_id: product.to_owned(), on_hand, reserved: 0 });
        Databases {
            order: Mutex::default(),
            payment: Mutex::default(),
            inventory: Mutex::default(),
            notification: Mutex::default(),
            shelves: Mutex::new(PRODUCTS.into_iter().map(shelf).collect()),
        }
    }

    /// The stock as it is.
    pub(super) fn stock(&self) -> Shelves {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A saga whose service is simulated.
pub(super) trait Kept: Saga {
    /// Whose saga it is.
    const PLACE: Service;

    /// Its table.
    fn rows(databases: &Databases) -> &Mutex<Rows<Self>>;

    /// How far an order has come, in a word.
    fn stage(state: &Self::State) -> String;

    /// What else its transactions do. `seen` is the stock as it was seen without a lock.
    fn settle(_: &Mutant<Self>, _: &Databases, _: &mut [Step<Mutant<Self>>], _: Option<Shelves>) {}

    /// What it decides without one of its rules, where that makes a difference.
    fn decide_without(
        &self,
        _: Mutation,
        _: &Self::State,
        _: &Self::Input,
        _: Timestamp,
    ) -> Option<Decision<Self::Event>> {
        None
    }

    /// Looks at a step that is being committed.
    fn look(watch: &mut Watch, commit: &Commit<'_, Self>);
}

impl Kept for OrderSaga {
    const PLACE: Service = Service::Order;

    fn rows(databases: &Databases) -> &Mutex<Rows<Self>> {
        &databases.order
    }

    fn stage(order: &Self::State) -> String {
        format!("{} {}", order.stage.name(), order.money.name())
    }

    fn look(watch: &mut Watch, commit: &Commit<'_, Self>) {
        watch.order(commit);
    }
}

impl Kept for PaymentSaga {
    const PLACE: Service = Service::Payment;

    fn rows(databases: &Databases) -> &Mutex<Rows<Self>> {
        &databases.payment
    }

    fn stage(payment: &Self::State) -> String {
        payment.stage.name().to_owned()
    }

    fn decide_without(
        &self,
        lacks: Mutation,
        payment: &Self::State,
        input: &Self::Input,
        at: Timestamp,
    ) -> Option<Decision<Self::Event>> {
        use payment::{Input, Stage};
        let early = matches!(payment.stage, Stage::Unknown | Stage::RefundHeld);
        let under_way = matches!(payment.stage, Stage::Refunding | Stage::Refunded);
        let is_close = matches!(input, Input::Closed(_));
        let is_request = matches!(input, Input::RefundRequested(_));
        let as_if = |stage| {
            let before = payment::Payment { stage, ..payment.clone() };
            Some(self.decide(&before, input, at))
        };
        let is_order = matches!(input, Input::OrderCreated { .. });
        let ignores = lacks == Mutation::PaymentForgetsCloses && early && is_close
            || lacks == Mutation::PaymentHoldsNothing && early && is_request
            || lacks == Mutation::LateSuccessKept && payment.stage == Stage::Charging && is_close;
        if ignores {
            Some(Decision::Nothing(Nothing::Late))
        } else if lacks == Mutation::ManyRefunds && under_way && (is_close || is_request) {
            as_if(Stage::Confirmed)
        } else if lacks == Mutation::NoDuplicateCheck && is_order && payment.stage == Stage::Confirmed {
            as_if(Stage::Unknown)
        } else {
            None
        }
    }

    fn look(watch: &mut Watch, commit: &Commit<'_, Self>) {
        watch.any(commit);
    }
}

impl Kept for InventorySaga {
    const PLACE: Service = Service::Inventory;

    fn rows(databases: &Databases) -> &Mutex<Rows<Self>> {
        &databases.inventory
    }

    fn stage(reservation: &Self::State) -> String {
        reservation.stage.name().to_owned()
    }

    fn settle(mutant: &Mutant<Self>, databases: &Databases, steps: &mut [Step<Mutant<Self>>], seen: Option<Shelves>) {
        let mut real: Vec<Step<InventorySaga>> = steps.iter().cloned().map(cast).collect();
        if stock::products(&real).is_empty() {
            return;
        }
        let mut shelves = databases.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let mut locked = seen.unwrap_or_else(|| shelves.clone());
        stock::decide(&mutant.saga, &mut locked, &mut real);
        *shelves = locked;
        for (step, real) in steps.iter_mut().zip(real) {
            *step = cast(real);
        }
    }

    fn decide_without(
        &self,
        lacks: Mutation,
        reservation: &Self::State,
        input: &Self::Input,
        _: Timestamp,
    ) -> Option<Decision<Self::Event>> {
        use inventory::{Input, Stage};
        let stage = reservation.stage;
        let is_close = matches!(input, Input::Closed(_));
        let is_payment = matches!(input, Input::PaymentConfirmed(_));
        let is_early = matches!(stage, Stage::Unknown | Stage::AwaitingPayment);
        let ignores = lacks == Mutation::InventoryForgetsCloses && is_close && is_early
            || lacks == Mutation::InventoryHoldsNothing && is_payment && stage == Stage::Unknown
            || lacks == Mutation::LatePaymentKept && is_payment && stage == Stage::Closed
            || lacks == Mutation::NoRelease && is_close && stage == Stage::Reserved;
        ignores.then_some(Decision::Nothing(Nothing::Late))
    }

    fn look(watch: &mut Watch, commit: &Commit<'_, Self>) {
        watch.any(commit);
    }
}

impl Kept for NotificationSaga {
    const PLACE: Service = Service::Notification;

    fn rows(databases: &Databases) -> &Mutex<Rows<Self>> {
        &databases.notification
    }

    fn stage(notices: &Self::State) -> String {
        let notices = notices.0.iter().map(|notice| format!("{:?} {}", notice.key(), notice.status.name()));
        notices.collect::<Vec<_>>().join(", ")
    }

    fn look(watch: &mut Watch, commit: &Commit<'_, Self>) {
        watch.any(commit);
    }
}

/// The same step by the rules of another saga.
fn cast<A: Saga, B: Saga<State = A::State, Event = A::Event>>(step: Step<A>) -> Step<B> {
    let Step { next, events, emitted, context } = step;
    let Instance { order, version, applied, correlation_id, traceparent, created_at, updated_at, state } =
        Arc::unwrap_or_clone(next);
    let next = Instance { order, version, applied, correlation_id, traceparent, created_at, updated_at, state };
    Step { next: Arc::new(next), events, emitted, context }
}
