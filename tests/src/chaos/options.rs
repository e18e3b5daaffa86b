//! What a run is asked to do.

use clap::{Parser, ValueEnum};
use std::fmt;
use std::path::PathBuf;

/// Runs the four services on real PostgreSQL and Kafka, under load, while things are done to them, and then checks that
/// nothing was lost, doubled or reordered
#[derive(Clone, Debug, Parser)]
#[command(name = "tests/chaos.sh", version)]
pub struct Options {
    /// What is done to the system
    #[arg(long, value_enum, default_value_t = Scenario::Random)]
    pub scenario: Scenario,
    /// For how long; without it, what the scenario needs
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Decides what happens when; a run prints it, and can so be repeated
    #[arg(long, default_value_t = fastrand::u64(0..1_000_000), hide_default_value = true)]
    pub seed: u64,
    /// Replicas of each service; without it, what the scenario needs
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3))]
    pub replicas: Option<u16>,
    /// Orders per second
    #[arg(long)]
    pub rate: Option<u64>,
    /// How many times the scenario `kills` kills
    #[arg(long, default_value_t = 200)]
    pub kills: u64,
    /// Leave KAFKA_INSTANCE_ID unset, so that every start is a new member of its group
    #[arg(long)]
    pub dynamic: bool,
    /// The first port of the services' HTTP APIs
    #[arg(long, env = "CHAOS_HTTP_PORT", default_value_t = 19080)]
    pub http_port: u16,
    /// Where the report goes as well: JSON to a name that ends in .json, else Markdown
    #[arg(long)]
    pub report: Option<PathBuf>,
}

/// What is done to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Faults of every kind at random moments
    Random,
    /// The broker is away
    KafkaAway,
    /// PostgreSQL is away
    PostgresAway,
    /// kill -9 of one service after the other
    Kills,
    /// One replica of each service is killed for good
    ReplicaKilled,
    /// One replica of each service stands still, and then goes on
    ReplicaFrozen,
    /// A replica joins or leaves every two seconds
    Churn,
    /// Three replicas of each service start at once on empty databases
    Together,
    /// Many orders at once for the last units
    LastUnits,
    /// Every topic is read again from its beginning, and then written again
    Replay,
    /// SIGTERM under load, once and twice
    Drain,
    /// Three times the load that it can take
    Overload,
    /// A broker that stands still nine tenths of the time
    KafkaSlow,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

impl Options {
    /// Replicas of each service.
    pub fn replicas(&self) -> u16 {
        let needed = match self.scenario {
            Scenario::ReplicaKilled | Scenario::ReplicaFrozen | Scenario::Together => 3,
            Scenario::Churn => 2,
            Scenario::Random
            | Scenario::KafkaAway
            | Scenario::PostgresAway
            | Scenario::Kills
            | Scenario::LastUnits
            | Scenario::Replay
            | Scenario::Drain
            | Scenario::Overload
            | Scenario::KafkaSlow => 1,
        };
        self.replicas.unwrap_or(needed)
    }

    /// How long the scenario lasts. `kills`, `last-units` and `drain` take what they take.
    pub fn seconds(&self) -> u64 {
        let usual = match self.scenario {
            Scenario::Random
            | Scenario::KafkaAway
            | Scenario::PostgresAway
            | Scenario::ReplicaFrozen
            | Scenario::Kills
            | Scenario::LastUnits
            | Scenario::KafkaSlow
            | Scenario::Drain => 60,
            Scenario::ReplicaKilled => 40,
            Scenario::Churn | Scenario::Overload => 120,
            Scenario::Together | Scenario::Replay => 10,
        };
        self.seconds.unwrap_or(usual)
    }

    /// Orders per second.
    pub fn rate(&self) -> u64 {
        // The contest for the last units is the load.
        let usual = if self.scenario == Scenario::LastUnits { 0 } else { 60 };
        self.rate.unwrap_or(usual)
    }
}
