//! Mail, by SMTP.

use super::Failure;
use super::letter::Letters;
use crate::saga::Notice;
use contracts::OrderId;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::error::Error;
use std::time::Duration;
use uuid::Uuid;

/// How the connection to the server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Secrecy {
    /// Not at all: for a server on the same machine or network.
    None,
    /// The connection is made secret before anything is said (STARTTLS), or given up.
    Starttls,
    /// The connection is secret from its beginning.
    Tls,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port; none is the usual one.
    pub port: Option<u16>,
    /// How to talk to it.
    pub secrecy: Secrecy,
    /// User and password.
    pub login: Option<(String, String)>,
}

/// The answers after which the same mail would never be taken: no such mailbox, or none that we may write to.
const REFUSED: [u16; 4] = [501, 550, 551, 553];

/// Sends mail.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    letters: Letters,
}

impl Mail {
    /// By this server, under this sender's name. It has to be called within the async runtime.
    pub fn new(server: Server, from: Mailbox, time_limit: Duration) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let Server { host, port, secrecy, login } = server;
        let (tls, usual) = match secrecy {
            Secrecy::None => (Tls::None, 25),
            Secrecy::Starttls => (Tls::Required(TlsParameters::new(host.clone())?), 587),
            Secrecy::Tls => (Tls::Wrapper(TlsParameters::new(host.clone())?), 465),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port.unwrap_or(usual))
            .tls(tls)
            // A connection for each mail: one whose mail was given up would answer the next one with the last one's answers.
            .pool_config(PoolConfig::new().max_size(0))
            .timeout(Some(time_limit));
        if let Some((user, password)) = login {
            transport = transport.credentials(Credentials::new(user, password));
        }
        Ok(Mail { transport: transport.build(), from, letters: Letters::new()? })
    }

    /// Sends a notice under this message id.
    pub(super) async fn send(&self, order: OrderId, id: Uuid, notice: &Notice) -> Result<(), Failure> {
        let message = self.message(order, id, notice)?;
        self.transport.send(message).await.map(drop).map_err(|error| failure(&error))
    }

    fn message(&self, order: OrderId, id: Uuid, notice: &Notice) -> Result<Message, Failure> {
        let to = notice.to.as_deref().unwrap_or_default();
        let to: Address = to.parse().map_err(|error| Failure::for_good(format!("no address to write to: {error}")))?;
        let letter = self.letters.write(order, notice).map_err(|error| Failure::for_good(error.to_string()))?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)
            .map_err(|error| Failure::for_good(format!("the mail cannot be written: {error}")))
    }
}

fn failure(error: &smtp::Error) -> Failure {
    let mut said = error.to_string();
    if let Some(cause) = error.source() {
        said = format!("{said}: {cause}");
    }
    match error.status().map(u16::from) {
        Some(status) if REFUSED.contains(&status) => Failure::for_good(said),
        Some(_) | None => Failure::for_now(said),
    }
}
