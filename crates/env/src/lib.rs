//! Clock, random, tasks, sockets and files: the only crate that names them.
//!
//! Everything with an effect on the outside goes through here, so that tests and the simulator can put
//! their own in its place, and so that `unsafe` and system calls have one address. No Kafka knowledge.

pub mod clock;
pub mod fs;
pub mod net;
pub mod process;
pub mod random;
pub mod task;
