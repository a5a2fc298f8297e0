//! A session with Cassandra whose keyspace was made or checked.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anode_shared::ids::Hash;
use rustls::ClientConfig;
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::{Session as Driver, TlsContext};
use scylla::client::session_builder::SessionBuilder;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency, Statement};
use tokio::sync::OnceCell;
use tracing::info;

use super::topics::Statements;
use super::trouble::Trouble;
use super::{ids, schema};
use crate::config::archive::{ArchiveConfig, TTL, Ttl};

/// How long a request may take. Beyond, it is tried again: rows are idempotent.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
/// How long a change of the schema may take: all nodes of a cluster have to agree.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the node that makes the tables may take before another one tries.
const MAKING: Duration = Duration::from_secs(60);
/// Connections to each node of Cassandra: one that stalls does not hold all.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");
/// How often a connection is tried that nothing comes over, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A session with a keyspace that fits this node.
#[derive(Debug)]
pub struct Session {
    driver: Driver,
    keyspace: String,
    id: Hash,
    release: String,
    ttl: Option<Duration>,
    /// What reads topics, once somebody asked for them.
    pub(super) topics: OnceCell<Statements>,
}

/// What is needed to connect.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where Cassandra is, and what to do there.
    pub config: ArchiveConfig,
    /// Whom to trust, where TLS is spoken.
    pub tls: Option<Arc<ClientConfig>>,
    /// The network whose records are archived.
    pub network: String,
}

impl Session {
    /// Connects, and makes or checks keyspace and tables.
    ///
    /// # Errors
    /// With what to change.
    pub async fn open(door: &Door) -> Result<Self, Trouble> {
        let driver = connect(door).await?;
        let mut session = Self {
            driver,
            keyspace: door.config.keyspace.clone(),
            id: Hash::default(),
            release: String::new(),
            ttl: None,
            topics: OnceCell::new(),
        };
        let scylla = session.check_version().await?;
        session.make(door, scylla).await?;
        session.check(door).await?;
        session.settle_ttl(door, scylla).await?;
        info!(keyspace = session.keyspace, id = ?session.id, release = session.release, "Connected to Cassandra");
        Ok(session)
    }

    /// The keyspace's name.
    pub fn keyspace(&self) -> &str {
        &self.keyspace
    }

    /// What tells this keyspace from all others, of this Cassandra and every other one.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The version that Cassandra says it has.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// How long rows live; none: for ever.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// The driver's session.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Prepares a statement that may be repeated without harm; `$keyspace` in it is filled in.
    ///
    /// # Errors
    /// When Cassandra does not take it.
    pub async fn prepare(&self, cql: &str) -> Result<PreparedStatement, Trouble> {
        let prepared = self.driver.prepare(cql.replace("$keyspace", &self.keyspace)).await;
        let mut prepared = prepared.map_err(|error| self.trouble(&error.into()))?;
        prepared.set_is_idempotent(true);
        Ok(prepared)
    }

    /// What is wrong with a statement, in words.
    pub(super) fn trouble(&self, error: &scylla::errors::ExecutionError) -> Trouble {
        Trouble::of_statement(error, &self.keyspace)
    }

    async fn run(&self, cql: &str, values: impl SerializeRow) -> Result<QueryResult, Trouble> {
        let mut statement = Statement::new(cql.replace("$keyspace", &self.keyspace));
        let schema = cql.starts_with("CREATE") || cql.starts_with("ALTER");
        statement.set_request_timeout(Some(if schema { SCHEMA_TIMEOUT } else { TIMEOUT }));
        statement.set_is_idempotent(!cql.contains("IF NOT EXISTS"));
        self.driver.query_unpaged(statement, values).await.map_err(|error| self.trouble(&error))
    }

    /// The first column of a query's first row, as text.
    async fn text(&self, cql: &str, values: impl SerializeRow) -> Result<Option<String>, Trouble> {
        let rows = self.run(cql, values).await?.into_rows_result().map_err(|error| self.broken(&error))?;
        let first = rows.maybe_first_row::<(Option<String>,)>().map_err(|error| self.broken(&error))?;
        Ok(first.and_then(|(text,)| text))
    }

    pub(super) fn broken(&self, error: &dyn std::error::Error) -> Trouble {
        Trouble::Broken { keyspace: self.keyspace.clone(), why: error.to_string() }
    }

    /// Learns what this is, and says whether it is `ScyllaDB`, which numbers its versions otherwise.
    async fn check_version(&mut self) -> Result<bool, Trouble> {
        let release = self.text("SELECT release_version FROM system.local", ()).await?.unwrap_or_default();
        let table = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'system_schema' AND table_name = 'scylla_tables'";
        let scylla = self.text(table, ()).await?.is_some();
        if !scylla && schema::is_old(&release) {
            return Err(Trouble::TooOld { release });
        }
        self.release = release;
        Ok(scylla)
    }

    /// Makes what is missing of keyspace and tables. One node does so at a time: Cassandra before 6.0 does not keep two
    /// that make the same table apart.
    async fn make(&self, door: &Door, scylla: bool) -> Result<(), Trouble> {
        let there = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
        if self.text(there, (&self.keyspace,)).await?.is_none() {
            let cql = schema::create_keyspace(&self.keyspace, &door.config.replication);
            self.run(&cql, ()).await.map_err(|trouble| match trouble {
                Trouble::Rights { keyspace, why } => Trouble::NoKeyspace { keyspace, why },
                other => other,
            })?;
        }
        let ttl = door.config.ttl.map_or(Some(TTL), |Ttl(ttl)| ttl);
        let statements = schema::create_tables(&self.keyspace, ttl, scylla);
        let mut missing = self.missing_tables().await?;
        if missing.contains(&schema::TABLES[0]) {
            self.run(&statements[0], ()).await?;
        }
        let until = tokio::time::Instant::now() + MAKING;
        while !missing.is_empty() {
            if self.is_first_to_make().await? || tokio::time::Instant::now() > until {
                for (statement, _) in
                    statements.iter().zip(schema::TABLES).filter(|(_, table)| missing.contains(table))
                {
                    self.run(statement, ()).await?;
                }
                let version = schema::VERSION.to_string();
                self.note("ttl_s", &schema::seconds(ttl).to_string()).await?;
                self.note("schema_version", &version).await?;
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            missing = self.missing_tables().await?;
        }
        Ok(())
    }

    async fn missing_tables(&self) -> Result<Vec<&'static str>, Trouble> {
        let cql = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        let rows = self.run(cql, (&self.keyspace,)).await?;
        let rows = rows.into_rows_result().map_err(|error| self.broken(&error))?;
        let names = rows.rows::<(String,)>().map_err(|error| self.broken(&error))?;
        let there: Vec<String> = names.flatten().map(|(name,)| name).collect();
        Ok(schema::TABLES.into_iter().filter(|table| !there.iter().any(|name| name == table)).collect())
    }

    /// Whether no other node is making the tables.
    async fn is_first_to_make(&self) -> Result<bool, Trouble> {
        let cql = format!(
            "INSERT INTO $keyspace.meta (key, value) VALUES ('making', ?) IF NOT EXISTS USING TTL {}",
            MAKING.as_secs()
        );
        let rows = self.run(&cql, (ids::random_id(),)).await?;
        let rows = rows.into_rows_result().map_err(|error| self.broken(&error))?;
        // The answer of a conditional statement has more columns where it was refused; the first one always says so.
        let first = rows.rows::<scylla::value::Row>().map_err(|error| self.broken(&error))?.flatten().next();
        let applied = first.and_then(|row| row.columns.into_iter().next().flatten());
        Ok(applied.and_then(|value| value.as_boolean()).unwrap_or(false))
    }

    /// Writes a word of the keyspace unless it is there.
    async fn note(&self, key: &str, value: &str) -> Result<(), Trouble> {
        let cql = "INSERT INTO $keyspace.meta (key, value) VALUES (?, ?) IF NOT EXISTS";
        self.run(cql, (key, value)).await.map(drop)
    }

    async fn word(&self, key: &str) -> Result<Option<String>, Trouble> {
        self.text("SELECT value FROM $keyspace.meta WHERE key = ?", (key,)).await
    }

    /// A word of the keyspace, which this node makes up where nobody did.
    async fn word_or(&self, key: &str, value: &str) -> Result<String, Trouble> {
        if let Some(word) = self.word(key).await? {
            return Ok(word);
        }
        self.note(key, value).await?;
        self.word(key).await?.ok_or_else(|| Trouble::Broken {
            keyspace: self.keyspace.clone(),
            why: format!("`{key}` is not in the table `meta` although it was just written"),
        })
    }

    /// Checks that the keyspace is one for this node, which may read and write there.
    async fn check(&mut self, door: &Door) -> Result<(), Trouble> {
        let keyspace = || self.keyspace.clone();
        let known = schema::VERSION.to_string();
        let found = self.word_or("schema_version", &known).await?;
        if found.parse::<u32>().ok().is_none_or(|found| found > schema::VERSION) {
            return Err(Trouble::Newer { keyspace: keyspace(), found, known: schema::VERSION });
        }
        let found = self.word_or("network", &door.network).await?;
        if found != door.network {
            let network = door.network.clone();
            return Err(Trouble::Network { keyspace: keyspace(), found, network });
        }
        let id = self.word_or("keyspace_id", &ids::random_id()).await?;
        self.id = ids::read_id(&id).ok_or_else(|| Trouble::Broken {
            keyspace: keyspace(),
            why: format!("its id `{id}` is not 64 hex digits"),
        })?;
        // An unconditional write, so that missing rights show now and not with the first record.
        self.run(
            "INSERT INTO $keyspace.meta (key, value) VALUES ('software', ?)",
            (env!("CARGO_PKG_VERSION"),),
        )
        .await
        .map(drop)
    }

    /// Takes the time to live that the keyspace has, or gives it the one that was asked for.
    async fn settle_ttl(&mut self, door: &Door, scylla: bool) -> Result<(), Trouble> {
        let found = self.word("ttl_s").await?.and_then(|word| word.parse().ok()).unwrap_or(0);
        let mut seconds: u64 = found;
        if let Some(Ttl(ttl)) = door.config.ttl.filter(|Ttl(ttl)| schema::seconds(*ttl) != found) {
            for statement in schema::change_ttl(&self.keyspace, ttl, scylla) {
                self.run(&statement, ()).await?;
            }
            seconds = schema::seconds(ttl);
            let cql = "INSERT INTO $keyspace.meta (key, value) VALUES ('ttl_s', ?)";
            self.run(cql, (seconds.to_string(),)).await?;
            info!(before_s = found, now_s = seconds, "Changed how long the archive's rows live");
        }
        self.ttl = (seconds > 0).then(|| Duration::from_secs(seconds));
        Ok(())
    }
}

async fn connect(door: &Door) -> Result<Driver, Trouble> {
    let config = &door.config;
    let hosts = config.hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(TIMEOUT))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&hosts)
        .default_execution_profile_handle(profile.into_handle())
        .pool_size(PoolSize::PerHost(CONNECTIONS))
        .connection_timeout(TIMEOUT)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .hostname_resolution_timeout(Some(TIMEOUT))
        .schema_agreement_timeout(SCHEMA_TIMEOUT)
        // As much as sends each request to a replica of its partition.
        .keyspaces_to_fetch([&config.keyspace])
        .fetch_full_schema_metadata(false)
        .driver_config_reporting(false)
        .tls_context(door.tls.clone().map(TlsContext::from));
    if let Some(user) = &config.user {
        builder = builder.user(user, password(config).await?);
    }
    let hosts = hosts.join(", ");
    builder.build().await.map_err(|error| Trouble::of_session(&error, &hosts, config.user.as_deref()))
}

/// The user's password. Read at each attempt, so that one that was mended is taken.
async fn password(config: &ArchiveConfig) -> Result<String, Trouble> {
    let Some(path) = config.password_file.clone() else { return Ok(String::new()) };
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    match read.map_err(std::io::Error::other).flatten() {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err(Trouble::PasswordFile { path: shown, why: error.to_string() }),
    }
}
