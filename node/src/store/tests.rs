//! The store's contract: one suite, over files and over memory, and the faults that only memory can have.

pub(crate) mod kit;
mod contract;
mod mesh;
mod power;
mod shards;
mod peers;
mod retain;
mod lent;
mod archived;
mod damage;
mod archive;
mod hostile;
