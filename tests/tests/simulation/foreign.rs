//! Services of somebody else: small and honest. They follow the fixed seven topics, and know nothing of ours.

use super::kept::PRODUCTS;
use super::producer::append;
use super::world::World;
use contracts::{
    Amount, Decoded, Envelope, EventType, InventoryFailed, InventoryReserved, MissingLine, Money, OrderConfirmed,
    OrderCreated, OrderId, Payload, PaymentConfirmed, PaymentFailed, PaymentId, PaymentRefundRequested, RefundId,
    ReservationId, ReservedLine, Status, decode,
};
use e2e::api::Service;
use payment_service::provider::Charge;
use runtime::event_log::{NewRecord, Partition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An order at somebody else's order-service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ForeignOrder {
    pub(super) created: OrderCreated,
    /// None while it is pending.
    pub(super) confirmed: Option<bool>,
}

/// A reservation at somebody else's inventory-service.
#[derive(Clone, Debug, Default, PartialEq)]
struct ForeignReservation {
    lines: Option<Vec<(String, i64)>>,
    payment: Option<PaymentConfirmed>,
    is_answered: bool,
}

/// What somebody else's services know.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ForeignBooks {
    pub(super) orders: BTreeMap<OrderId, ForeignOrder>,
    /// Answers to `order.created`.
    payments: BTreeMap<OrderId, Payload>,
    reservations: BTreeMap<OrderId, ForeignReservation>,
    reserved: BTreeMap<String, i64>,
}

/// An event of somebody else's as a record.
pub(super) fn event(world: &World, payload: Payload) -> NewRecord {
    let headers = vec![("event-type".to_owned(), payload.event_type().name().as_bytes().to_vec())];
    let (topic, key) = (payload.event_type().topic().to_owned(), payload.order_id().to_string().into_bytes());
    let envelope = Envelope { event_id: world.new_id(), correlation_id: String::new(), payload };
    NewRecord { topic, key: Some(key), value: Some(envelope.encode(world.timestamp())), headers }
}

/// The payment's name at a foreign payment-service.
pub(super) fn payment_id(order: OrderId) -> PaymentId {
    PaymentId(format!("pay/{order}"))
}

/// The services that are somebody else's.
pub(super) fn start(world: &Arc<World>) {
    let foreign = world.plan.foreign;
    let services =
        [(foreign.order, Service::Order), (foreign.payment, Service::Payment), (foreign.inventory, Service::Inventory)];
    for (_, service) in services.into_iter().filter(|(is_foreign, _)| *is_foreign) {
        let topics: Vec<String> = reads(service).iter().map(|event_type| event_type.topic().to_owned()).collect();
        world.with(|state| state.log.groups.entry(service.name().to_owned()).or_default().topics = topics);
        tokio::spawn(serve(Arc::clone(world), service));
    }
}

const fn reads(service: Service) -> &'static [EventType] {
    match service {
        Service::Order => &[
            EventType::PaymentConfirmed,
            EventType::PaymentFailed,
            EventType::InventoryReserved,
            EventType::InventoryFailed,
        ],
        Service::Payment => &[EventType::OrderCreated, EventType::PaymentRefundRequested],
        Service::Inventory => &[EventType::OrderCreated, EventType::PaymentConfirmed],
        Service::Notification => &[],
    }
}

async fn serve(world: Arc<World>, service: Service) {
    let who = format!("foreign {}", service.name().trim_end_matches("-service"));
    loop {
        tokio::time::sleep(Duration::from_millis(5 + world.draw(60))).await;
        let Some((partition, value)) = next(&world, service) else { continue };
        let decoded = value.and_then(|(key, value)| decode(&partition.topic, key.as_deref(), value.as_deref()).ok());
        if let Some(Decoded::Event(envelope)) = decoded {
            for payload in handle(&world, service, envelope.payload) {
                append(&world, &who, event(&world, payload.clone()));
                if world.plan.foreign.repeats {
                    repeat(&world, payload);
                }
            }
        }
        world.with(|state| {
            let group = state.log.groups.entry(service.name().to_owned()).or_default();
            *group.offsets.entry(partition).or_default() += 1;
        });
    }
}

/// Sends it once more, later and under a new id.
fn repeat(world: &Arc<World>, payload: Payload) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(world.draw(2_000))).await;
        world.count("foreign events repeated under new ids");
        append(&world, &"foreign, again", event(&world, payload));
    });
}

type Message = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The next record of any partition that does not stand still.
fn next(world: &World, service: Service) -> Option<(Partition, Option<Message>)> {
    let now = world.millis();
    world.with(|state| {
        let (log, rng) = (&state.log, &mut state.rng);
        let group = log.groups.get(service.name()).filter(|_| !log.away)?;
        let is_open = |partition: &Partition| {
            let next = group.offsets.get(partition).copied().unwrap_or(0);
            let stalls = group.stalls.get(partition).is_some_and(|until| *until > now);
            group.topics.contains(&partition.topic) && !stalls && next < log.end(partition)
        };
        let open: Vec<&Partition> = log.partitions.keys().filter(|partition| is_open(partition)).collect();
        let partition = (*rng.choice(&open)?).clone();
        let record = log.read(&partition, group.offsets.get(&partition).copied().unwrap_or(0));
        Some((partition, record.map(|record| (record.key, record.value))))
    })
}

fn handle(world: &World, service: Service, payload: Payload) -> Vec<Payload> {
    world.with(|state| match service {
        Service::Order => state.foreign.order(&payload, world),
        Service::Payment => {
            let Payload::OrderCreated(created) = payload else {
                if let Payload::PaymentRefundRequested(request) = payload
                    && let Some(Payload::PaymentConfirmed(confirmed)) = state.foreign.payments.get(&request.order_id)
                    && (&confirmed.payment_id, &confirmed.amount) == (&request.payment_id, &request.amount)
                    && let Amount::Exact(amount) = request.amount
                {
                    state.ledger.refund(&format!("refund-{}", request.payment_id), amount);
                }
                return Vec::new();
            };
            if state.foreign.payments.contains_key(&created.order_id) {
                return Vec::new();
            }
            let amount = created.total_amount.positive().unwrap_or(Money::ZERO);
            let key = format!("charge-{}", payment_id(created.order_id));
            let outcome = match created.unpayable() {
                Some(why) => Charge::Declined(why),
                None => state.ledger.charge(&key, &created.customer_id, amount),
            };
            let answer = answer(created, outcome);
            state.foreign.payments.insert(answer.order_id(), answer.clone());
            vec![answer]
        }
        Service::Inventory => {
            let hasty = world.plan.foreign.hasty;
            let stock = world.plan.stock;
            if let Payload::OrderCreated(created) = &payload
                && hasty
                && !state.foreign.has(created, stock)
            {
                return state.foreign.refuse(created);
            }
            state.foreign.inventory(payload, stock)
        }
        Service::Notification => Vec::new(),
    })
}

fn answer(created: OrderCreated, outcome: Charge) -> Payload {
    let OrderCreated { order_id, total_amount: amount, currency, .. } = created;
    let payment_id = payment_id(order_id);
    match outcome {
        Charge::Charged => Payload::PaymentConfirmed(PaymentConfirmed {
            payment_id,
            order_id,
            amount,
            currency,
            status: Status::Confirmed,
        }),
        Charge::Declined(reason) => Payload::PaymentFailed(PaymentFailed {
            payment_id,
            order_id,
            amount,
            currency,
            status: Status::Failed,
            reason,
        }),
    }
}

impl ForeignBooks {
    fn order(&mut self, payload: &Payload, world: &World) -> Vec<Payload> {
        let decides = [EventType::InventoryReserved, EventType::PaymentFailed, EventType::InventoryFailed]
            .contains(&payload.event_type());
        let pending = self.orders.get_mut(&payload.order_id()).filter(|order| decides && order.confirmed.is_none());
        let Some(order) = pending else { return Vec::new() };
        if payload.event_type() != EventType::InventoryReserved {
            order.confirmed = Some(false);
            return Vec::new();
        }
        order.confirmed = Some(true);
        vec![Payload::OrderConfirmed(OrderConfirmed {
            order_id: order.created.order_id,
            customer_id: order.created.customer_id.clone(),
            status: Status::Confirmed,
            confirmed_at: world.timestamp().to_string(),
            contact: order.created.contact.clone(),
        })]
    }

    /// Whether there is enough for an order.
    fn has(&self, created: &OrderCreated, on_hand: i64) -> bool {
        let needs = |product: &str| {
            let lines = created.items.iter().filter(|line| line.product_id == product);
            lines.map(|line| line.quantity).sum::<i64>()
        };
        let held = |product: &str| self.reserved.get(product).copied().unwrap_or(0);
        PRODUCTS.iter().all(|product| held(product) + needs(product) <= on_hand)
    }

    /// Refuses an order at once, whose payment it has not heard of; it knows how payments are named.
    fn refuse(&mut self, created: &OrderCreated) -> Vec<Payload> {
        let order_id = created.order_id;
        let reservation = self.reservations.entry(order_id).or_default();
        if std::mem::replace(&mut reservation.is_answered, true) {
            return Vec::new();
        }
        let reason = "sold out".to_owned();
        vec![
            Payload::InventoryFailed(InventoryFailed { order_id, reason: reason.clone(), items: Vec::new() }),
            Payload::PaymentRefundRequested(PaymentRefundRequested {
                refund_id: RefundId(format!("ref/{order_id}")),
                payment_id: PaymentId::of(order_id),
                order_id,
                amount: created.total_amount.clone(),
                currency: created.currency.clone(),
                reason,
            }),
        ]
    }

    fn inventory(&mut self, payload: Payload, on_hand: i64) -> Vec<Payload> {
        let order_id = payload.order_id();
        let reservation = self.reservations.entry(order_id).or_default();
        if let Payload::OrderCreated(created) = payload {
            let lines = created.items.into_iter().map(|line| (line.product_id, line.quantity));
            reservation.lines.get_or_insert_with(|| lines.collect());
        } else if let Payload::PaymentConfirmed(payment) = payload {
            reservation.payment.get_or_insert(payment);
        }
        let (Some(lines), Some(payment), false) = (&reservation.lines, &reservation.payment, reservation.is_answered)
        else {
            return Vec::new();
        };
        reservation.is_answered = true;
        let of =
            |product: &str| lines.iter().filter(|(id, _)| id == product).map(|(_, quantity)| quantity).sum::<i64>();
        let held = |product: &str| self.reserved.get(product).copied().unwrap_or(0);
        let fits = PRODUCTS.iter().all(|product| held(product) + of(product) <= on_hand);
        if fits {
            for (product, quantity) in lines {
                *self.reserved.entry(product.clone()).or_default() += quantity;
            }
            let items = lines.iter().map(|(product, quantity)| ReservedLine {
                product_id: product.clone(),
                quantity: *quantity,
                reserved_quantity: *quantity,
            });
            let reservation_id = ReservationId(format!("res/{order_id}"));
            return vec![Payload::InventoryReserved(InventoryReserved {
                reservation_id,
                order_id,
                items: items.collect(),
            })];
        }
        let missing = lines.iter().map(|(product, quantity)| MissingLine {
            product_id: product.clone(),
            requested_quantity: *quantity,
            available_quantity: on_hand - held(product),
        });
        vec![
            Payload::InventoryFailed(InventoryFailed { order_id, reason: "sold out".into(), items: missing.collect() }),
            Payload::PaymentRefundRequested(PaymentRefundRequested {
                refund_id: RefundId(format!("ref/{order_id}")),
                payment_id: payment.payment_id.clone(),
                order_id,
                amount: payment.amount.clone(),
                currency: payment.currency.clone(),
                reason: "sold out".into(),
            }),
        ]
    }
}
