//! The tests that run the real program, against real servers. One binary, so that it links once.

mod support;

mod container;
mod plan_files;
mod support_works;
