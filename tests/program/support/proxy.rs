//! A TCP proxy in front of a server: adds delay, cuts connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Forwards connections from its own port to a server's.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// New connections lead to these in turn.
    servers: Mutex<Vec<u16>>,
    delay_micros: AtomicU64,
    closed: AtomicBool,
    accepted: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy for the server on this port, without delay.
    pub fn to(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            servers: Mutex::new(vec![server]),
            delay_micros: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::new(Vec::new()),
        });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ours.closed.load(Ordering::Relaxed) {
                    break;
                }
                ours.accepted.fetch_add(1, Ordering::Relaxed);
                ours.join(client);
            }
        });
        Proxy { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What travels from now on arrives this much later, in each direction.
    pub fn set_delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).expect("a delay that a test can wait for");
        self.shared.delay_micros.store(micros, Ordering::Relaxed);
    }

    /// From now on new connections lead to the server on this port, as when an address moves; those that are open end.
    pub fn lead_to(&self, server: u16) {
        *self.shared.servers.lock().unwrap() = vec![server];
        self.cut();
    }

    /// From now on new connections lead to the servers on these ports in turn, as behind a load balancer.
    pub fn lead_in_turn_to(&self, servers: &[u16]) {
        *self.shared.servers.lock().unwrap() = servers.to_vec();
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Closes every connection that is open now. New ones are accepted.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the listener, which then sees that it is over.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

impl Shared {
    fn join(self: &Arc<Shared>, client: TcpStream) {
        // A server that is down looks like a connection that closes at once.
        let port = {
            let mut servers = self.servers.lock().unwrap();
            servers.rotate_left(1);
            servers[0]
        };
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).ok();
            let clone = stream.try_clone().expect("a descriptor");
            self.open.lock().unwrap().push(clone);
        }
        self.carry(client.try_clone().unwrap(), server.try_clone().unwrap());
        self.carry(server, client);
    }

    /// One direction of a connection. Reading and writing are apart, so that the delay adds latency
    /// and does not throttle.
    fn carry(self: &Arc<Shared>, mut from: TcpStream, mut to: TcpStream) {
        let (queue, outbox) = mpsc::sync_channel::<(Instant, Vec<u8>)>(1024);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let delay = Duration::from_micros(shared.delay_micros.load(Ordering::Relaxed));
                let due = Instant::now() + delay;
                if queue.send((due, buffer[..count].to_vec())).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            for (due, bytes) in outbox {
                sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            // Both sides: whoever still sends into a closed connection shall learn of it.
            to.shutdown(Shutdown::Both).ok();
        });
    }
}
