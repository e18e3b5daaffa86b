//! A service's own database: PostgreSQL, or an SQLite file.

use crate::clock::{Clock, SetClock, SystemClock};
use contracts::Timestamp;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, Connection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseSettings {
    /// A URL, `postgres://user:password@host:port/database`.
    Postgres(String),
    /// A file, made where there is none.
    Sqlite(PathBuf),
}

/// Open connections to one database.
#[derive(Clone, Debug)]
pub struct Database {
    /// For what the actors read, which is little at a time and by its key.
    pub read: DatabaseConnection,
    /// For what callers ask: however long it takes, nobody but callers waits for it.
    pub queries: DatabaseConnection,
    write: DatabaseConnection,
}

/// Connections over which the actors read.
const READERS: u32 = 2;
/// Connections over which callers do.
const QUERIES: u32 = 3;
/// Connections that write. PostgreSQL gets one for the journal, which so keeps its prepared statements, and one for
/// the rest. SQLite has one writer.
const POSTGRES_WRITERS: u32 = 2;
/// Prepared statements of one connection.
const STATEMENTS: usize = 200;
/// Pages that SQLite's log holds before they are written to where they belong: 8 MiB. What changes often, such as the
/// outbox, is so written there once for many commits; with four times as many an order costs more (decision 10).
const CHECKPOINT_PAGES: &str = "2048";
/// How PostgreSQL is to plan: by the indexes, which there are for whatever is asked for often. Its statistics are of a
/// minute ago, when a table that is large now was empty, or all of its orders under way; and the outbox, empty by them,
/// has thousands of pages of deleted rows. Only a plain index scan notes which of an index's entries are dead, so that the
/// next one need not look.
const PLANS: [(&str, &str); 3] = [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("jit", "off")];
/// After how much PostgreSQL asks the kernel to write what a connection has evicted from its buffers. By default it
/// never asks, and every half a minute the kernel writes hundreds of megabytes at once, for most of a second, in which
/// every commit waits (decision 18).
const FLUSH: (&str, &str) = ("backend_flush_after", "512kB");
/// What an SQLite connection keeps in memory, as SQLite counts it (below 0 it is in KiB): its default for those that read,
const READER_CACHE: &str = "-2000";
/// and more for the one that writes, so that what it changes again and again stays there.
const WRITER_CACHE: &str = "-16384";
/// Rows that SQLite's thread of a connection reads ahead: those of one query, mostly.
const ROWS: usize = 500;
/// How long to wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How often the database is asked for the time.
const SET_CLOCK: Duration = Duration::from_secs(5);
/// An answer that took longer says what time it was.
const PROMPT: Duration = Duration::from_secs(1);
/// The key of the advisory lock under which migrations run: "migrate" in ASCII.
const MIGRATION_LOCK: i64 = 0x006d_6967_7261_7465;

impl Database {
    /// Connects.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DbErr> {
        match settings {
            DatabaseSettings::Postgres(url) => {
                let write = sea_orm::Database::connect(postgres(url, POSTGRES_WRITERS)).await?;
                let read = sea_orm::Database::connect(postgres(url, READERS)).await?;
                let queries = sea_orm::Database::connect(lazy(postgres(url, QUERIES))).await?;
                Ok(Database { read, queries, write })
            }
            DatabaseSettings::Sqlite(path) => {
                // The writer comes first: it makes the file and sets it to WAL.
                let write = sea_orm::Database::connect(transacting(sqlite(path, 1, WRITER_CACHE))).await?;
                let read = sea_orm::Database::connect(sqlite(path, READERS, READER_CACHE)).await?;
                let queries = sea_orm::Database::connect(lazy(sqlite(path, QUERIES, READER_CACHE))).await?;
                Ok(Database { read, queries, write })
            }
        }
    }

    /// Whether this is PostgreSQL, and not SQLite.
    pub fn is_postgres(&self) -> bool {
        self.write.get_database_backend() == DbBackend::Postgres
    }

    /// For statements that write and are transactions by themselves.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.write
    }

    /// Begins a transaction that will write.
    ///
    /// A future that is dropped while it waits here can leave a connection inside a transaction, so call this only
    /// from tasks that nobody cancels.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        // IMMEDIATE: a deferred transaction that reads before it writes fails when another one wrote in between.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.write.begin_with_options(options).await
    }

    /// Brings the schema up to date; replicas that start together take turns.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<(), DbErr> {
        // One transaction holds all of the changes, and on PostgreSQL the lock: a crash leaves neither.
        let transaction = self.begin().await?;
        if self.is_postgres() {
            // To build an index, or to wait for who builds it, takes as long as it takes.
            transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
            transaction.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
            transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
        }
        M::up(&transaction, None).await?;
        if !self.is_postgres() {
            // SQLite opens a file that it may not write, and says so at the first write: this one.
            transaction.execute_unprepared("PRAGMA user_version = 1").await?;
        }
        transaction.commit().await
    }

    /// Reads an SQLite file whole, and fails if it is damaged. PostgreSQL watches over itself.
    pub async fn check(&self) -> Result<(), DbErr> {
        if self.is_postgres() {
            return Ok(());
        }
        let check = Statement::from_string(DbBackend::Sqlite, "PRAGMA quick_check(1)");
        let found = self.read.query_one_raw(check).await?.map(|row| row.try_get::<String>("", "quick_check"));
        match found.transpose()? {
            Some(ok) if ok == "ok" => Ok(()),
            found => Err(DbErr::Custom(format!("the file is damaged: {}", found.unwrap_or_default()))),
        }
    }

    /// The database's clock: replicas that share the database agree on what time it is. SQLite has none of its own; there
    /// the computer's is read once.
    pub async fn clock(&self) -> Result<Arc<SetClock>, DbErr> {
        if !self.is_postgres() {
            return Ok(Arc::new(SetClock::new(SystemClock.now())));
        }
        let clock = Arc::new(SetClock::new(postgres_now(&self.read).await?));
        let (set, connection) = (Arc::downgrade(&clock), self.read.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SET_CLOCK).await;
                let asked = Instant::now();
                let now = postgres_now(&connection).await;
                let Some(clock) = set.upgrade() else { return };
                // While the database is away, or its answer takes so long that it is old, the clock runs on by itself.
                if let Ok(now) = now
                    && asked.elapsed() < PROMPT
                {
                    clock.set(now);
                }
            }
        });
        Ok(clock)
    }

    /// Closes every connection.
    pub async fn close(self) -> Result<(), DbErr> {
        self.queries.close().await?;
        self.read.close().await?;
        self.write.close().await
    }
}

/// Runs this to its end, also when who waits for it does not: a statement that is cut off can spoil its connection.
pub async fn uncancelled<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<DbErr> + Send + 'static,
{
    tokio::spawn(work).await.unwrap_or_else(|panic| Err(DbErr::Custom(panic.to_string()).into()))
}

async fn postgres_now(connection: &DatabaseConnection) -> Result<Timestamp, DbErr> {
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, now)).await?;
    let row = row.ok_or_else(|| DbErr::Custom("the database does not say what time it is".into()))?;
    Ok(Timestamp(row.try_get("", "now")?))
}

fn postgres(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(|options| {
            // The server ends what this side has lost sight of; a timeout here would leave it open.
            options
                .options([("statement_timeout", "10000"), ("idle_in_transaction_session_timeout", "10000")])
                .options(PLANS)
                .options([FLUSH])
                .statement_cache_capacity(STATEMENTS)
        });
    options
}

fn sqlite(path: &Path, connections: u32, cache: &'static str) -> ConnectOptions {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
    options.max_connections(connections).min_connections(1).acquire_timeout(ACQUIRE);
    options.test_before_acquire(false).sqlx_logging(false);
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("cache_size", cache)
            // What a statement of many rows notes to take itself back with; otherwise a file each time.
            .pragma("temp_store", "MEMORY")
            .busy_timeout(Duration::from_secs(5))
            .row_buffer_size(ROWS)
            .statement_cache_capacity(STATEMENTS)
    });
    options
}

/// Opened only when they are needed.
fn lazy(mut options: ConnectOptions) -> ConnectOptions {
    options.min_connections(0).connect_lazy(true);
    options
}

/// SQLite rolls back by itself when it cannot write at COMMIT, of which sqlx does not hear: it takes the connection for
/// one inside a transaction, and the next "transactions" would be savepoints that nothing ever commits. Such a connection
/// is not used again.
fn transacting(mut options: ConnectOptions) -> ConnectOptions {
    options.map_sqlx_sqlite_pool_opts(|options| {
        options.after_release(|connection, _| {
            Box::pin(async move {
                if connection.is_in_transaction() {
                    // Behind a rollback that is still in the queue.
                    connection.ping().await?;
                }
                Ok(!connection.is_in_transaction())
            })
        })
    });
    options
}

/// What a database makes of a statement that it does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was away, busy, full, or does not let us do this now: whatever it is, the same may be done later.
    Transient,
    /// It took so long that it was ended: less at a time may be done.
    TooLong,
    /// It takes no such value, now or ever.
    Refused,
    /// Its file is damaged: SQLite's CORRUPT and NOTADB.
    Damaged,
}

/// What kind of failure this is. Only what a value is refused for is final: a password that was changed, or a right or a
/// table that is missing, is for an operator to mend, and no reason to give up what is to be stored.
pub fn failure(error: &DbErr) -> Failure {
    match sqlx_error(error) {
        Some(sqlx::Error::Database(error)) => {
            let code = error.code().unwrap_or_default();
            match code.parse::<u32>().map(|code| code & 0xff) {
                // PostgreSQL's codes have five characters: cardinality, data, constraints, limits of the program.
                _ if code == "57014" => Failure::TooLong,
                _ if code.len() == 5 => match ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class)) {
                    true => Failure::Refused,
                    false => Failure::Transient,
                },
                Ok(11 | 26) => Failure::Damaged,
                // SQLite: a statement that is wrong, TOOBIG, CONSTRAINT, MISMATCH, RANGE.
                Ok(1 | 18 | 19 | 20 | 25) | Err(_) => Failure::Refused,
                Ok(_) => Failure::Transient,
            }
        }
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => Failure::Transient,
        Some(_) => Failure::Refused,
        None if matches!(error, DbErr::ConnectionAcquire(_)) => Failure::Transient,
        None => Failure::Refused,
    }
}

/// Whether a database that could not be opened lets us in sooner or later, without anybody changing a setting or a right.
pub fn is_away(error: &DbErr) -> bool {
    let says_no = |code: &str| match code.parse::<u32>() {
        _ if code.len() == 5 => ["28", "3D", "42"].contains(&&code[..2]),
        // SQLite's PERM, READONLY and CANTOPEN.
        code => code.is_ok_and(|code| matches!(code & 0xff, 3 | 8 | 14)),
    };
    // A certificate that is not accepted is invalid data to rustls.
    let is_tls = match sqlx_error(error) {
        Some(sqlx::Error::Tls(_)) => true,
        Some(sqlx::Error::Io(error)) => error.kind() == ErrorKind::InvalidData,
        Some(_) | None => false,
    };
    failure(error) == Failure::Transient && !is_tls && !code(error).is_some_and(|code| says_no(&code))
}

/// The database's own code of an error: PostgreSQL's SQLSTATE or SQLite's number.
pub fn code(error: &DbErr) -> Option<String> {
    match sqlx_error(error) {
        Some(sqlx::Error::Database(error)) => error.code().map(Into::into),
        Some(_) | None => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what sea-orm adds does not come from the database")]
fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    use sea_orm::RuntimeErr::SqlxError;
    match error {
        DbErr::Conn(SqlxError(error)) | DbErr::Exec(SqlxError(error)) | DbErr::Query(SqlxError(error)) => Some(error),
        _ => None,
    }
}
