//! The tests that run the real program, against real servers. One binary, so that it links once.

#![allow(unreachable_pub)] // What tests share is theirs alone anyway.

mod support;

mod archives;
mod bad_input;
mod closed_output;
mod container;
mod corpora;
mod delayed;
mod dotted_names;
mod explain;
mod fast;
mod features;
mod findings;
mod init;
mod interruptions;
mod layers;
mod limited;
mod locks;
mod makefile;
mod migrations;
mod misleading_names;
mod night_source;
mod night_target;
mod plan_files;
mod planning;
mod private_files;
mod public_cases;
mod redoing;
mod secrets;
mod snapshots;
mod support_works;
mod torture;
mod trust_advice;
mod trust_clients;
mod trust_delayed;
mod trust_encodings;
mod trust_globals;
mod trust_left;
mod trust_loads;
mod trust_ownership;
mod trust_presence;
mod trust_refusals;
mod trust_restore;
mod trust_snapshots;
mod trust_tablespaces;
mod trust_verify;
mod tuning;
mod unlogged;
