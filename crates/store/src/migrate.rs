//! Versions of the schema.
//!
//! Each migration is one SQL file, written for both engines, run in one transaction. A database
//! that is newer than this binary is refused.

use crate::{Error, Result};

/// The migrations, oldest first. The version of the schema is how many of them have run.
pub(crate) const MIGRATIONS: &[(&str, &str)] = &[
    ("foundation", include_str!("../migrations/0001_foundation.sql")),
    ("v12", include_str!("../migrations/0002_v12.sql")),
    ("delivery", include_str!("../migrations/0003_delivery.sql")),
    ("platform", include_str!("../migrations/0004_platform.sql")),
    ("logs", include_str!("../migrations/0005_logs.sql")),
    ("integrations", include_str!("../migrations/0006_integrations.sql")),
    ("webhooks", include_str!("../migrations/0007_webhooks.sql")),
    ("v12_timers", include_str!("../migrations/0008_v12_timers.sql")),
    ("platform_more", include_str!("../migrations/0009_platform_more.sql")),
];

/// The version that this binary writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Refuses a version that this binary doesn't know.
pub(crate) fn check(found: i64) -> Result<()> {
    if found <= VERSION {
        return Ok(());
    }
    Err(Error::Setup(format!(
        "the database has schema version {found}, this Duologue knows versions up to {VERSION}: \
         it was written by a newer release. Start that release, or restore the backup made before the upgrade."
    )))
}
