//! Time and entropy, the two things the pure crates ask for.

use std::time::{SystemTime, UNIX_EPOCH};

use crypto::{Timestamp, secret::Secret};

/// Now, in milliseconds UTC. A clock before 1970 reads as 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Fresh random bytes from the operating system. Without them nothing safe can be done, so failure ends the process.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(e) = getrandom::fill(&mut bytes) {
        tracing::error!("the operating system gives no random bytes: {e}");
        std::process::abort();
    }
    bytes
}

/// A fresh secret.
pub fn secret() -> Secret {
    Secret::new(random())
}
