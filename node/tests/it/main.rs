//! The node's integration tests.

mod architecture;
mod demo_mesh;
