//! A proxy before a Kafka broker, which can have it say that its cluster has no brokers: so does one that has just started,
//! and has not heard that it counts itself.

use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The number of the question for metadata in Kafka's protocol, and the first version in the layout that is read here,
const METADATA: (i16, i16) = (3, 9);
/// and of the question for a group's coordinator, and the last one.
const FIND_COORDINATOR: (i16, i16) = (10, 2);

/// A proxy, to be told what to do while it runs.
pub struct Amnesiac {
    /// Where it listens.
    pub address: SocketAddr,
    forgets: AtomicBool,
    forgot: AtomicU32,
    cut: Notify,
}

impl Amnesiac {
    /// Starts one on loopback before this broker. It ends with the program.
    pub async fn start(broker: String) -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let amnesiac = Arc::new(Amnesiac {
            address,
            forgets: AtomicBool::default(),
            forgot: AtomicU32::default(),
            cut: Notify::new(),
        });
        let accepting = Arc::clone(&amnesiac);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (broker, amnesiac) = (broker.clone(), Arc::clone(&accepting));
                tokio::spawn(async move {
                    tokio::select! {
                        // A connection that ends is seen at both ends.
                        _ = pass(client, &broker, &amnesiac) => {}
                        () = amnesiac.cut.notified() => {}
                    }
                });
            }
        });
        Ok(amnesiac)
    }

    /// Cuts all connections, and has the broker know itself from here on, or not.
    pub fn restart(&self, forgets: bool) {
        self.forgets.store(forgets, Ordering::SeqCst);
        self.cut.notify_waiters();
    }

    /// How often it has said that there are no brokers.
    pub fn forgot(&self) -> u32 {
        self.forgot.load(Ordering::SeqCst)
    }

    fn port(&self) -> [u8; 4] {
        i32::from(self.address.port()).to_be_bytes()
    }

    /// The answer to a question for metadata, with the brokers at this proxy's port, or gone.
    fn change(&self, answer: &[u8]) -> Result<Vec<u8>> {
        // Correlation id, no tagged fields, throttle time.
        let (head, mut rest) = answer.split_at_checked(9).context("an answer of no length")?;
        let brokers = varint(&mut rest)?;
        let forgets = self.forgets.load(Ordering::SeqCst);
        let mut changed = head.to_vec();
        changed.push(if forgets { 1 } else { u8::try_from(brokers)? });
        for _ in 1..brokers {
            let broker = rest;
            take(&mut rest, 4)?;
            string(&mut rest)?;
            let known = &broker[..broker.len() - rest.len()];
            take(&mut rest, 4)?;
            let after = rest;
            string(&mut rest)?;
            ensure!(varint(&mut rest)? == 0, "tagged fields of a broker");
            if !forgets {
                changed.extend_from_slice(known);
                changed.extend_from_slice(&self.port());
                changed.extend_from_slice(&after[..after.len() - rest.len()]);
            }
        }
        if forgets {
            self.forgot.fetch_add(1, Ordering::SeqCst);
        }
        changed.extend_from_slice(rest);
        Ok(changed)
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).context("it ends too soon")?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<usize> {
    let mut value = 0;
    for shift in (0..28).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    anyhow::bail!("a number that is too long")
}

/// Passes a string, or none.
fn string(bytes: &mut &[u8]) -> Result<()> {
    let length = varint(bytes)?;
    take(bytes, length.saturating_sub(1)).map(drop)
}

/// The numbers and versions of questions that wait for their answers, by correlation id.
type Asked = Mutex<HashMap<[u8; 4], (i16, i16)>>;

async fn pass(client: TcpStream, broker: &str, amnesiac: &Amnesiac) -> Result<()> {
    let broker = TcpStream::connect(broker).await?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let asked = Asked::default();
    // The first to end takes the other with it.
    tokio::select! {
        ended = questions(from_client, to_broker, &asked) => ended,
        ended = answers(from_broker, to_client, &asked, amnesiac) => ended,
    }
}

async fn questions(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, asked: &Asked) -> Result<()> {
    loop {
        let question = frame(&mut from).await?;
        if let [a, b, c, d, e, f, g, h, ..] = question[..] {
            let (number, version) = (i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]));
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert([e, f, g, h], (number, version));
        }
        write(&mut to, &question).await?;
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, asked: &Asked, amnesiac: &Amnesiac) -> Result<()> {
    loop {
        let mut answer = frame(&mut from).await?;
        let question =
            answer.first_chunk::<4>().and_then(|id| asked.lock().unwrap_or_else(PoisonError::into_inner).remove(id));
        match question {
            Some((number, version)) if number == METADATA.0 && version >= METADATA.1 => {
                answer = amnesiac.change(&answer)?;
            }
            // Its port comes last.
            Some((number, version)) if number == FIND_COORDINATOR.0 && version <= FIND_COORDINATOR.1 => {
                answer.last_chunk_mut::<4>().context("no port")?.copy_from_slice(&amnesiac.port());
            }
            Some(_) | None => {}
        }
        write(&mut to, &answer).await?;
    }
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(from.read_i32().await?)?];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    to.write_i32(i32::try_from(bytes.len())?).await?;
    Ok(to.write_all(bytes).await?)
}
