//! The replicas of the services, and what can be done to them.

use crate::api::Service;
use crate::programs::{Programs, SERVICES};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which replica of which service, as in `SERVICES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    service: usize,
    /// Counted from 0.
    pub(super) replica: u16,
}

impl Place {
    /// A replica of a service.
    pub(super) fn new(service: Service, replica: u16) -> Self {
        Place { service: service as usize, replica }
    }

    /// The service.
    pub(super) fn service(self) -> Service {
        SERVICES[self.service].0
    }

    /// Its name, such as `order-0`.
    pub(super) fn name(self) -> String {
        Programs::name(self.service(), self.replica)
    }
}

/// How long a program had to be waited for after SIGTERM, and how it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// From the signal to the end.
    pub(super) took: Duration,
    /// The exit code or signal.
    pub(super) status: ExitStatus,
}

/// All replicas that run. Those that still run when it is dropped are killed.
pub(super) struct Fleet {
    /// How they are started.
    pub(super) programs: Programs,
    members: Mutex<BTreeMap<Place, Child>>,
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
}

impl Fleet {
    /// Of these programs, none started yet.
    pub(super) fn new(programs: Programs) -> Self {
        Fleet { programs, members: Mutex::default() }
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<Place, Child>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replicas that were started and not ended by somebody's will.
    pub(super) fn places(&self) -> Vec<Place> {
        self.members().keys().copied().collect()
    }

    /// The addresses of a service's replicas.
    pub(super) fn urls(&self, service: Service) -> Vec<String> {
        let places = self.places().into_iter().filter(|place| place.service() == service);
        places.map(|place| self.programs.url(service, place.replica)).collect()
    }

    /// Starts a replica.
    pub(super) fn start(&self, place: Place) -> Result<()> {
        let child = self.programs.start(place.service(), place.replica)?;
        self.members().insert(place, child);
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&self, place: Place) -> Result<()> {
        let mut child = self.members().remove(&place).with_context(|| format!("{} does not run", place.name()))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGSTOP.
    pub(super) fn freeze(&self, place: Place) -> Result<()> {
        self.signal(place, Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub(super) fn thaw(&self, place: Place) -> Result<()> {
        self.signal(place, Signal::SIGCONT)
    }

    fn signal(&self, place: Place, which: Signal) -> Result<()> {
        signal(self.members().get(&place).with_context(|| format!("{} does not run", place.name()))?, which)
    }

    /// SIGTERM, `times` times, and waits for the end.
    pub(super) async fn terminate(&self, place: Place, times: u32) -> Result<Ended> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let mut child = self.members().remove(&place).with_context(|| format!("{} does not run", place.name()))?;
        let started = Instant::now();
        for _ in 0..times {
            signal(&child, Signal::SIGTERM)?;
            // Two signals in one moment are one.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while started.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait()? {
                return Ok(Ended { took: started.elapsed(), status });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill()?;
        child.wait()?;
        bail!("{} still ran {PATIENCE:?} after SIGTERM", place.name())
    }

    /// Those that ended although nobody ended them. They are not in the fleet any more.
    pub(super) fn deserters(&self) -> Vec<(Place, ExitStatus)> {
        let mut gone = Vec::new();
        self.members().retain(|place, child| match child.try_wait() {
            Ok(Some(status)) => {
                gone.push((*place, status));
                false
            }
            Ok(None) | Err(_) => true,
        });
        gone
    }

    /// Resident memory of all of them together, in MiB.
    pub(super) fn resident(&self) -> u64 {
        let of = |child: &Child| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmRSS"))?.split_whitespace().nth(1)?.to_owned();
            line.parse::<u64>().ok()
        };
        self.members().values().filter_map(of).sum::<u64>() / 1024
    }

    /// Ends all of them at once.
    pub(super) fn stop(&self) {
        for (_, mut child) in std::mem::take(&mut *self.members()) {
            // One that has ended already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop();
    }
}
