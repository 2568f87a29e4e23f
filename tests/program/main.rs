//! The tests that run the real program, against real servers. One binary, so that it links once.

mod support;

mod archives;
mod bad_input;
mod container;
mod delayed;
mod interruptions;
mod layers;
mod migrations;
mod plan_files;
mod planning;
mod secrets;
mod support_works;
mod tuning;
