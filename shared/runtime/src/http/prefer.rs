//! The header Prefer, of RFC 7240.

use std::time::Duration;

/// The longest wait.
const LONGEST: u64 = 30;

/// A caller's wish to be answered once there is something final to say, or after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(u64);

impl Wait {
    /// The wish in a header: `wait=10`, perhaps among others. A preference that cannot be read is none, and one for
    /// longer than 30 s is one for 30 s.
    pub fn of(prefer: Option<&str>) -> Option<Self> {
        let wait = |preference: &str| {
            let (name, seconds) = preference.split(';').next()?.split_once('=')?;
            let seconds = seconds.trim().trim_matches('"').parse().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then_some(Wait(u64::min(seconds, LONGEST)))
        };
        prefer?.split(',').find_map(wait)
    }

    /// For how long.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The value of the header Preference-Applied.
    pub fn applied(self) -> String {
        format!("wait={}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Wait;

    #[test]
    fn a_wish_is_found_among_others() {
        let rows = [
            (None, None),
            (Some("wait=10"), Some(10)),
            (Some("respond-async, Wait = \"5\"; foo=bar"), Some(5)),
            (Some("wait=3600"), Some(30)),
            (Some("wait=0"), Some(0)),
            (Some("wait"), None),
            (Some("wait=-1"), None),
            (Some("wait=soon, handling=lenient"), None),
        ];
        for (header, seconds) in rows {
            assert_eq!(Wait::of(header), seconds.map(Wait), "{header:?}");
        }
    }
}
