use contracts::{OrderId, Payload, Timestamp};
use runtime::saga::{Caused, Instance, Origin, Saga, Step, Unmoved};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// One order of one service, driven by hand through the real step, and what came of it.
pub struct Story<S: Saga> {
    /// The rules.
    pub saga: S,
    /// The order as it stands.
    pub instance: Arc<Instance<S>>,
    /// What the others were told, in order.
    pub emitted: Vec<Payload>,
    lines: Vec<String>,
    inputs: u128,
}

impl<S: Saga + Default> Default for Story<S> {
    fn default() -> Self {
        let order = OrderId(Uuid::from_u128(1));
        Story {
            saga: S::default(),
            instance: Arc::new(Instance::unknown(order)),
            emitted: Vec::new(),
            lines: Vec::new(),
            inputs: 0,
        }
    }
}

impl<S: Saga> Story<S> {
    /// Gives the order an input under an id that was not seen before. `settle` is what the transaction does to the
    /// step. Returns whether anything changed.
    pub fn feed_settled(&mut self, input: S::Input, settle: impl FnOnce(&S, &mut Step<S>)) -> bool {
        self.inputs += 1;
        let line = format!("{input:?}");
        let cause = Caused {
            origin: Origin::Log,
            id: Uuid::from_u128(self.inputs << 64),
            correlation_id: "test".into(),
            traceparent: None,
            input,
            expected: None,
        };
        match Step::decide(&self.saga, &self.instance, &cause, Timestamp(1_700_000_000_000_000)) {
            Ok(mut step) => {
                settle(&self.saga, &mut step);
                self.lines.push(format!("{line}\n    → {:?}", step.events));
                self.emitted.extend(step.emitted);
                self.instance = step.next;
                true
            }
            Err(Unmoved::Nothing(why)) => {
                self.lines.push(format!("{line}\n    → nothing: {why:?}"));
                false
            }
            Err(Unmoved::Rejected(why)) => {
                self.lines.push(format!("{line}\n    → rejected: {why}"));
                false
            }
        }
    }

    /// Gives the order an input.
    pub fn feed(&mut self, input: S::Input) -> bool {
        self.feed_settled(input, |_, _| {})
    }

    /// How many events of this type the others were told.
    pub fn told(&self, event_type: contracts::EventType) -> usize {
        self.emitted.iter().filter(|payload| payload.event_type() == event_type).count()
    }
}

impl<S: Saga> fmt::Display for Story<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the story of the order:")?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "it stands at {:?}", self.instance.state)
    }
}
