//! How often one caller may ask.

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

/// After so many requests, callers that have not asked for a while are forgotten.
const TIDY_EVERY: u64 = 1024;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Name(String),
    Address(IpAddr),
    Unknown,
}

/// How often one caller may ask, on this process.
pub struct Rate {
    limiter: DefaultKeyedRateLimiter<Source>,
    taken: AtomicU64,
}

impl Rate {
    /// So many requests each second, and so many at once.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        Rate { limiter, taken: AtomicU64::new(0) }
    }

    /// Counts a request of this name; or says how many seconds to wait.
    pub(super) fn take_as(&self, name: &str) -> Result<(), u32> {
        self.take(&Source::Name(name.to_owned()))
    }

    /// Counts a request from this address; or says how many seconds to wait.
    pub(super) fn take_from(&self, address: Option<IpAddr>) -> Result<(), u32> {
        self.take(&address.map_or(Source::Unknown, |address| Source::Address(network(address))))
    }

    fn take(&self, source: &Source) -> Result<(), u32> {
        if self.taken.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(source).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            u32::try_from(wait.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1)
        })
    }
}

/// Who has one address of IPv6 has a whole network of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        let number = |n| NonZeroU32::new(n).expect("not 0");
        Rate::new(number(per_second), number(burst))
    }

    #[test]
    fn each_caller_has_its_own_burst() {
        // However slow the machine, little comes back while this runs.
        let rate = rate(1, 100);
        let refused = |name: &str| (0..200).filter(|_| rate.take_as(name).is_err()).count();
        for name in ["a", "b"] {
            assert!((90..=100).contains(&refused(name)), "{name}");
        }
        assert_eq!(rate.take_as("a"), Err(1));
        // A name and an address are not the same, however they are written.
        assert_eq!(rate.take_as("127.0.0.1"), Ok(()));
        assert_eq!(rate.take_from(Some([127, 0, 0, 1].into())), Ok(()));
    }

    #[test]
    fn callers_that_are_gone_are_forgotten() {
        let rate = rate(1_000_000, 1);
        for i in 0..100_000 {
            let _ = rate.take_as(&i.to_string());
        }
        assert!(rate.limiter.len() < 5_000, "{} are kept", rate.limiter.len());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let address = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.2"), address("10.0.0.1"));
    }
}
