//! The orders of a measurement: so many at a time, or so many per second.

use super::Extent;
use super::client::{Client, Placed};
use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use runtime::program::Stop;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// How long an order may take to become final before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// One order in so many is asked for the 202 alone, and then for its end; the others are asked for their end at once,
/// which takes one request less.
const APART: u64 = 8;
/// Measurements of up to so many orders ask each for its 202.
const FEW: u64 = 1_000;
/// Orders at a time, if nobody says how many.
pub(super) const AT_A_TIME: u32 = 512;
/// Orders under way at a given rate, beyond which the system does not keep up.
const OVERRUN: usize = 100_000;
/// How often the bar moves,
const STEP: Duration = Duration::from_millis(250);
/// and a line is written where there is none.
const LINE: Duration = Duration::from_secs(5);
/// How often the stock is looked at.
const TOP_UP: Duration = Duration::from_secs(5);
/// The pause before asking again a system that does not wait for an order's end.
const AGAIN: Duration = Duration::from_millis(5);

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// POST to 202, in microseconds.
    pub(super) accepted: Histogram<u64>,
    /// POST to CONFIRMED, in microseconds.
    pub(super) confirmed: Histogram<u64>,
    /// POST to the end, whichever it was, in microseconds.
    pub(super) ended: Histogram<u64>,
    /// Orders by their end.
    pub(super) statuses: BTreeMap<String, u64>,
    /// POSTs that were told to come back.
    pub(super) refused: u64,
    /// Orders that had been sent at the last 202 that was measured,
    pub(super) placed: u64,
    /// and how long after the first POST that was.
    pub(super) placing: Duration,
    /// From the first POST to the last end.
    pub(super) elapsed: Duration,
}

impl Measured {
    fn new() -> Result<Self> {
        // Up to ten minutes, to three digits.
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3);
        let (placing, elapsed) = (Duration::ZERO, Duration::ZERO);
        Ok(Measured {
            accepted: histogram()?,
            confirmed: histogram()?,
            ended: histogram()?,
            statuses: BTreeMap::new(),
            refused: 0,
            placed: 0,
            placing,
            elapsed,
        })
    }
}

/// A measurement that runs.
pub(super) struct Load {
    client: Client,
    extent: Extent,
    started: Instant,
    begun: AtomicU64,
    ended: AtomicU64,
    /// The program is to stop.
    is_stopped: AtomicBool,
    measured: Mutex<Option<Measured>>,
}

impl Load {
    /// Of this extent.
    pub(super) fn new(client: Client, extent: Extent) -> Arc<Self> {
        let measured = Mutex::new(None);
        let (started, is_stopped) = (Instant::now(), false.into());
        Arc::new(Load { client, extent, started, begun: 0.into(), ended: 0.into(), is_stopped, measured })
    }

    /// Places the orders, and waits for the end of each. When the program is to stop, no more are placed.
    pub(super) async fn run(
        self: Arc<Self>,
        rate: Option<u64>,
        concurrency: Option<u32>,
        stop: &Stop,
    ) -> Result<Measured> {
        *self.lock() = Some(Measured::new()?);
        let _shown = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&self).show()?));
        let stocked = Arc::clone(&self);
        let _stocked = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(TOP_UP).await;
                // What cannot be topped up shows as failed orders.
                let _ = stocked.client.top_up().await;
            }
        }));
        let (stopped, stop) = (Arc::clone(&self), stop.clone());
        let _stopped = AbortOnDropHandle::new(tokio::spawn(async move {
            stop.asked().await;
            stopped.is_stopped.store(true, Ordering::Relaxed);
        }));
        match rate {
            Some(rate) => self.open_loop(rate, concurrency).await?,
            None => self.closed_loop(concurrency.unwrap_or(AT_A_TIME)).await?,
        }
        let measured = self.lock().take();
        let Some(mut measured) = measured else { bail!("a measurement runs once") };
        measured.elapsed = self.started.elapsed();
        Ok(measured)
    }

    /// Always so many orders between their POST and their end.
    async fn closed_loop(self: &Arc<Self>, concurrency: u32) -> Result<()> {
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            let load = Arc::clone(self);
            workers.spawn(async move {
                while let Some(n) = load.next() {
                    while let Some(pause) = load.order(n, Instant::now()).await? {
                        tokio::time::sleep(pause).await;
                        if load.is_over() {
                            return Ok(());
                        }
                    }
                }
                anyhow::Ok(())
            });
        }
        join(workers).await
    }

    /// So many orders per second, however long they take, as far as there may be so many. One that is told to come back is
    /// not sent again.
    async fn open_loop(self: &Arc<Self>, rate: u64, concurrency: Option<u32>) -> Result<()> {
        let mut orders = JoinSet::new();
        let places = Arc::new(Semaphore::new(concurrency.map_or(OVERRUN, |places| places as usize)));
        while let Some(n) = self.next() {
            let intended = self.started + Duration::from_nanos(n.saturating_mul(1_000_000_000) / rate);
            tokio::time::sleep_until(intended.into()).await;
            let (load, place) = (Arc::clone(self), Arc::clone(&places).acquire_owned().await?);
            orders.spawn(async move {
                let _place = place;
                load.order(n, intended).await.map(drop)
            });
            while let Some(ended) = orders.try_join_next() {
                ended??;
            }
            ensure!(
                concurrency.is_some() || orders.len() < OVERRUN,
                "{OVERRUN} orders are under way: the system does not keep up with {rate}/s"
            );
        }
        join(orders).await
    }

    fn is_over(&self) -> bool {
        let is_late = match self.extent {
            Extent::Time(time) => self.started.elapsed() >= time,
            Extent::Orders(_) => false,
        };
        is_late || self.is_stopped.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        let n = self.begun.fetch_add(1, Ordering::Relaxed);
        match self.extent {
            Extent::Orders(orders) if n >= orders => None,
            Extent::Orders(_) | Extent::Time(_) => Some(n),
        }
    }

    /// Places one order that was to be sent at this moment, and follows it to its end; or says how long to wait, if the
    /// system does not take it now.
    async fn order(&self, n: u64, intended: Instant) -> Result<Option<Duration>> {
        let apart = match self.extent {
            Extent::Orders(..=FEW) => true,
            Extent::Orders(_) | Extent::Time(_) => n.is_multiple_of(APART),
        };
        let mut standing = match self.client.place(n, !apart).await? {
            Placed::Accepted(standing) => standing,
            Placed::Refused(pause) => {
                self.note(|measured| measured.refused += 1);
                return Ok(Some(pause));
            }
        };
        if apart {
            let (accepted, placing) = (micros(intended), self.started.elapsed());
            self.note(|measured| {
                measured.accepted.saturating_record(accepted);
                measured.placed = measured.placed.max(n + 1);
                measured.placing = placing;
            });
        }
        while !standing.is_final() {
            standing = self.client.read(&standing.order_id).await?;
            if !standing.is_final() {
                ensure!(intended.elapsed() < PATIENCE, "{} is still PENDING after {PATIENCE:?}", standing.order_id);
                tokio::time::sleep(AGAIN).await;
            }
        }
        let took = micros(intended);
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.note(|measured| {
            measured.ended.saturating_record(took);
            if standing.status == "CONFIRMED" {
                measured.confirmed.saturating_record(took);
            }
            *measured.statuses.entry(standing.status).or_default() += 1;
        });
        Ok(None)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Measured>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Measured)) {
        if let Some(measured) = self.lock().as_mut() {
            note(measured);
        }
    }

    /// Shows how far it is.
    fn show(self: Arc<Self>) -> Result<impl Future<Output = ()>> {
        let (length, unit) = match self.extent {
            Extent::Orders(orders) => (orders, "orders"),
            Extent::Time(time) => (time.as_secs(), "s"),
        };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?;
        let bar = ProgressBar::new(length).with_style(style);
        // Where there is no terminal for a bar, a line now and then.
        let lines = bar.is_hidden();
        let pause = if lines { LINE } else { STEP };
        Ok(async move {
            loop {
                tokio::time::sleep(pause).await;
                let (ended, elapsed) = (self.ended.load(Ordering::Relaxed), self.started.elapsed());
                bar.set_position(match self.extent {
                    Extent::Orders(_) => ended,
                    Extent::Time(_) => elapsed.as_secs().min(length),
                });
                let rate = u128::from(ended) * 1_000 / elapsed.as_millis().max(1);
                if lines {
                    eprintln!("{} of {length} {unit}; {ended} orders final, {rate}/s", bar.position());
                }
                bar.set_message(format!("{unit}; {ended} orders final, {rate}/s"));
            }
        })
    }
}

async fn join(mut orders: JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = orders.join_next().await {
        ended??;
    }
    Ok(())
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
