//! pg-migrate moves every user database and the roles of one PostgreSQL server to another, and
//! proves that everything arrived.
//!
//! The data goes one way: a plan file is parsed (`plan`), the servers are looked at (`inspect` fills
//! `catalog`), both compile to a `graph`, with what `preflight` found, a `schedule` hands out its steps, `run` carries them out
//! with `step`, `journal` keeps what is done, and `report` tells about it.

mod atomic_file;
pub mod catalog;
pub mod cli;
pub mod escape;
pub mod event;
pub mod exit;
mod explain;
mod failpoint;
pub mod finding;
pub mod graph;
pub mod inspect;
pub mod journal;
mod names;
pub mod plan;
pub mod postgres;
mod preflight;
pub mod process;
pub mod report;
pub mod run;
pub mod schedule;
mod spelling;
pub mod step;
pub mod verify;
