//! A real Cassandra beside the nodes, and a driver's session on it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cassandra_dev::{Cassandra, Login, Plan};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use tokio::task::spawn_blocking;

/// How long a statement may take; a busy Cassandra collects garbage for seconds at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a Cassandra of the test's own, to freeze, kill and restart.
///
/// What waits for it later, such as [`Cassandra::restart`], goes into `tokio::task::block_in_place`.
///
/// # Errors
/// Fails as [`Plan::start`] does.
pub async fn start(plan: Plan) -> Result<Cassandra> {
    spawn_blocking(|| plan.start()).await?
}

/// Gives the address of the Cassandra that all tests share.
///
/// # Errors
/// Fails as [`cassandra_dev::shared`] does.
pub async fn shared() -> Result<String> {
    spawn_blocking(cassandra_dev::shared).await?
}

/// Connects a driver.
///
/// # Errors
/// Fails where nobody answers or the login is refused.
pub async fn connect(address: &str, login: Option<Login>) -> Result<Session> {
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(PATIENCE))
        .build()
        .into_handle();
    let mut builder = SessionBuilder::new().known_node(address).default_execution_profile_handle(profile);
    if let Some(login) = login {
        builder = builder.user(login.user, login.password);
    }
    builder.build().await.with_context(|| format!("no session with Cassandra at {address}"))
}

/// Makes a keyspace of the test's own, which the session then uses.
///
/// # Errors
/// Fails where Cassandra does.
pub async fn keyspace(session: &Session, test: &str) -> Result<String> {
    let name = cassandra_dev::unique_keyspace(test);
    let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    session.query_unpaged(format!("CREATE KEYSPACE {name} WITH replication = {replication}"), ()).await?;
    session.use_keyspace(&name, false).await?;
    Ok(name)
}
