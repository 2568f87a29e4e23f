//! The tests that run the real program, against real servers. One binary, so that it links once.

mod plan_files;
