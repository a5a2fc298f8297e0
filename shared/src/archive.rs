//! What a node says of its archive: how far each log is, and whether Cassandra holds what the log holds.

use serde::{Deserialize, Serialize};

use crate::status::Component;

/// `GET /api/v1/archive`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchiveStatus {
    /// How the archive is.
    pub archive: Component,
    /// The logs that this node holds, by id.
    pub logs: Vec<ArchivedLog>,
    /// Goes back as `page`; null where this is the last page.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next: Option<String>,
}

/// How far a log is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchivedLog {
    /// The log, `<origin>/<log>`.
    pub log: String,
    /// The oldest seq that this node holds or wants.
    pub floor: u64,
    /// Its newest seq here.
    pub head: u64,
    /// Whether this node archives it; else another one does.
    pub ours: bool,
    /// Up to which seq it is archived, as far as this node knows; 0 where another node archives it.
    pub archived_to: u64,
    /// Ranges below that were missing here and are not archived yet.
    pub holes: Vec<Span>,
    /// How many records of it wait here.
    pub lag: u64,
}

/// Seqs of a log, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Span {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// The archive has no such batch.
    BatchMissing,
    /// It has another one there.
    BatchDiffers,
    /// The archive has no such record.
    RecordMissing,
    /// It has another one there.
    RecordDiffers,
    /// This node does not hold it, so nothing can be compared.
    NotHere,
}

/// A range that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Difference {
    /// The first seq.
    pub from: u64,
    /// The last seq.
    pub to: u64,
    /// What differs.
    pub flaw: Flaw,
}

/// `GET /api/v1/archive/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verified {
    /// The first seq that was compared.
    pub from: u64,
    /// The last one; what follows is for the next request.
    pub to: u64,
    /// How many records were compared.
    pub records: u64,
    /// How many batches.
    pub batches: u64,
    /// What differs, by seq.
    pub differences: Vec<Difference>,
}
