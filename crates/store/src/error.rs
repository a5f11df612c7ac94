//! What can go wrong below the dialects.

use duologue_model::{self as model, error::causes};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operation was understood and refused; says why in the dialect's terms.
    #[error(transparent)]
    Refused(#[from] model::Error),
    /// The database failed. Nothing was changed.
    #[error("database: {0}")]
    Database(String),
    /// A stored value is not what this version writes.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// The store is shutting down, or its writer has stopped.
    #[error("the store is closed")]
    Closed,
    /// The data folder or database can't be used; says what to do.
    #[error("{0}")]
    Setup(String),
    /// PostgreSQL asks for the transaction to be run again.
    #[error("the transaction must be run again")]
    Again,
}

/// The store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Error::Database(error.to_string())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        match error.code() {
            Some(code) if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code) => {
                Error::Again
            }
            _ => Error::Database(match error.as_db_error() {
                Some(db) => format!("{}: {}", db.code().code(), db.message()),
                None => causes(&error),
            }),
        }
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Error::Database(causes(&error))
    }
}

impl Error {
    /// The refusal, if it is one.
    pub fn refused(&self) -> Option<&model::Error> {
        match self {
            Error::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}
