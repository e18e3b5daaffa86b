//! order-system as a program: `kill -9`, a second copy, bad settings, an orderly end.

mod running;
mod traces;

use anyhow::{Context, Result, ensure};
use running::{PATIENCE, PROGRAM, Running, order, place, program, signal, status, until_confirmed};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Row 43, and rows 1 to 6 on the embedded parts: `kill -9` at random moments, under load.
#[tokio::test]
async fn row_01_a_request_that_was_cut_off_is_sent_again_under_its_key() -> Result<()> {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir()?;
    let client = reqwest::Client::new();
    let send = |url: &str, key: usize| {
        let request = client.post(format!("{url}/api/orders")).header("Idempotency-Key", format!("key-{key}"));
        request.json(&order()).send()
    };
    let mut running = Running::start(directory.path())?;
    let mut ids = BTreeSet::new();
    for key in 0..12 {
        // Between the claim, the order, its events and the answer, wherever this moment is.
        let moment = Duration::from_micros(random.u64(0..8_000));
        let cut_off = tokio::time::timeout(moment, send(&running.url, key)).await;
        running.kill()?;
        drop(cut_off);
        running = Running::start(directory.path())?;
        let again: Value = send(&running.url, key).await?.error_for_status()?.json().await?;
        let replayed = send(&running.url, key).await?;
        ensure!(replayed.headers().get("idempotency-replayed").is_some_and(|replayed| replayed == "true"));
        ensure!(replayed.json::<Value>().await? == again, "{again}");
        ids.insert(again["orderId"].as_str().context("an id")?.to_owned());
    }
    let ids: Vec<String> = ids.into_iter().collect();
    until_confirmed(&running, &ids).await?;
    let listed = get(&format!("{}/api/orders?limit=100", running.url)).await?;
    ensure!(
        (ids.len(), listed["orders"].as_array().map(Vec::len)) == (12, Some(12)),
        "one order for each key: {listed}"
    );
    Ok(())
}

#[tokio::test]
async fn row_43_kill_9_at_random_moments_loses_and_doubles_nothing() -> Result<()> {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir()?;
    let client = reqwest::Client::new();
    let mut accepted = Vec::new();
    for _ in 0..10 {
        let mut running = Running::start(directory.path())?;
        let url = running.url.clone();
        let load = async {
            loop {
                accepted.extend(place(&client, &url).await);
            }
        };
        let moment = Duration::from_millis(random.u64(20..600));
        // Whatever is under way at this moment is cut off.
        assert!(tokio::time::timeout(moment, load).await.is_err());
        running.kill()?;
    }
    ensure!(accepted.len() > 10, "only {} orders were accepted", accepted.len());
    let mut running = Running::start(directory.path())?;
    until_confirmed(&running, &accepted).await?;
    // An order whose answer was cut off may be there, too, so the stock holds at least the accepted ones; of each order
    // there is one.
    let [_, stock, notices] = [running.next_url()?, running.next_url()?, running.next_url()?];
    let started = Instant::now();
    for id in &accepted {
        loop {
            let reservations = get(&format!("{stock}/api/reservations?orderId={id}")).await?;
            let told = get(&format!("{notices}/api/notifications?orderId={id}")).await?;
            let sent = told["notifications"].as_array().map(Vec::len) == Some(1)
                && told["notifications"][0]["status"] == "SENT";
            if sent && reservations["reservations"].as_array().map(Vec::len) == Some(1) {
                break;
            }
            ensure!(started.elapsed() < PATIENCE, "{reservations} {told}");
        }
    }
    let held = get(&format!("{stock}/api/stock/P1")).await?["reserved"].as_u64().context("a number")?;
    ensure!(held >= u64::try_from(accepted.len())? && held <= u64::try_from(accepted.len() + 10)?, "{held} held");
    Ok(())
}

async fn get(url: &str) -> Result<Value> {
    Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
}

/// Row 8. A second SIGTERM ends it at once, in the middle of the drain, and nothing is lost.
#[tokio::test]
async fn row_08_a_second_sigterm_ends_it_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let client = reqwest::Client::new();
    let mut running = Running::start(directory.path())?;
    let mut accepted = Vec::new();
    for _ in 0..50 {
        accepted.extend(place(&client, &running.url).await);
    }
    signal(&running, "-TERM")?;
    signal(&running, "-TERM")?;
    assert_eq!(running.child.wait()?.code(), Some(0));
    assert_eq!(accepted.len(), 50);
    until_confirmed(&Running::start(directory.path())?, &accepted).await
}

/// Row 29. While no file may grow, nothing is taken on and reads are answered; with room again all goes on.
#[tokio::test]
async fn row_29_a_full_disk_stops_writes_and_damages_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // A process that ignores the signal gets an error from the write instead.
    let script = format!("trap '' XFSZ; exec {PROGRAM} run --http-port 0 --data-dir {}", directory.path().display());
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).env_clear().env("RUST_LOG", "error").stdout(Stdio::piped()).stderr(Stdio::null());
    let running = Running::of(shell)?;
    let client = reqwest::Client::new();
    let mut accepted = Vec::new();
    for _ in 0..30 {
        accepted.extend(place(&client, &running.url).await);
    }
    until_confirmed(&running, &accepted).await?;
    let limit = |bytes: &str| -> Result<()> {
        let pid = running.child.id().to_string();
        ensure!(
            Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status()?.success()
        );
        Ok(())
    };
    limit("65536")?;
    let refused = client.post(format!("{}/api/orders", running.url)).json(&order()).send().await?;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(status(&running.url, &accepted[0]).await?, "CONFIRMED", "reads work");
    limit("unlimited")?;
    let started = Instant::now();
    loop {
        if let Some(id) = place(&client, &running.url).await {
            accepted.push(id);
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "it takes nothing on again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_confirmed(&running, &accepted).await?;
    drop(running);
    until_confirmed(&Running::start(directory.path())?, &accepted).await
}

/// Row 45. A damaged file is found at the start, and named; nothing is continued.
#[tokio::test]
async fn row_45_a_damaged_file_is_refused_by_name() -> Result<()> {
    for (file, from) in
        [("order.sqlite", 0), ("order.sqlite", 4096), ("inventory.sqlite", 4096), ("events.sqlite", 4096)]
    {
        let directory = tempfile::tempdir()?;
        let mut running = Running::start(directory.path())?;
        let client = reqwest::Client::new();
        let mut accepted = Vec::new();
        for _ in 0..20 {
            accepted.extend(place(&client, &running.url).await);
        }
        until_confirmed(&running, &accepted).await?;
        signal(&running, "-TERM")?;
        running.child.wait()?;
        let path = directory.path().join(file);
        let mut bytes = std::fs::read(&path)?;
        let damaged = bytes.get_mut(from..from + 8192);
        damaged.with_context(|| format!("{file} holds little after a stop: the rest is beside it"))?.fill(0xa5);
        std::fs::write(&path, bytes)?;
        let mut refused = program(directory.path()).spawn()?;
        let started = Instant::now();
        while refused.try_wait()?.is_none() {
            ensure!(started.elapsed() < PATIENCE || refused.kill().is_err(), "{file} from {from}: it goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        let refused = refused.wait_with_output()?;
        let error = String::from_utf8(refused.stderr)?;
        assert_eq!(refused.status.code(), Some(2), "{file} from {from}: {error}");
        assert!(error.contains(&path.display().to_string()), "{file} from {from}: {error}");
    }
    Ok(())
}

/// Row 45. A file that was there and is gone, or is empty, is not made anew beside the others, which rely on what it held.
#[tokio::test]
async fn row_45_a_lost_file_is_refused_by_name() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut running = Running::start(directory.path())?;
    let accepted: Vec<String> = place(&reqwest::Client::new(), &running.url).await.into_iter().collect();
    until_confirmed(&running, &accepted).await?;
    signal(&running, "-TERM")?;
    running.child.wait()?;
    for name in ["order", "payment", "inventory", "notification", "events"] {
        let file = directory.path().join(format!("{name}.sqlite"));
        let kept = std::fs::read(&file)?;
        for lose in [|file: &Path| std::fs::remove_file(file), |file: &Path| std::fs::write(file, "")] {
            lose(&file)?;
            let refused = program(directory.path()).output()?;
            let error = String::from_utf8(refused.stderr)?;
            assert_eq!(refused.status.code(), Some(2), "{name}: {error}");
            let is_named = error.contains(&file.display().to_string()) && error.contains("--data-dir");
            assert!(is_named && error.lines().count() == 1, "{name}: {error}");
        }
        std::fs::write(&file, kept)?;
    }
    until_confirmed(&Running::start(directory.path())?, &accepted).await
}

#[test]
fn row_44_a_second_copy_on_the_same_data_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let _first = Running::start(directory.path())?;
    let second = program(directory.path()).output()?;
    let error = String::from_utf8(second.stderr)?;
    assert_eq!(second.status.code(), Some(2), "{error}");
    let name = directory.path().display().to_string();
    assert!(error.contains(&name) && error.lines().count() == 1, "{error}");
    Ok(())
}

#[test]
fn sigterm_ends_it_in_order() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut running = Running::start(directory.path())?;
    // Said once everything is ready.
    let mut line = String::new();
    while !line.contains("Ctrl-C") {
        line.clear();
        ensure!(running.output.read_line(&mut line)? > 0, "it ended before it was ready");
    }
    signal(&running, "-TERM")?;
    assert_eq!(running.child.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn bad_settings_end_it_with_one_line_that_names_them() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rows = [
        ("HTTP_PORT", "eighty"),
        ("HTTP_PORT", "65533"),
        ("HTTP_HOST", "nowhere"),
        ("AUTH", "on"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("ORDER_DATABASE_URL", "mysql://localhost/x"),
        ("PAYMENT_STUB_FAIL_ABOVE_AMOUNT", "-1"),
        ("PAYMENT_STUB_FAIL_ABOVE_AMOUNT", "ten"),
        ("INVENTORY_INITIAL_STOCK", "P1"),
        ("INVENTORY_INITIAL_STOCK", "P1=1,P1=2"),
        ("CONSUMER_MAX_ATTEMPTS", "0"),
        ("RATE_LIMIT_PER_SECOND", "-1"),
        ("RATE_LIMIT_BURST", "0"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "a=b=c"),
    ];
    for (setting, value) in rows {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("DATA_DIR", directory.path()).env("HTTP_PORT", "0").env(setting, value);
        let output = command.output()?;
        let error = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{setting}={value}: {error}");
        assert!(error.contains(setting) && error.lines().count() == 1, "{setting}={value}: {error}");
    }
    let beyond =
        Command::new(PROGRAM).env_clear().env("DATA_DIR", directory.path()).env("HTTP_HOST", "0.0.0.0").output()?;
    let error = String::from_utf8(beyond.stderr)?;
    assert!(beyond.status.code() == Some(2) && error.contains("AUTH"), "{error}");
    Ok(())
}

/// Settings with their values.
type Given<'a> = &'a [(&'a str, &'a str)];

#[test]
fn a_wrong_choice_of_access_is_named_and_its_secrets_are_not() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("secret");
    std::fs::write(&file, "hush\n")?;
    let file = file.to_str().context("a path that is text")?;
    let keys = [("AUTH", "api-key")];
    let jwt = [("AUTH", "jwt"), ("JWT_ISSUER", "https://issuer.example"), ("JWT_AUDIENCE", "orders")];
    let long = "hush-hush-hush-hush-hush-hush-hush-hush";
    // What is set, what is set besides, and what is named.
    let rows: &[(Given, Given, &str)] = &[
        (&keys, &[], "API_KEYS_FILE:"),
        (&keys, &[("API_KEYS", "shop:hush:service")], "API_KEYS: line 1:"),
        (&keys, &[("API_KEYS_FILE", "nowhere")], "API_KEYS_FILE: nowhere"),
        (&keys, &[("API_KEYS_FILE", file)], "API_KEYS_FILE: line 1:"),
        (&keys, &[("API_KEYS_FILE", file), ("API_KEYS", long)], "API_KEYS:"),
        (&keys, &[("JWT_ISSUER", "x")], "JWT_ISSUER:"),
        (&[], &[("API_KEYS", long)], "API_KEYS:"),
        (&[], &[("JWT_SECRET", long)], "JWT_SECRET:"),
        (&[], &[("RATE_LIMIT_BURST", "10")], "RATE_LIMIT_BURST:"),
        (&jwt[..1], &[], "JWT_ISSUER:"),
        (&jwt[..2], &[], "JWT_AUDIENCE:"),
        (&jwt, &[], "JWT_JWKS_URL:"),
        (&jwt, &[("JWT_SECRET", "hush")], "JWT_SECRET:"),
        (&jwt, &[("JWT_SECRET_FILE", file)], "JWT_SECRET_FILE:"),
        (&jwt, &[("JWT_SECRET_FILE", "nowhere")], "JWT_SECRET_FILE: nowhere"),
        (&jwt, &[("JWT_JWKS_URL", "issuer.example/hush")], "JWT_JWKS_URL:"),
        (&jwt, &[("JWT_JWKS_FILE", "nowhere")], "JWT_JWKS_FILE: nowhere"),
        (&jwt, &[("JWT_JWKS_FILE", file)], "JWT_JWKS_FILE:"),
        (&jwt, &[("JWT_SECRET", long), ("JWT_JWKS_URL", "https://issuer.example/keys")], "JWT_JWKS_URL:"),
    ];
    for (set, besides, named) in rows {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("DATA_DIR", directory.path()).env("HTTP_PORT", "0");
        let output = command.envs(set.iter().chain(*besides).copied()).output()?;
        let error = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{set:?} {besides:?}: {error}");
        assert!(error.contains(named) && error.lines().count() == 1, "{set:?} {besides:?}: {error}");
        assert!(!error.contains("hush"), "{set:?} {besides:?}: {error}");
    }
    Ok(())
}
