//! Clients of the source, each with a queue of transactions, and what they remember of them.

use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use jiff::Timestamp;

use crate::support::server::{Server, run_with_input};

/// A transaction on the source. It writes its number into the database's `hand_log`, and with a delayed part also
/// into `later_hand`: from what is in there, its effect is known.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub number: u32,
    pub database: String,
    /// What it does to roles.
    pub globals: String,
    /// What it does to tables that are not delayed.
    pub regular: String,
    pub delayed: String,
    pub sent: Timestamp,
    pub ended: Ended,
    /// When the source failed over to a server that does not have it.
    pub lost: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub enum Ended {
    NotYet,
    Committed(Timestamp),
    /// It may have been committed all the same: the connection may have ended before the answer came.
    Failed(String),
}

pub type Log = Arc<Mutex<Vec<Transaction>>>;

/// Does one after the other.
pub struct Worker {
    queue: Option<Sender<(Command, String, Option<u32>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn start(log: &Log) -> Worker {
        let (queue, inbox) = mpsc::channel::<(Command, String, Option<u32>)>();
        let log = Arc::clone(log);
        let thread = std::thread::spawn(move || {
            for (command, sql, number) in inbox {
                let result = run_with_input(command, &sql);
                let Some(number) = number else {
                    continue;
                };
                let mut log = log.lock().unwrap();
                let transaction = log.iter_mut().find(|one| one.number == number);
                transaction.expect("it was logged before").ended = match result {
                    Ok(_) => Ended::Committed(Timestamp::now()),
                    Err(error) => Ended::Failed(error),
                };
            }
        });
        Worker {
            queue: Some(queue),
            thread: Some(thread),
        }
    }

    /// Has the SQL run when its turn comes.
    pub fn run(&self, server: &Server, database: &str, sql: String, number: Option<u32>) {
        let mut psql = server.client("psql", database);
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let queue = self.queue.as_ref().expect("open until it is dropped");
        queue
            .send((psql, sql, number))
            .expect("it never ends before");
    }
}

/// Waits for what is queued.
impl Drop for Worker {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.take().expect("dropped once");
        if thread.join().is_err() && !std::thread::panicking() {
            panic!("a client of the source panicked");
        }
    }
}
