//! Why there is no session with Cassandra, or why it refuses what is asked: in words that say what to change.

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, RequestAttemptError,
};

/// What keeps the node from its archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself in words")]
pub enum Trouble {
    #[error("no Cassandra answers at {hosts}: {why}")]
    Unreachable { hosts: String, why: String },
    #[error(
        "Cassandra does not let in the user `{user}`: name and password (--cassandra-user, --cassandra-password-file) do not fit together"
    )]
    Password { user: String },
    #[error("Cassandra wants a user and a password: give --cassandra-user and --cassandra-password-file")]
    NoPassword,
    #[error("--cassandra-password-file {path} cannot be read: {why}")]
    PasswordFile { path: String, why: String },
    #[error("this is Cassandra {release}, which is too old: 4.0 or newer is needed")]
    TooOld { release: String },
    #[error(
        "the keyspace `{keyspace}` has schema version {found}, made by a newer aNode; this one knows version {known}: update this node, or choose another --cassandra-keyspace"
    )]
    Newer { keyspace: String, found: String, known: u32 },
    #[error(
        "the keyspace `{keyspace}` belongs to the network `{found}`, and this node is in `{network}`: choose another --cassandra-keyspace"
    )]
    Network { keyspace: String, found: String, network: String },
    #[error(
        "there is no keyspace `{keyspace}`, and this node may not make it: make it, or GRANT CREATE ON ALL KEYSPACES to its user ({why})"
    )]
    NoKeyspace { keyspace: String, why: String },
    #[error(
        "this node's user lacks rights on the keyspace `{keyspace}`: it needs SELECT and MODIFY there, and CREATE and ALTER where tables are to be made ({why})"
    )]
    Rights { keyspace: String, why: String },
    #[error("the keyspace `{keyspace}` is not whole: {why}")]
    Broken { keyspace: String, why: String },
    #[error("no connection to Cassandra: {0}")]
    Cut(String),
    #[error("{0}")]
    Failed(String),
}

impl Trouble {
    /// Why no session came about.
    pub(super) fn of_session(error: &NewSessionError, hosts: &str, user: Option<&str>) -> Self {
        let last = match error {
            NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
                ConnectionPoolError::Broken { last_connection_error },
            )) => last_connection_error,
            other => return Self::Unreachable { hosts: hosts.to_owned(), why: other.to_string() },
        };
        if let ConnectionError::ConnectionSetupRequestError(setup) = last {
            match &setup.error {
                ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, _) => {
                    return user.map_or(Self::NoPassword, |user| Self::Password { user: user.to_owned() });
                }
                ConnectionSetupRequestErrorKind::MissingAuthentication => return Self::NoPassword,
                ConnectionSetupRequestErrorKind::DbError(_, words) => {
                    return Self::Failed(format!("Cassandra refuses the connection: {words}"));
                }
                _ => {}
            }
        }
        Self::Unreachable { hosts: hosts.to_owned(), why: last.to_string() }
    }

    /// Why a statement failed.
    pub(super) fn of_statement(error: &ExecutionError, keyspace: &str) -> Self {
        match refused(error) {
            Some((DbError::Unauthorized, words)) => {
                Self::Rights { keyspace: keyspace.to_owned(), why: words.to_owned() }
            }
            Some((DbError::Invalid | DbError::ConfigError, words)) => {
                Self::Broken { keyspace: keyspace.to_owned(), why: words.to_owned() }
            }
            Some((error, "")) => Self::Failed(error.to_string()),
            Some((_, words)) => Self::Failed(format!("Cassandra says: {words}")),
            None => Self::of_connection(error).unwrap_or_else(|| Self::Failed(short(error))),
        }
    }

    /// Where there is no connection at all.
    fn of_connection(error: &ExecutionError) -> Option<Self> {
        match error {
            ExecutionError::ConnectionPoolError(ConnectionPoolError::Broken { last_connection_error }) => {
                Some(Self::Cut(last_connection_error.to_string()))
            }
            ExecutionError::ConnectionPoolError(_) | ExecutionError::EmptyPlan => {
                Some(Self::Cut("all were closed".to_owned()))
            }
            _ => None,
        }
    }
}

/// What Cassandra itself said.
fn refused(error: &ExecutionError) -> Option<(&DbError, &str)> {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, words)) => Some((error, words)),
        _ => None,
    }
}

/// The driver's words for what users meet most, without its inner structure.
fn short(error: &ExecutionError) -> String {
    match error {
        ExecutionError::RequestTimeout(after) => {
            format!("Cassandra gave no answer within {} s", after.as_secs())
        }
        other => other.to_string(),
    }
}
