//! The servers that tests/stack/run.sh started, and the services' programs as processes on them.

use crate::api::Service;
use crate::audit::Databases;
use anyhow::{Context, Result, ensure};
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::kafka::{KafkaLog, KafkaSettings};
use sea_orm::ConnectionTrait;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The services, and their names without `-service`.
pub const SERVICES: [(Service, &str); 4] = [
    (Service::Order, "order"),
    (Service::Payment, "payment"),
    (Service::Inventory, "inventory"),
    (Service::Notification, "notification"),
];

/// Units of each product that the inventory begins with.
pub const INITIAL_STOCK: i64 = 1_000_000;
/// Products that the inventory begins with: `P1` to `P20`.
pub const PRODUCTS: i64 = 20;

/// Lines of the end of each service's log that a story tells.
const STORY: usize = 15;

/// A server of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// PostgreSQL, with the databases of all services.
    Postgres,
    /// The one broker.
    Kafka,
}

/// What can be done to a server: see tests/stack/control.sh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL to every process.
    Kill,
    /// A start on the data that are there.
    Start,
    /// SIGSTOP to every process.
    Freeze,
    /// SIGCONT to every process.
    Thaw,
}

/// PostgreSQL and Kafka, as tests/stack/run.sh started them.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The broker.
    pub kafka: String,
    /// PostgreSQL, without a database.
    pub postgres: String,
}

fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: start this with tests/stack/run.sh"))
}

impl Stack {
    /// The stack that this process was started in.
    pub fn from_environment() -> Result<Self> {
        Ok(Stack { kafka: setting("LIVE_KAFKA")?, postgres: setting("LIVE_POSTGRES")? })
    }

    /// Makes the four databases anew, and empty.
    pub async fn empty_databases(&self) -> Result<()> {
        let admin = Database::open(&DatabaseSettings::Postgres(format!("{}/postgres", self.postgres))).await?;
        for (_, name) in SERVICES {
            admin.read.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name}db WITH (FORCE)")).await?;
            admin.read.execute_unprepared(&format!("CREATE DATABASE {name}db")).await?;
        }
        Ok(admin.close().await?)
    }

    /// Connections to the four databases.
    pub async fn databases(&self) -> Result<Databases> {
        let mut opened = Vec::new();
        for (_, name) in SERVICES {
            let settings = DatabaseSettings::Postgres(format!("{}/{name}db", self.postgres));
            opened.push(Database::open(&settings).await?);
        }
        Ok(Databases(opened.try_into().map_err(|_| anyhow::anyhow!("four databases"))?))
    }

    /// The event log, as a service would open it.
    pub fn log(&self) -> Result<KafkaLog> {
        let bootstrap_servers = self.kafka.clone();
        Ok(KafkaLog::new(KafkaSettings { bootstrap_servers, partitions: 6, replication_factor: 1, instance_id: None })?)
    }

    /// Does something to a server, and waits until it is done.
    pub async fn control(&self, server: Server, action: Action) -> Result<()> {
        let server = match server {
            Server::Postgres => "postgres",
            Server::Kafka => "kafka",
        };
        let action = match action {
            Action::Kill => "kill",
            Action::Start => "start",
            Action::Freeze => "freeze",
            Action::Thaw => "thaw",
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/stack/control.sh");
        // Its output is not read: the servers that it starts would hold the pipes open.
        let ended = tokio::process::Command::new(script).args([server, action]).stdin(Stdio::null()).status().await?;
        ensure!(ended.success(), "{script} {server} {action}: {ended}");
        Ok(())
    }
}

/// How the services' programs are started.
#[derive(Clone, Debug)]
pub struct Programs {
    directory: PathBuf,
    stack: Stack,
    first_port: u16,
    logs: PathBuf,
    /// What `KAFKA_INSTANCE_ID` begins with; none leaves it unset.
    pub instance: Option<String>,
    /// More settings, of all programs.
    pub settings: Vec<(String, String)>,
}

impl Programs {
    /// The programs beside this process's own, on this stack. They listen from `first_port` on, and log to files in
    /// `logs`.
    pub fn new(stack: &Stack, first_port: u16, logs: &Path) -> Result<Self> {
        let own = std::env::current_exe()?;
        let is_home = |directory: &&Path| directory.join("order-service").is_file();
        let directory = own.ancestors().skip(1).find(is_home).context("build the programs first")?.to_owned();
        let stock: Vec<String> = (1..=PRODUCTS).map(|product| format!("P{product}={INITIAL_STOCK}")).collect();
        Ok(Programs {
            directory,
            stack: stack.clone(),
            first_port,
            logs: logs.to_owned(),
            instance: Some("live".to_owned()),
            settings: vec![("INVENTORY_INITIAL_STOCK".to_owned(), stock.join(","))],
        })
    }

    /// Where a program is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where the logs are.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The address of a replica's HTTP API; replicas count from 0.
    pub fn url(&self, service: Service, replica: u16) -> String {
        format!("http://127.0.0.1:{}", self.port(service, replica))
    }

    /// The addresses of the first replicas: order, payment, inventory, notification.
    pub fn urls(&self) -> Vec<String> {
        SERVICES.iter().map(|(service, _)| self.url(*service, 0)).collect()
    }

    fn port(&self, service: Service, replica: u16) -> u16 {
        self.first_port + service as u16 + 4 * replica
    }

    /// A replica's name, such as `order-0`.
    pub fn name(service: Service, replica: u16) -> String {
        format!("{}-{replica}", SERVICES[service as usize].1)
    }

    /// Starts a replica. What it says is added to its log.
    pub fn start(&self, service: Service, replica: u16) -> Result<Child> {
        let (_, name) = SERVICES[service as usize];
        let log = self.logs.join(Self::name(service, replica));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let program = self.path(&format!("{name}-service"));
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.stack.kafka)
            .env("DATABASE_URL", format!("{}/{name}db", self.stack.postgres))
            .env("HTTP_PORT", self.port(service, replica).to_string())
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(instance) = &self.instance {
            command.env("KAFKA_INSTANCE_ID", format!("{instance}-{replica}"));
        }
        command.spawn().with_context(|| format!("{}: build the programs first", program.display()))
    }

    /// The end of each program's log, for the story of a failure.
    pub fn story(&self) -> String {
        let mut names: Vec<PathBuf> =
            std::fs::read_dir(&self.logs).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        names.sort();
        let mut story = String::new();
        for path in names {
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // A client of Kafka says a lot while its broker is away.
            let noise = [" INFO ", "librdkafka", "AllBrokersDown", "BrokerTransportFailure"];
            let is_notable = |line: &&str| !noise.iter().any(|word| line.contains(word));
            let notable: Vec<&str> = text.lines().filter(is_notable).collect();
            let end = notable[notable.len().saturating_sub(STORY)..].join("\n");
            story.push_str(&format!("\n--- the end of {}, without what is usual:\n{end}\n", path.display()));
        }
        story
    }
}
