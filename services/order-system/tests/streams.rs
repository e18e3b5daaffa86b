//! order-system as a program, with a thousand live streams that nobody reads.

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Streams, as in row 42 of the faults.
const STREAMS: usize = 1_000;
/// Files that the program and this test need each: a connection for every stream, and some more.
const FILES: u64 = 2_000;
/// What a stream may cost the program: the HTTP server takes no more of it once 400 KiB are unsent, in a buffer that may
/// have grown to twice that.
const BYTES_PER_STREAM: usize = 1024 * 1024;
/// Orders placed meanwhile. Each has a long name, so that the streams have much to say.
const ORDERS: usize = 200;

/// The program, killed when it is dropped.
struct Program(Child);

impl Program {
    /// What it holds in memory, in bytes.
    fn memory(&self) -> Result<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.split_whitespace().next().context("a number")?.parse::<usize>()? * 1024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Places so many orders, waits until they are confirmed, and returns their ids.
async fn place(client: &reqwest::Client, url: &str) -> Result<HashSet<String>> {
    let line = json!({"productId": "P1", "quantity": 1, "unitPrice": 1});
    let order = json!({"customerId": "\u{1f980}".repeat(200), "totalAmount": 1, "currency": "USD", "items": [line]});
    let mut ids = HashSet::new();
    for _ in 0..ORDERS / 50 {
        let placing = (0..50).map(|_| async {
            let request = client.post(format!("{url}/api/orders")).header("Prefer", "wait=30").json(&order);
            let placed: Value = request.send().await?.error_for_status()?.json().await?;
            ensure!(placed["status"] == "CONFIRMED", "{placed}");
            Ok(placed["orderId"].as_str().context("an id")?.to_owned())
        });
        ids.extend(futures::future::try_join_all(placing).await?);
    }
    Ok(ids)
}

/// Reads a stream until it has told of all of these orders, and returns how many bytes that took.
async fn read_until_told(stream: &mut reqwest::Response, mut orders: HashSet<String>) -> Result<usize> {
    let (mut said, mut unread) = (0, Vec::new());
    while !orders.is_empty() {
        let chunk = tokio::time::timeout(Duration::from_secs(60), stream.chunk()).await??;
        let chunk = chunk.context("the stream has ended")?;
        said += chunk.len();
        unread.extend(chunk);
        while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
            let event = String::from_utf8(unread.drain(..end + 2).collect())?;
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data:")) {
                let change: Value = serde_json::from_str(data)?;
                orders.remove(change["orderId"].as_str().unwrap_or_default());
            }
        }
    }
    Ok(said)
}

/// A stream of all changes, of which only the head is read.
async fn follow(address: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // So that the program has to keep what is not read, and not the kernel: its buffers are so many segments long.
    socket.set_recv_buffer_size(4_096)?;
    setsockopt(&socket, sockopt::TcpMaxSeg, &536)?;
    let mut stream = socket.connect(address.parse()?).await?;
    stream.write_all(format!("GET /api/orders/events HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

#[tokio::test]
async fn a_thousand_streams_that_nobody_reads_hold_nothing_up() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(hard >= FILES, "this needs {FILES} open files, and the hard limit is {hard}");
    // The program inherits it.
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(FILES), hard)?;
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-system"));
    command.args(["run", "--http-port", "0", "--data-dir"]).arg(directory.path());
    let mut program = Program(command.env_clear().env("RUST_LOG", "warn").stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().context("a piped output")?).read_line(&mut line)?;
    let url = line.split_whitespace().nth(1).with_context(|| format!("no URL in {line:?}"))?.to_owned();
    let address = url.strip_prefix("http://").context("an address")?;
    let client = reqwest::Client::new();

    place(&client, &url).await?;
    let before = program.memory()?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(follow(address).await?);
    }
    let mut reader = client.get(format!("{url}/api/orders/events")).send().await?.error_for_status()?;
    // Those who do not read are in nobody's way.
    let started = Instant::now();
    let orders = place(&client, &url).await?;
    println!("placed after {:?}", started.elapsed());
    let said = read_until_told(&mut reader, orders).await?;
    println!("told after {:?}", started.elapsed());
    let grown = program.memory()?.saturating_sub(before) / STREAMS;
    println!("{grown} bytes for each stream");
    ensure!(grown <= BYTES_PER_STREAM, "{grown} bytes for each stream");

    // Told to stop with all of them open, it ends in order; and each of them ends.
    let told = Instant::now();
    kill(Pid::from_raw(program.0.id().try_into()?), Signal::SIGTERM)?;
    let ended = loop {
        if let Some(ended) = program.0.try_wait()? {
            break ended;
        }
        ensure!(told.elapsed() < Duration::from_secs(10), "it still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!("ended after {:?}", told.elapsed());
    ensure!(ended.success(), "{ended}");
    let mut unread = 0;
    for mut stream in streams {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await?;
        unread += rest.len();
    }
    let unread = unread / STREAMS;
    println!("{said} bytes were said; {unread} were waiting on each stream");
    ensure!(0 < unread && unread < said, "the program had to keep nothing for anybody");
    Ok(())
}
