//! The settings of notification-service.

use crate::channel::Ways;
use crate::channel::email::{Mail, Secrecy, Server};
use crate::channel::webhook::{Secret, Webhooks};
use crate::saga::{NotificationSaga, Occasion};
use clap::{Args, Parser};
use lettre::message::Mailbox;
use runtime::config::{Alone, BadSetting};
use runtime::saga::Named;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Tells customers how their orders ended.
#[derive(Clone, Debug, Parser)]
#[command(name = "notification-service", version)]
pub struct Settings {
    /// The ways to customers
    #[command(flatten)]
    pub notify: Notify,
    /// What every service takes that runs alone
    #[command(flatten)]
    pub alone: Alone<8083>,
}

/// The ways to customers. Without these settings there is the log alone.
#[derive(Args, Clone, Debug)]
pub struct Notify {
    /// Mail server, as smtp://user@host:port or smtps://...; without it no mail is sent
    #[arg(long, env, hide_env_values = true)]
    pub smtp_url: Option<String>,
    /// Password at the mail server, where it is not in the URL
    #[arg(long, env, hide_env_values = true)]
    pub smtp_password: Option<String>,
    /// File that holds this password
    #[arg(long, env)]
    pub smtp_password_file: Option<PathBuf>,
    /// How the connection to the mail server is kept secret [default: starttls; tls for smtps://]
    #[arg(long, env)]
    pub smtp_tls: Option<Secrecy>,
    /// Sender of the mail, as in `Shop <shop@example.org>`
    #[arg(long, env)]
    pub smtp_from: Option<String>,
    /// What is sent by mail, as in `ORDER_CONFIRMED,PAYMENT_REFUNDED`; ALL or NONE
    #[arg(long, env, default_value = "ALL")]
    pub notify_email: String,
    /// Secret that webhooks are signed with, as whsec_ and base64; without it no webhook is called
    #[arg(long, env, hide_env_values = true)]
    pub webhook_secret: Option<String>,
    /// File that holds this secret
    #[arg(long, env)]
    pub webhook_secret_file: Option<PathBuf>,
    /// Whether webhooks may lead to private addresses, and need no https
    #[arg(long, env, default_value = "false",
          action = clap::ArgAction::Set)]
    pub webhook_allow_private: bool,
    /// What is sent to webhooks; ALL or NONE
    #[arg(long, env, default_value = "ALL")]
    pub notify_webhook: String,
    /// How long a delivery may take, in milliseconds
    #[arg(long, env, default_value = "5000",
          value_parser = clap::value_parser!(u64).range(1..=15_000))]
    pub notify_timeout_ms: u64,
    /// Deliveries of a notice that may fail before it is given up
    #[arg(long, env, default_value = "20",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub notify_max_attempts: u32,
    /// First pause between two deliveries, in milliseconds; it doubles up to an hour
    #[arg(long, env, default_value = "1000",
          value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub notify_retry_interval_ms: u64,
}

impl Notify {
    /// The ways as they are set. It has to be called within the async runtime.
    pub fn ways(&self) -> Result<Ways, BadSetting> {
        let time_limit = Duration::from_millis(self.notify_timeout_ms);
        // Looked at also where it is not used: a wrong setting is not to wait for the day on which it is.
        let (mailed, posted) =
            (occasions("NOTIFY_EMAIL", &self.notify_email)?, occasions("NOTIFY_WEBHOOK", &self.notify_webhook)?);
        let email = self.mail(time_limit)?;
        let webhook = self.webhooks()?;
        let saga = NotificationSaga {
            email: if email.is_some() { mailed } else { Default::default() },
            webhook: if webhook.is_some() { posted } else { Default::default() },
            attempts: self.notify_max_attempts,
        };
        let first_pause = Duration::from_millis(self.notify_retry_interval_ms);
        Ok(Ways { saga, email, webhook, time_limit, first_pause })
    }

    fn mail(&self, time_limit: Duration) -> Result<Option<Mail>, BadSetting> {
        let Some(url) = &self.smtp_url else { return Ok(None) };
        let password = secret("SMTP_PASSWORD", &self.smtp_password, &self.smtp_password_file)?;
        let server = server(url, password, self.smtp_tls)?;
        let from = self.smtp_from.as_deref().ok_or_else(|| {
            BadSetting::new("SMTP_FROM", "must be given with SMTP_URL, as in `Shop <shop@example.org>`")
        })?;
        let from: Mailbox =
            from.parse().map_err(|error| BadSetting::new("SMTP_FROM", format!("{from:?} is no sender: {error}")))?;
        let mail = Mail::new(server, from, time_limit);
        mail.map(Some).map_err(|error| BadSetting::new("SMTP_URL", format!("no mail can be sent: {error}")))
    }

    fn webhooks(&self) -> Result<Option<Webhooks>, BadSetting> {
        let bad = |problem: String| BadSetting::new("WEBHOOK_SECRET", problem);
        let Some(text) = secret("WEBHOOK_SECRET", &self.webhook_secret, &self.webhook_secret_file)? else {
            return Ok(None);
        };
        let secret = Secret::parse(&text).map_err(|why| bad(why.to_owned()))?;
        let webhooks = Webhooks::new(secret, self.webhook_allow_private);
        webhooks.map(Some).map_err(|error| bad(format!("no client for webhooks can be made: {error}")))
    }
}

/// A secret, from its setting or from the file that its setting with `_FILE` names.
fn secret(setting: &str, value: &Option<String>, file: &Option<PathBuf>) -> Result<Option<String>, BadSetting> {
    match (value, file) {
        (Some(_), Some(_)) => Err(BadSetting::new(setting, format!("give it or {setting}_FILE, and not both"))),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(file)) => {
            let unreadable = |error| BadSetting::new(format!("{setting}_FILE"), format!("{}: {error}", file.display()));
            std::fs::read_to_string(file).map(|text| Some(text.trim_end().to_owned())).map_err(unreadable)
        }
        (None, None) => Ok(None),
    }
}

/// The mail server of a URL. That may hold a password, so it is not repeated.
fn server(url: &str, password: Option<String>, secrecy: Option<Secrecy>) -> Result<Server, BadSetting> {
    let bad = |problem: &str| BadSetting::new("SMTP_URL", problem);
    let form = "must be smtp://user:password@host:port or smtps://...";
    let url = Url::parse(url).map_err(|_| bad(form))?;
    let secrecy = match (url.scheme(), secrecy) {
        ("smtps", None | Some(Secrecy::Tls)) => Secrecy::Tls,
        ("smtps", Some(_)) => return Err(BadSetting::new("SMTP_TLS", "must be tls for smtps://, or not given")),
        ("smtp", secrecy) => secrecy.unwrap_or(Secrecy::Starttls),
        _ => return Err(bad(form)),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad(form))?;
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| bad(form));
    let password = match (url.password(), password) {
        (Some(_), Some(_)) => {
            return Err(BadSetting::new("SMTP_PASSWORD", "give the password in SMTP_URL or here, and not in both"));
        }
        (Some(encoded), None) => Some(decoded(encoded)?),
        (None, password) => password,
    };
    let login = match (url.username(), password) {
        ("", None) => None,
        ("", Some(_)) => return Err(bad("must name the user that the password belongs to, as in smtp://user@host")),
        (_, None) => return Err(BadSetting::new("SMTP_PASSWORD", "must be given for the user that SMTP_URL names")),
        (user, Some(password)) => Some((decoded(user)?, password)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Server { host, port: url.port(), secrecy, login })
}

/// The occasions of a list.
fn occasions<C: FromIterator<Occasion>>(setting: &str, list: &str) -> Result<C, BadSetting> {
    match list.trim() {
        "ALL" => Ok(Occasion::ALL.iter().copied().collect()),
        "NONE" | "" => Ok(std::iter::empty().collect()),
        names => {
            names.split(',').map(|name| Occasion::named(name.trim())).collect::<Result<C, String>>().map_err(|_| {
                let known: Vec<&str> = Occasion::ALL.iter().map(|occasion| occasion.name()).collect();
                BadSetting::new(setting, format!("{list:?} is not ALL, NONE, or a list of {}", known.join(", ")))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::config::given;
    use std::collections::BTreeSet;

    fn notify(arguments: &[&str]) -> Notify {
        given(arguments).expect("settings of the right form")
    }

    #[tokio::test]
    async fn without_settings_there_is_the_log_alone() {
        let ways = notify(&[]).ways().expect("nothing is wrong");
        assert!(ways.email.is_none() && ways.webhook.is_none());
        assert_eq!(ways.saga, NotificationSaga::default());
    }

    #[tokio::test]
    async fn a_way_that_is_set_takes_what_it_is_set_for() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a written file");
        let path = file.path().to_str().expect("a path");
        let arguments = ["--smtp-url", "smtp://user:p%40ss@mail.example.org", "--smtp-from", "Shop <shop@example.org>"];
        let more = ["--webhook-secret-file", path, "--notify-email", "ORDER_FAILED, ORDER_CANCELLED"];
        let ways = notify(&[&arguments[..], &more[..]].concat()).ways().expect("nothing is wrong");
        assert!(ways.email.is_some() && ways.webhook.is_some());
        assert_eq!(ways.saga.email, BTreeSet::from([Occasion::OrderFailed, Occasion::OrderCancelled]));
        assert_eq!(ways.saga.webhook.len(), Occasion::ALL.len());
        let server = server("smtp://user:p%40ss@mail.example.org:2525", None, Some(Secrecy::None)).expect("a server");
        assert_eq!(server.login, Some(("user".to_owned(), "p@ss".to_owned())));
        assert_eq!((server.host.as_str(), server.port), ("mail.example.org", Some(2525)));
    }

    #[tokio::test]
    async fn a_wrong_setting_is_refused_by_name_and_keeps_its_secrets() {
        let url = ["--smtp-url", "smtp://user:hunter2@mail.example.org"];
        let rows: &[(&[&str], &str)] = &[
            (&["--smtp-url", "mail.example.org"], "SMTP_URL"),
            (&["--smtp-url", "http://u:hunter2@mail.example.org"], "SMTP_URL"),
            (&["--smtp-url", "smtp://user@mail.example.org"], "SMTP_PASSWORD"),
            (&[url[0], url[1], "--smtp-password", "hunter2"], "SMTP_PASSWORD"),
            (&[url[0], url[1], "--smtp-password-file", "/nowhere/hunter2"], "SMTP_PASSWORD_FILE"),
            (&["--smtp-url", "smtps://mail.example.org", "--smtp-tls", "none"], "SMTP_TLS"),
            (&url, "SMTP_FROM"),
            (&[url[0], url[1], "--smtp-from", "nobody"], "SMTP_FROM"),
            (&["--webhook-secret", "hunter2"], "WEBHOOK_SECRET"),
            (&["--notify-email", "ORDER_SHIPPED"], "NOTIFY_EMAIL"),
            (&["--notify-webhook", "all of it"], "NOTIFY_WEBHOOK"),
        ];
        for (arguments, setting) in rows {
            let bad = notify(arguments).ways().err().expect("a wrong setting");
            assert_eq!(bad.setting, *setting, "{arguments:?}: {bad}");
            let tells = bad.problem.contains("hunter2") && !bad.problem.contains("/nowhere/");
            assert!(!tells, "{bad}");
        }
    }
}
