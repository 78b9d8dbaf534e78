//! Who may hold a connection when there are more than places. A caller that has shown no key yet is a stranger, and when
//! all places are taken the stranger that came first makes room for who comes: thousands of connections that say nothing
//! keep nobody out who says at once what it wants. Who has shown a key keeps its place.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
};

/// Time before another connection is accepted after one could not be.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The strangers by the number of their connection, and what ends each.
type Strangers = Arc<Mutex<BTreeMap<u64, oneshot::Sender<()>>>>;

/// One connection, as who serves it sees it.
pub struct Connection {
    number: u64,
    strangers: Strangers,
}

impl Connection {
    /// Its caller has shown a key.
    pub fn known(&self) {
        lock(&self.strangers).remove(&self.number);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.known();
    }
}

/// A holder that panicked was between two whole states.
fn lock(strangers: &Strangers) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<()>>> {
    strangers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts connections for good, at most `places` at once, and has each served.
pub async fn accept<S, F>(listener: TcpListener, places: usize, serve: S)
where
    S: Fn(TcpStream, Connection) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (places, strangers) = (Arc::new(Semaphore::new(places)), Strangers::default());
    for number in 0.. {
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                Err(e) => {
                    // Out of file descriptors, most likely: others give theirs back.
                    tracing::warn!("the gateway cannot accept: {e}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        };
        if places.available_permits() == 0 {
            // Without a stranger the newcomer waits, and those after it in the system's queue.
            let first = lock(&strangers).pop_first();
            if let Some((_, end)) = first {
                let _ = end.send(());
            }
        }
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (end, ended) = oneshot::channel();
        lock(&strangers).insert(number, end);
        let served = serve(stream, Connection { number, strangers: strangers.clone() });
        tokio::spawn(async move {
            tokio::select! {
                () = served => {}
                // Who is known is not in the list any more, and nothing ends it.
                Ok(()) = ended => {}
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers every byte `k` and from then on knows its caller; what else comes is not answered.
    async fn echo(mut stream: TcpStream, connection: Connection) {
        while let Ok(byte) = stream.read_u8().await {
            if byte == b'k' {
                connection.known();
                let _ = stream.write_u8(b'k').await;
            }
        }
    }

    async fn says(stream: &mut TcpStream, byte: u8) -> Option<u8> {
        stream.write_u8(byte).await.ok()?;
        stream.read_u8().await.ok()
    }

    #[tokio::test]
    async fn who_says_nothing_makes_room_and_who_has_shown_a_key_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, 3, echo));
        let mut known = TcpStream::connect(address).await.unwrap();
        assert_eq!(says(&mut known, b'k').await, Some(b'k'));
        // Many times more than there are places, each with one byte that leads nowhere.
        let mut silent = Vec::new();
        for _ in 0..40 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_u8(b'G').await.unwrap();
            silent.push(stream);
        }
        let mut late = TcpStream::connect(address).await.unwrap();
        assert_eq!(says(&mut late, b'k').await, Some(b'k'), "who comes late is served");
        assert_eq!(says(&mut known, b'k').await, Some(b'k'), "who was there stays");
        // All but one of the silent ones are closed: three places, two of them taken by who is known.
        for stream in &mut silent[..39] {
            assert!(stream.read_u8().await.is_err(), "it is closed");
        }
        // When nobody is a stranger, who comes waits until somebody goes.
        let mut last = TcpStream::connect(address).await.unwrap();
        assert_eq!(says(&mut last, b'k').await, Some(b'k'));
        let mut waiting = TcpStream::connect(address).await.unwrap();
        waiting.write_u8(b'k').await.unwrap();
        assert_eq!(says(&mut known, b'k').await, Some(b'k'));
        drop(late);
        assert_eq!(waiting.read_u8().await.unwrap(), b'k');
    }
}
