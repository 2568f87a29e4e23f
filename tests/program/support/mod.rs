//! What the tests stand on: real servers, data to move, and a way to drive the real program.

pub mod child;
pub mod compare;
pub mod data;
pub mod fill;
pub mod held;
pub mod paused;
pub mod place;
pub mod pooler;
pub mod project;
pub mod proxy;
pub mod scram;
pub mod server;
pub mod standby;
pub mod thief;
pub mod tls;
pub mod watch;
