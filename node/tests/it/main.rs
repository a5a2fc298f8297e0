//! The node's integration tests.

mod architecture;
