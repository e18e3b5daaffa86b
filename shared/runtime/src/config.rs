//! Settings that several programs share: environment variables, each with a flag that mirrors it.

mod access;

pub use access::{AccessSettings, Auth, Secret};

use crate::actors::consumer::Attempts;
use crate::database::DatabaseSettings;
use crate::event_log::kafka::KafkaSettings;
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Args, Command, Parser, ValueEnum};
use contracts::Money;
use std::ffi::OsStr;
use std::net::{AddrParseError, IpAddr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

/// A setting that cannot be used: one line that names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct BadSetting {
    /// The setting's name.
    pub setting: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl BadSetting {
    /// About this setting.
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        BadSetting { setting: setting.into(), problem: problem.into() }
    }
}

/// What these arguments are to a program that has no environment: for tests and measurements.
pub fn given<A: Args>(arguments: &[&str]) -> Result<A, clap::Error> {
    let command = A::augment_args(Command::new("given")).no_binary_name(true);
    A::from_arg_matches(
        &command.mut_args(|argument| argument.env(None::<&'static str>)).try_get_matches_from(arguments)?,
    )
}

/// The exit code of a program whose settings are wrong.
pub const BAD_SETTINGS: u8 = 2;

/// Reads the settings; wrong ones end the program with exit code 2 and one line.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind of clap's is a wrong setting")]
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    let matches = without_empty(P::command()).try_get_matches();
    matches.and_then(|matches| P::from_arg_matches(&matches)).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Who reads has perhaps read enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            // clap explains over several lines; the first paragraph says what is wrong.
            let text = error.render().to_string();
            let paragraph = text.split("\n\n").next().unwrap_or(&text);
            let line: Vec<&str> = paragraph.split_whitespace().collect();
            eprintln!("{}", line.join(" "));
            ExitCode::from(BAD_SETTINGS)
        }
    })
}

/// A variable that is set to nothing counts as not set: `${NAME:-}` is how a compose file passes on what may be missing.
fn without_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let settings = command.mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
        true => arg.env(Resettable::Reset),
        false => arg,
    });
    settings.mut_subcommands(without_empty)
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// What every program takes.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Address to listen on
    #[arg(long, env, default_value = "127.0.0.1",
          value_parser = address)]
    pub http_host: IpAddr,
    /// Who may use the HTTP API, and how often
    #[command(flatten)]
    pub access: AccessSettings,
    /// Attempts at one message before it is a dead letter
    #[arg(long, env, default_value = "3",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub consumer_max_attempts: u32,
    /// First pause between two attempts at one message, in milliseconds
    #[arg(long, env, default_value = "1000",
          value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub consumer_retry_interval_ms: u64,
    /// How long an order waits for its payment, in milliseconds; 0 is for ever
    #[arg(long, env, default_value = "30000",
          value_parser = clap::value_parser!(i64).range(0..=31_536_000_000))]
    pub payment_deadline_ms: i64,
    /// How long an order waits for its stock, and a payment for its order, in milliseconds; 0 is for ever
    #[arg(long, env, default_value = "30000",
          value_parser = clap::value_parser!(i64).range(0..=31_536_000_000))]
    pub inventory_deadline_ms: i64,
    /// Partitions of a topic that is created
    #[arg(long, env, default_value = "6",
          value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub kafka_partitions: i32,
    /// Replicas of a topic that is created
    #[arg(long, env, default_value = "1",
          value_parser = clap::value_parser!(i32).range(1..=32))]
    pub kafka_replication_factor: i32,
    /// Stable name of this replica, so that a restart takes its partitions back at once
    #[arg(long, env)]
    pub kafka_instance_id: Option<String>,
    /// Where people find this service's pages, if not where it listens, as in `https://orders.example`
    #[arg(long, env)]
    pub public_url: Option<Url>,
    /// Where traces are sent, over OTLP (HTTP), as in `http://localhost:4318` [default: nowhere]
    #[arg(long, env,
          value_parser = endpoint)]
    pub otel_exporter_otlp_endpoint: Option<Url>,
    /// The share of traces that is sent, of those that begin here: 0 to 1
    #[arg(long, env, default_value = "1",
          value_parser = share)]
    pub otel_traces_sampler_arg: f64,
    /// How log lines are written
    #[arg(long, env, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged, as in `info,order_service=debug`
    #[arg(long, env = "RUST_LOG", value_name = "RUST_LOG", default_value = "info")]
    pub log: String,
}

fn address(text: &str) -> Result<IpAddr, AddrParseError> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        text => text.parse(),
    }
}

impl Common {
    /// The budget of one message.
    pub fn attempts(&self) -> Attempts {
        Attempts { max: self.consumer_max_attempts, interval: Duration::from_millis(self.consumer_retry_interval_ms) }
    }

    /// How long an order waits for its payment, in milliseconds; none is for ever.
    pub fn payment_deadline(&self) -> Option<i64> {
        (self.payment_deadline_ms > 0).then_some(self.payment_deadline_ms)
    }

    /// How long an order waits for its stock, in milliseconds; none is for ever.
    pub fn inventory_deadline(&self) -> Option<i64> {
        (self.inventory_deadline_ms > 0).then_some(self.inventory_deadline_ms)
    }

    /// Where people find the pages of a program's service of this number, if that was said: with its port.
    pub fn public_url(&self, number: u16) -> Result<Option<String>, BadSetting> {
        let Some(mut url) = self.public_url.clone() else { return Ok(None) };
        let port = url.port_or_known_default().and_then(|port| port.checked_add(number));
        let is_page = ["http", "https"].contains(&url.scheme()) && url.has_host();
        if !is_page || port.is_none() || url.set_port(port).is_err() {
            return Err(BadSetting::new("PUBLIC_URL", format!("{url} is not http:// or https:// and a host")));
        }
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// These brokers, asked as this program is set.
    pub fn kafka(&self, bootstrap_servers: &str) -> Result<KafkaSettings, BadSetting> {
        let is_broker = |broker: &str| {
            broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !bootstrap_servers.split(',').all(is_broker) {
            let problem = format!("{bootstrap_servers:?} is not a list of host:port, separated by commas");
            return Err(BadSetting::new("KAFKA_BOOTSTRAP_SERVERS", problem));
        }
        Ok(KafkaSettings {
            bootstrap_servers: bootstrap_servers.to_owned(),
            partitions: self.kafka_partitions,
            replication_factor: self.kafka_replication_factor,
            instance_id: self.kafka_instance_id.clone(),
        })
    }

    /// Binds a port, so that one in use is found before anything starts.
    pub fn listen(&self, port: u16) -> Result<TcpListener, BadSetting> {
        if !self.http_host.is_loopback() && self.access.auth.is_none() {
            let choice = "`api-key`, `jwt`, or `off`, which lets everybody in";
            let problem = format!("must be given to listen on {}, beyond loopback: {choice}", self.http_host);
            return Err(BadSetting::new("AUTH", problem));
        }
        let address = SocketAddr::new(self.http_host, port);
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| BadSetting::new("HTTP_PORT", format!("cannot listen on {address}: {error}")))?;
        Ok(listener)
    }
}

/// What a service alone takes besides what is its own. `PORT` is where it listens if nothing else is said.
#[derive(Args, Clone, Debug)]
pub struct Alone<const PORT: u16> {
    /// Kafka brokers, as host:port separated by commas
    #[arg(long, env)]
    pub kafka_bootstrap_servers: String,
    /// Port of the HTTP API
    #[arg(long, env, default_value_t = PORT)]
    pub http_port: u16,
    /// Where the service's own database is
    #[command(flatten)]
    pub postgres: Postgres,
    /// What every service takes
    #[command(flatten)]
    pub common: Common,
}

/// Where a single service's database is.
#[derive(Args, Clone, Debug)]
pub struct Postgres {
    /// Database as a URL, instead of the five settings below
    #[arg(long, env, hide_env_values = true)]
    pub database_url: Option<String>,
    /// Database host
    #[arg(long, env, default_value = "localhost")]
    pub postgres_host: String,
    /// Database port
    #[arg(long, env, default_value = "5432")]
    pub postgres_port: u16,
    /// Database name [default: the service's, as in `orderdb`]
    #[arg(long, env)]
    pub postgres_db: Option<String>,
    /// Database user [default: the service's, as in `order`]
    #[arg(long, env)]
    pub postgres_user: Option<String>,
    /// Database password [default: the service's, as in `order`]
    #[arg(long, env, hide_env_values = true)]
    pub postgres_password: Option<String>,
}

impl Postgres {
    /// The database of the service of this name, as in `order`, behind the setting that leads there.
    pub fn settings(&self, service: &str) -> Result<(&'static str, DatabaseSettings), BadSetting> {
        if let Some(url) = &self.database_url {
            return Ok(("DATABASE_URL", postgres_url("DATABASE_URL", url)?));
        }
        let bad = |setting: &str| BadSetting::new(setting, "cannot be part of a database URL");
        let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
        let mut url = Url::parse("postgres://localhost").map_err(|_| bad("POSTGRES_HOST"))?;
        url.set_host(Some(&self.postgres_host)).map_err(|_| bad("POSTGRES_HOST"))?;
        url.set_port(Some(self.postgres_port)).map_err(|()| bad("POSTGRES_PORT"))?;
        url.set_username(&or(&self.postgres_user, service)).map_err(|()| bad("POSTGRES_USER"))?;
        let password = or(&self.postgres_password, service);
        url.set_password(Some(&password)).map_err(|()| bad("POSTGRES_PASSWORD"))?;
        url.set_path(&or(&self.postgres_db, &format!("{service}db")));
        Ok(("POSTGRES_HOST", DatabaseSettings::Postgres(url.into())))
    }
}

/// A database URL of this setting, checked for its form.
pub fn postgres_url(setting: &str, url: &str) -> Result<DatabaseSettings, BadSetting> {
    match Url::parse(url) {
        Ok(parsed) if ["postgres", "postgresql"].contains(&parsed.scheme()) && parsed.has_host() => {
            let files =
                parsed.query_pairs().filter(|(name, _)| ["sslrootcert", "sslcert", "sslkey"].contains(&&**name));
            for (name, file) in files {
                let unreadable = |error| BadSetting::new(setting, format!("{name}: {file} cannot be read: {error}"));
                std::fs::File::open(&*file).map_err(unreadable)?;
            }
            Ok(DatabaseSettings::Postgres(url.to_owned()))
        }
        // The URL may hold a password, so it is not repeated.
        Ok(_) | Err(_) => Err(BadSetting::new(setting, "must be postgres://user:password@host:port/database")),
    }
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if ["http", "https"].contains(&url.scheme()) { Ok(url) } else { Err("must be http:// or https://".into()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "must be a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("must be a number from 0 to 1".into()) }
}

/// A limit on amounts, from a setting in which 0 is none.
pub fn amount_limit(setting: &str, text: &str) -> Result<Option<Money>, BadSetting> {
    let bad = |why: String| BadSetting::new(setting, why);
    let number: serde_json::Number = text.parse().map_err(|_| bad(format!("{text:?} is not an amount")))?;
    let limit = Money::from_number(&number).map_err(|why| bad(format!("{text} {why}")))?;
    if limit < Money::ZERO {
        return Err(bad(format!("{text} is negative; 0 is off")));
    }
    Ok((limit > Money::ZERO).then_some(limit))
}
