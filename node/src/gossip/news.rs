//! What happened in the mesh, in words.

use anode_shared::ids::Origin;
use anode_shared::status::Level;

use super::presence::PeerState;

/// Something that happened in the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A peer is known now that was not.
    Joined {
        /// Who.
        peer: Origin,
        /// Its name.
        name: String,
    },
    /// A peer's state changed.
    Changed {
        /// Whose.
        peer: Origin,
        /// Its name.
        name: String,
        /// What it was.
        from: PeerState,
        /// What it is.
        to: PeerState,
    },
    /// A node of another network or protocol was turned away.
    Refused {
        /// Its peer id.
        peer: String,
        /// What this node speaks.
        ours: String,
        /// What it speaks.
        theirs: String,
    },
    /// Two nodes speak with one identity.
    Twin {
        /// Which.
        peer: Origin,
        /// Whether it is this node's own.
        own: bool,
    },
}

impl News {
    /// How much it matters, its kind in one word or two, and the same in a sentence.
    pub fn words(&self) -> (Level, &'static str, String) {
        match self {
            Self::Joined { peer, name } => (Level::Info, "peer_joined", format!("{name} ({peer}) joined the mesh")),
            Self::Changed { peer, name, from, to } => {
                let (level, kind, what) = match to {
                    PeerState::Alive if *from == PeerState::Suspect => (Level::Info, "peer_alive", "is heard again"),
                    PeerState::Alive => (Level::Info, "peer_back", "is back"),
                    PeerState::Suspect => (Level::Warn, "peer_suspect", "is silent, or its connection closed"),
                    PeerState::Left => (Level::Info, "peer_left", "left the mesh"),
                    PeerState::Dead => (Level::Warn, "peer_dead", "has been silent for too long and counts as dead"),
                };
                (level, kind, format!("{name} ({peer}) {what}"))
            }
            Self::Refused { peer, ours, theirs } => {
                (Level::Warn, "peer_refused", format!("{peer} was turned away: it speaks {theirs}, this node {ours}"))
            }
            Self::Twin { own: true, .. } => (
                Level::Error,
                "identity_twice",
                "another node runs with this node's identity; stop one of them, and give it its own --data-dir".to_owned(),
            ),
            Self::Twin { peer, .. } => (
                Level::Warn,
                "identity_twice",
                format!("two nodes run with the identity {peer}; stop one of them, and give it its own --data-dir"),
            ),
        }
    }
}
