//! Mail, against a mail server in a process of its own: aiosmtpd, of Debian's package python3-aiosmtpd.

use crate::rig::{Rig, contact, eventually};
use crate::{ALLOW_PRIVATE, first, is_sent, receiver, sent_by};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A mail server in a process of its own, and what it was given.
pub(crate) struct Inbox {
    directory: TempDir,
    port: u16,
    server: Child,
}

impl Inbox {
    pub(crate) async fn open() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let directory = tempfile::tempdir()?;
        let server = serve(port, directory.path().join("mail")).await?;
        Ok(Inbox { directory, port, server })
    }

    /// The settings that lead here.
    pub(crate) fn settings(&self) -> [&'static str; 6] {
        let url: &'static str = Box::leak(format!("smtp://127.0.0.1:{}", self.port).into_boxed_str());
        ["--smtp-url", url, "--smtp-tls", "none", "--smtp-from", "Shop <shop@example.org>"]
    }

    pub(crate) fn close(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    pub(crate) async fn reopen(&mut self) -> Result<()> {
        self.server = serve(self.port, self.directory.path().join("mail")).await?;
        Ok(())
    }

    /// Every mail, as it came.
    pub(crate) fn mails(&self) -> Result<Vec<String>> {
        let files = std::fs::read_dir(self.directory.path().join("mail/new"))?;
        files.map(|file| Ok(std::fs::read_to_string(file?.path())?)).collect()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

async fn serve(port: u16, directory: PathBuf) -> Result<Child> {
    let mut command = Command::new("aiosmtpd");
    command.args(["-n", "-l", &format!("127.0.0.1:{port}"), "-c", "aiosmtpd.handlers.Mailbox"]).arg(directory);
    let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = server.context("aiosmtpd is needed for this test: Debian's package python3-aiosmtpd")?;
    let answers = async || Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok());
    eventually("a mail server", answers).await?;
    Ok(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mail_per_occasion() -> Result<()> {
    let inbox = Inbox::open().await?;
    let rig = Rig::start(&inbox.settings()).await?;
    let order = rig.order();
    let contact = Some(contact("https://127.0.0.1/"));
    for _ in 0..2 {
        // The second time they come under new ids.
        rig.cancelled(order, contact.clone()).await?;
        rig.refunded(order, contact.clone()).await?;
    }
    let path = format!("/api/notifications?orderId={order}&channel=EMAIL");
    let all = |reply: &Value| sent_by(reply, "EMAIL").len() == 2;
    let mailed = sent_by(&rig.until(&path, "all sent", all).await?, "EMAIL");
    let mails = inbox.mails()?;
    ensure!(mails.len() == mailed.len(), "{mails:?}");
    for (id, notice) in &mailed {
        let mail = mails.iter().find(|mail| mail.contains(&format!("Message-ID: <{id}@example.org>")));
        let mail = mail.with_context(|| format!("no mail under {id}: {mails:?}"))?;
        ensure!(mail.contains("To: customer@example.com") && mail.contains(&order.to_string()), "{mail}");
        ensure!(notice["recipient"] == "customer@example.com" && notice["attempts"]["count"] == 1, "{notice}");
    }

    // An order without a contact leads to no mail.
    let plain = rig.order();
    rig.confirmed(plain, None).await?;
    let reply = rig.until(&format!("/api/notifications?orderId={plain}"), "sent", is_sent).await?;
    ensure!(reply["notifications"].as_array().map(Vec::len) == Some(1) && inbox.mails()?.len() == 2, "{reply}");
    rig.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_down_gets_the_mail_under_the_same_id() -> Result<()> {
    let mut inbox = Inbox::open().await?;
    inbox.close()?;
    let receiver = receiver(&[], 200).await;
    let rig = Rig::start(&[&inbox.settings()[..], &ALLOW_PRIVATE].concat()).await?;
    let order = rig.order();
    rig.confirmed(order, Some(contact(&receiver.uri()))).await?;

    let path = format!("/api/notifications?orderId={order}&channel=EMAIL");
    let tried = |reply: &Value| first(reply)["attempts"]["count"].as_i64() >= Some(2);
    let reply = rig.until(&path, "tried twice", tried).await?;
    let notice = first(&reply);
    ensure!(notice["status"] == "PENDING" && notice["attempts"]["nextAt"].is_string(), "{notice}");
    ensure!(notice["attempts"]["lastError"].is_string(), "{notice}");
    // Another order's notices are not held up, and neither are this order's by another channel.
    let other = rig.order();
    rig.confirmed(other, None).await?;
    rig.until(&format!("/api/notifications?orderId={other}"), "sent", is_sent).await?;
    let webhook = format!("/api/notifications?orderId={order}&channel=WEBHOOK");
    rig.until(&webhook, "posted", is_sent).await?;

    inbox.reopen().await?;
    let reply = rig.until(&path, "mailed", is_sent).await?;
    let id = first(&reply)["notificationId"].as_str().context("an id")?.to_owned();
    let mails = inbox.mails()?;
    ensure!(mails.len() == 1 && mails[0].contains(&format!("Message-ID: <{id}@example.org>")), "{mails:?}");
    let (_, notice) = rig.get(&format!("/api/notifications/{id}")).await?;
    let (last, failed) = notice["deliveries"].as_array().and_then(|all| all.split_last()).context("deliveries")?;
    ensure!(failed.len() >= 2 && failed.iter().all(|one| one["error"].is_string()), "{notice}");
    ensure!(last["error"].is_null(), "{notice}");
    rig.stop().await
}
