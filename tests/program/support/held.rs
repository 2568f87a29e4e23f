//! A transaction of an application that stays open until the test says so.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::server::Server;

/// An open transaction. Without [`Held::commit`] it is rolled back.
pub struct Held {
    psql: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Held {
    /// Begins a transaction and runs the statements in it.
    pub fn begin(server: &Server, database: &str, sql: &str) -> Held {
        let mut psql = server
            .client("psql", database)
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = psql.stdin.take();
        let output = BufReader::new(psql.stdout.take().unwrap());
        let mut held = Held {
            psql,
            input,
            output,
        };
        held.run(&format!("BEGIN; {sql}"));
        held
    }

    /// Runs more statements, and waits until they are done.
    pub fn run(&mut self, sql: &str) {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{sql};\n\\echo done").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        while line.trim_end() != "done" {
            line.clear();
            let read = self.output.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "psql ended: {sql}");
        }
    }

    pub fn commit(mut self) {
        self.run("COMMIT");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.input = None;
        self.psql.wait().ok();
    }
}
