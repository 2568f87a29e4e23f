//! The password of a test server's superuser, as it is stored. With the usual 4096 iterations, each of the thousands of connections
//! of a test run would take its clients some milliseconds: a quarter of all the time.

use sha2::{Digest, Sha256};

use super::server::random_word;

/// A verifier of one iteration (RFC 5802; PostgreSQL manual, `pg_authid.rolpassword`).
pub fn verifier(password: &str) -> String {
    let salt = &Sha256::digest(random_word("salt"))[..16];
    let first_block = [salt, &[0, 0, 0, 1]].concat();
    let salted = hmac(password.as_bytes(), &first_block);
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256$1:{}${}:{}",
        base64(salt),
        base64(&stored),
        base64(&server)
    )
}

/// RFC 2104, of a key that is no longer than a block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |with: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([padded(0x36), message.to_vec()].concat());
    Sha256::digest([padded(0x5c), inner.to_vec()].concat()).into()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).map(|group| {
        let bits = (0..3).fold(0, |bits, n| {
            bits << 8 | u32::from(group.get(n).copied().unwrap_or(0))
        });
        let digits = (0..4).map(|n| match n <= group.len() {
            true => char::from(ALPHABET[(bits >> (18 - 6 * n)) as usize & 63]),
            false => '=',
        });
        digits.collect::<String>()
    });
    groups.collect()
}
