//! The system under load while things are done to it: `tests/chaos.sh --help`, and docs/chaos.md.

use clap::Parser;
use e2e::chaos::{Options, run};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
