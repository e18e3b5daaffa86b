//! What a seed stands for: who is there, what is ordered, and what goes wrong.

use super::mutation::Mutation;
use super::point::Point;
use fastrand::Rng;
use std::fmt;
use strum::VariantArray;

/// How often something goes wrong, in thousandths of the times that it could.
pub(crate) type PerMille = u32;

/// What goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// A process is killed at any point.
    pub(crate) crash: PerMille,
    /// A process is killed at this point.
    pub(crate) focus: Option<(Point, PerMille)>,
    /// At most so many crashes at points.
    pub(crate) crashes: u32,
    /// Processes that are killed at any time.
    pub(crate) kills: u32,
    /// Processes that are frozen for a while.
    pub(crate) freezes: u32,
    /// Processes that are stopped with their work done.
    pub(crate) stops: u32,
    /// Rebalances for no reason.
    pub(crate) churn: u32,
    /// Times that a database is away.
    pub(crate) database_outages: u32,
    /// The longest time that a read of an outbox takes, in milliseconds.
    pub(crate) slow_read: u64,
    /// Commits that fail and have done nothing.
    pub(crate) deadlock: PerMille,
    /// Commits that are done, and the answer is lost.
    pub(crate) lost_answer: PerMille,
    /// Calls in which a part of a service panics.
    pub(crate) panic: PerMille,
    /// Times that the broker is away.
    pub(crate) broker_outages: u32,
    /// Records that the log has taken, and says that it has not.
    pub(crate) log_error: PerMille,
    /// Records with which a group member's client breaks.
    pub(crate) broken: PerMille,
    /// Records whose partition stands still for a while for a group.
    pub(crate) stall: PerMille,
    /// The longest such while, in milliseconds.
    pub(crate) longest_stall: u64,
    /// Records that are appended once more, some time later.
    pub(crate) duplicate: PerMille,
    /// Calls of the provider without an outcome.
    pub(crate) no_outcome: PerMille,
    /// Attempts at each refund that are in vain.
    pub(crate) refund_failures: u32,
    /// Notices that the channel does not take.
    pub(crate) undelivered: PerMille,
    /// Bad messages.
    pub(crate) bad_messages: u32,
    /// How far a replica's clock is off, at most, in milliseconds.
    pub(crate) skew: i64,
    /// Times that a database's clock jumps.
    pub(crate) clock_jumps: u32,
}

/// Which of our services are replaced by somebody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// order-service
    pub(crate) order: bool,
    /// payment-service
    pub(crate) payment: bool,
    /// inventory-service
    pub(crate) inventory: bool,
    /// They send every event again under a new id.
    pub(crate) repeats: bool,
    /// The inventory refuses what it does not have at once, and asks for the refund of a payment that it has not heard of.
    pub(crate) hasty: bool,
}

/// A run of the simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Decides everything.
    pub(crate) seed: u64,
    /// Of each service.
    pub(crate) replicas: [usize; 4],
    /// Of each topic.
    pub(crate) partitions: i32,
    /// How long an order waits for a step, in milliseconds; none is for ever.
    pub(crate) deadline: Option<i64>,
    /// Somebody else's services.
    pub(crate) foreign: Foreign,
    /// How many are placed.
    pub(crate) orders: u32,
    /// The time in which they are placed, in milliseconds.
    pub(crate) placing: u64,
    /// How many of a hundred orders are cancelled.
    pub(crate) cancelled: u32,
    /// How many of a hundred customers the provider declines.
    pub(crate) declined: u32,
    /// On hand of each product.
    pub(crate) stock: i64,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// What our services lack, for once.
    pub(crate) mutation: Option<Mutation>,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        let many = rng.u32(0..10) < 4;
        let replicas = [(); 4].map(|()| if many { rng.usize(1..=3) } else { 1 });
        let mut plan = Plan {
            seed,
            replicas,
            partitions: rng.i32(2..=3),
            deadline: rng.bool().then(|| rng.i64(500..8_000)),
            foreign: foreign(&mut rng),
            orders: rng.u32(2..=6),
            placing: *rng.choice(&[30, 2_000, 6_000]).unwrap_or(&0),
            cancelled: *rng.choice(&[0, 20, 60]).unwrap_or(&0),
            declined: 15,
            stock: rng.i64(2..=9),
            faults: faults(&mut rng),
            mutation: None,
        };
        if seed.is_multiple_of(20) {
            plan.faults = Faults::default();
        }
        plan.lead_to_focus();
        plan
    }
}

impl Plan {
    /// Sees to it that the point at which processes are to be killed is passed.
    fn lead_to_focus(&mut self) {
        let Some((point, share)) = &mut self.faults.focus else { return };
        match point {
            Point::InDrain => {
                self.faults.stops = self.faults.stops.max(4);
                *share = 900;
            }
            Point::BeforeDeadLetter | Point::DeadLettered => {
                self.faults.bad_messages = self.faults.bad_messages.max(4);
                *share = (*share).max(600);
            }
            Point::BeforeRefund | Point::Refunded => {
                self.cancelled = self.cancelled.max(100);
                *share = (*share).max(600);
            }
            Point::Joining | Point::Revoking => self.faults.churn = self.faults.churn.max(2),
            Point::BeforeLoad
            | Point::BeforeCommit
            | Point::Committed
            | Point::OutcomeUncommitted
            | Point::BeforeAppend
            | Point::Appended
            | Point::BeforeDelete
            | Point::Deleted
            | Point::Read
            | Point::BeforeOffset
            | Point::OffsetStored
            | Point::BeforeCharge
            | Point::Charged
            | Point::BeforeNotice
            | Point::Noticed => {}
        }
    }
}

fn foreign(rng: &mut Rng) -> Foreign {
    let repeats = rng.bool();
    let (order, payment, inventory) = match rng.u32(0..20) {
        0 | 1 => (true, false, false),
        2 | 3 => (false, true, false),
        4 | 5 => (false, false, true),
        6 => (true, false, true),
        _ => (false, false, false),
    };
    Foreign { order, payment, inventory, repeats, hasty: order && inventory }
}

fn faults(rng: &mut Rng) -> Faults {
    let focus = rng.choice(Point::VARIANTS).copied();
    let harsh = rng.u32(0..3);
    let crash = if harsh > 0 { *rng.choice(&[0, 2, 8]).unwrap_or(&0) } else { 0 };
    let focus = focus.filter(|_| harsh > 0).map(|point| (point, rng.u32(100..600)));
    let mut maybe = |share: u32, value: u32| if rng.u32(0..100) < share { rng.u32(1..=value) } else { 0 };
    Faults {
        crash,
        focus,
        crashes: maybe(100, 4),
        kills: maybe(30, 3),
        freezes: maybe(20, 2),
        stops: maybe(20, 2),
        churn: maybe(20, 4),
        database_outages: maybe(20, 2),
        slow_read: u64::from(maybe(15, 2_000)),
        deadlock: maybe(20, 100),
        lost_answer: maybe(25, 100),
        panic: maybe(10, 10),
        broker_outages: maybe(15, 2),
        log_error: maybe(10, 50),
        broken: maybe(10, 50),
        stall: maybe(50, 400),
        longest_stall: u64::from(maybe(100, 3)) * 3_000,
        duplicate: maybe(30, 200),
        no_outcome: maybe(40, 400),
        refund_failures: maybe(20, 6),
        undelivered: maybe(40, 300),
        bad_messages: maybe(25, 6),
        skew: i64::from(maybe(20, 1_000)),
        clock_jumps: maybe(10, 2),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {self:?}", self.seed)
    }
}
