//! Who is let in.

use std::collections::BTreeSet;

use anode_shared::ids::Origin;

/// Why a node is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another network.
    #[error("it belongs to the network `{0}`")]
    Network(String),
    /// It speaks another version of the protocol.
    #[error("it speaks version {theirs} of the protocol, this node {ours}; bring both to one version")]
    Protocol {
        /// Its version.
        theirs: u32,
        /// This node's.
        ours: u32,
    },
}

/// Whom this node talks to, and whose records it keeps.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The network's name.
    pub network: String,
    /// The version of the protocol.
    pub protocol: u32,
    /// Whose batches are kept; none: everybody's.
    pub origins: Option<BTreeSet<Origin>>,
}

impl Admission {
    /// Lets a node in by what it says of itself.
    ///
    /// # Errors
    /// With what both sides should be told.
    pub fn admit(&self, network: &str, protocol: u32) -> Result<(), Refusal> {
        if network != self.network {
            return Err(Refusal::Network(network.to_owned()));
        }
        if protocol != self.protocol {
            return Err(Refusal::Protocol { theirs: protocol, ours: self.protocol });
        }
        Ok(())
    }

    /// Whether batches of an origin are kept.
    pub fn keeps(&self, origin: Origin) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.contains(&origin))
    }
}
