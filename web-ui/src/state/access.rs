//! Whether this browser may change anything on the node.

/// What is known of the token that this browser keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// There is none.
    #[default]
    None,
    /// There is one; whether the node takes it is not known yet.
    Unknown,
    /// The node takes it.
    Granted,
    /// The node does not take it.
    Refused,
}

impl Access {
    /// Why nothing can be changed, where that is so.
    pub fn hindrance(self) -> Option<&'static str> {
        match self {
            Self::Granted | Self::Unknown => None,
            Self::None => Some("This browser has no token, so it can look and not change."),
            Self::Refused => Some("The node does not take the token that this browser keeps."),
        }
    }

    /// Whether changing is offered.
    pub fn may_change(self) -> bool {
        self.hindrance().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_offers_what_may_work() {
        for (access, may) in [
            (Access::None, false),
            (Access::Unknown, true),
            (Access::Granted, true),
            (Access::Refused, false),
        ] {
            assert_eq!(access.may_change(), may, "{access:?}");
        }
    }
}
