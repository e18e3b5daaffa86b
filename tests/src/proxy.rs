//! A TCP proxy between a service and its database, which can be slow and can cut a connection at a chosen word.

use anyhow::Result;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// When a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the server has the word.
    Before,
    /// When the server has it, and before its answer.
    After,
}

/// What a proxy does, to be changed while it runs.
#[derive(Debug, Default)]
pub struct Behaviour {
    /// Milliseconds by which everything is late, in both directions together.
    pub latency: AtomicU64,
    /// Nobody is let through.
    pub away: AtomicBool,
    /// Nothing passes, and nobody is told.
    pub frozen: AtomicBool,
    /// The next connection on which the client says this word is cut.
    pub cut: Mutex<Option<(&'static [u8], Cut)>>,
    /// Connections that were cut.
    pub cuts: AtomicU32,
}

impl Behaviour {
    /// Cuts the next connection on which the client says this word.
    pub fn cut_at(&self, word: &'static [u8], cut: Cut) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some((word, cut));
    }

    /// Whether this is to be cut, which then has happened.
    fn cuts(&self, said: &[u8]) -> Option<Cut> {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let (word, when) = (*cut)?;
        if !said.windows(word.len()).any(|window| window == word) {
            return None;
        }
        *cut = None;
        self.cuts.fetch_add(1, Ordering::SeqCst);
        Some(when)
    }
}

/// Starts a proxy on loopback before this server. It ends with the program.
pub async fn start(server: String, behaviour: Arc<Behaviour>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, behaviour) = (server.clone(), Arc::clone(&behaviour));
            if behaviour.away.load(Ordering::SeqCst) {
                continue;
            }
            tokio::spawn(async move {
                // A connection that ends is seen at both ends.
                let _ = pass(client, &server, &behaviour).await;
            });
        }
    });
    Ok(address)
}

async fn pass(client: TcpStream, server: &str, behaviour: &Behaviour) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The first to end takes the other with it.
    tokio::select! {
        asked = copy(from_client, to_server, behaviour, true) => asked,
        answered = copy(from_server, to_client, behaviour, false) => answered,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    behaviour: &Behaviour,
    is_client: bool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let size = from.read(&mut buffer).await?;
        if size == 0 || behaviour.away.load(Ordering::SeqCst) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(behaviour.latency.load(Ordering::SeqCst) / 2)).await;
        while behaviour.frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let cut = if is_client { behaviour.cuts(&buffer[..size]) } else { None };
        if cut != Some(Cut::Before) {
            to.write_all(&buffer[..size]).await?;
        }
        if cut.is_some() {
            return Ok(());
        }
    }
}
