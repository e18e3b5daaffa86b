//! Who may use the HTTP API, as it is set. `docs/access.md` says how to choose.

use super::BadSetting;
use crate::http::Access;
use crate::http::access::{ApiKeys, Jwt, KeySet, Rate, SECRET_LENGTH, SignedWith};
use clap::{Args, ValueEnum};
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use url::Url;

/// A setting that is not to be shown.
#[derive(Clone)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// Who may use the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Everybody who can reach it.
    Off,
    /// Who has one of the keys in a file.
    ApiKey,
    /// Who has a token that the issuer signed.
    Jwt,
}

/// Who may use the HTTP API, and how often.
#[derive(Args, Clone, Debug)]
pub struct AccessSettings {
    /// Who may use the HTTP API; must be given to listen beyond loopback [default: off on loopback]
    #[arg(long, env)]
    pub auth: Option<Auth>,
    /// File of API keys, a line each: name:key:role, or name:sha256:hex:role, and :customerId for a customer
    #[arg(long, env)]
    pub api_keys_file: Option<PathBuf>,
    /// The same lines instead of a file, separated by line ends or commas
    #[arg(long, env, hide_env_values = true)]
    pub api_keys: Option<Secret>,
    /// Who must have signed a token: its `iss`
    #[arg(long, env)]
    pub jwt_issuer: Option<String>,
    /// Whom a token must be for: one of its `aud`
    #[arg(long, env)]
    pub jwt_audience: Option<String>,
    /// Secret that tokens are signed with (HS256), at least 32 bytes
    #[arg(long, env, hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// File of that secret
    #[arg(long, env)]
    pub jwt_secret_file: Option<PathBuf>,
    /// Where the public keys that tokens are signed with (RS256, ES256, EdDSA) are fetched, a JSON Web Key Set
    #[arg(long, env, hide_env_values = true)]
    pub jwt_jwks_url: Option<String>,
    /// File of those keys
    #[arg(long, env)]
    pub jwt_jwks_file: Option<PathBuf>,
    /// Requests per second of one caller before it is answered 429; 0 is without limit
    #[arg(long, env, default_value = "0",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub rate_limit_per_second: u32,
    /// Requests that a caller may send at once [default: twice RATE_LIMIT_PER_SECOND]
    #[arg(long, env,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate_limit_burst: Option<u32>,
}

impl AccessSettings {
    /// Who is let in, as it is set.
    pub fn access(&self) -> Result<Access, BadSetting> {
        let auth = self.auth.unwrap_or(Auth::Off);
        self.nothing_unused(auth)?;
        let rate = self.rate()?;
        Ok(match auth {
            Auth::Off => Access::open(rate),
            Auth::ApiKey => Access::api_keys(self.keys()?, rate),
            Auth::Jwt => Access::jwt(self.jwt()?, rate),
        })
    }

    /// A setting that has no effect may be one that somebody relies on, as keys where nobody asks for them.
    fn nothing_unused(&self, auth: Auth) -> Result<(), BadSetting> {
        let given = [
            ("API_KEYS_FILE", self.api_keys_file.is_some(), Auth::ApiKey, "api-key"),
            ("API_KEYS", self.api_keys.is_some(), Auth::ApiKey, "api-key"),
            ("JWT_ISSUER", self.jwt_issuer.is_some(), Auth::Jwt, "jwt"),
            ("JWT_AUDIENCE", self.jwt_audience.is_some(), Auth::Jwt, "jwt"),
            ("JWT_SECRET", self.jwt_secret.is_some(), Auth::Jwt, "jwt"),
            ("JWT_SECRET_FILE", self.jwt_secret_file.is_some(), Auth::Jwt, "jwt"),
            ("JWT_JWKS_URL", self.jwt_jwks_url.is_some(), Auth::Jwt, "jwt"),
            ("JWT_JWKS_FILE", self.jwt_jwks_file.is_some(), Auth::Jwt, "jwt"),
        ];
        match given.into_iter().find(|(_, given, of, _)| *given && *of != auth) {
            Some((setting, _, _, name)) => Err(BadSetting::new(setting, format!("is used only with AUTH={name}"))),
            None => Ok(()),
        }
    }

    fn rate(&self) -> Result<Option<Rate>, BadSetting> {
        let Some(per_second) = NonZeroU32::new(self.rate_limit_per_second) else {
            return match self.rate_limit_burst {
                Some(_) => Err(BadSetting::new("RATE_LIMIT_BURST", "is used only with RATE_LIMIT_PER_SECOND")),
                None => Ok(None),
            };
        };
        let burst = self.rate_limit_burst.and_then(NonZeroU32::new);
        Ok(Some(Rate::new(per_second, burst.unwrap_or(per_second.saturating_mul(TWICE)))))
    }

    fn keys(&self) -> Result<ApiKeys, BadSetting> {
        let (setting, text) = match (&self.api_keys_file, &self.api_keys) {
            (Some(file), None) => ("API_KEYS_FILE", read("API_KEYS_FILE", file)?),
            (None, Some(Secret(keys))) => ("API_KEYS", keys.replace(',', "\n")),
            (Some(_), Some(_)) => return Err(BadSetting::new("API_KEYS", "cannot be given beside API_KEYS_FILE")),
            (None, None) => {
                return Err(BadSetting::new("API_KEYS_FILE", "must be given with AUTH=api-key (or API_KEYS)"));
            }
        };
        ApiKeys::parse(&text).map_err(|problem| BadSetting::new(setting, problem))
    }

    fn jwt(&self) -> Result<Jwt, BadSetting> {
        let required = |setting: &str, value: &Option<String>| match value {
            Some(value) if !value.trim().is_empty() => Ok(value.clone()),
            Some(_) | None => Err(BadSetting::new(setting, "must be given with AUTH=jwt")),
        };
        Ok(Jwt {
            issuer: required("JWT_ISSUER", &self.jwt_issuer)?,
            audience: required("JWT_AUDIENCE", &self.jwt_audience)?,
            signed_with: self.signed_with()?,
        })
    }

    fn signed_with(&self) -> Result<SignedWith, BadSetting> {
        let ways = [
            ("JWT_SECRET", self.jwt_secret.is_some()),
            ("JWT_SECRET_FILE", self.jwt_secret_file.is_some()),
            ("JWT_JWKS_URL", self.jwt_jwks_url.is_some()),
            ("JWT_JWKS_FILE", self.jwt_jwks_file.is_some()),
        ];
        let given: Vec<&str> = ways.iter().filter(|(_, given)| *given).map(|(setting, _)| *setting).collect();
        if let [first, second, ..] = given[..] {
            return Err(BadSetting::new(second, format!("cannot be given beside {first}")));
        }
        if let Some(Secret(secret)) = &self.jwt_secret {
            return shared("JWT_SECRET", secret);
        }
        if let Some(file) = &self.jwt_secret_file {
            return shared("JWT_SECRET_FILE", read("JWT_SECRET_FILE", file)?.trim_end_matches(['\r', '\n']));
        }
        if let Some(url) = &self.jwt_jwks_url {
            return key_server(url);
        }
        if let Some(file) = &self.jwt_jwks_file {
            let keys = KeySet::in_file(file).map_err(|problem| BadSetting::new("JWT_JWKS_FILE", problem))?;
            return Ok(SignedWith::keys(keys));
        }
        let problem = "must be given with AUTH=jwt (or JWT_JWKS_FILE, JWT_SECRET or JWT_SECRET_FILE)";
        Err(BadSetting::new("JWT_JWKS_URL", problem))
    }
}

const TWICE: NonZeroU32 = NonZeroU32::new(2).expect("2 is not 0");

fn shared(setting: &str, secret: &str) -> Result<SignedWith, BadSetting> {
    if secret.len() < SECRET_LENGTH {
        return Err(BadSetting::new(setting, format!("must have at least {SECRET_LENGTH} bytes")));
    }
    Ok(SignedWith::secret(secret.as_bytes()))
}

fn key_server(text: &str) -> Result<SignedWith, BadSetting> {
    // The URL may hold a password, so it is not repeated.
    let bad = |problem: String| BadSetting::new("JWT_JWKS_URL", problem);
    let form = || bad("must be https://host/path".into());
    let url: Url = text.parse().map_err(|_| form())?;
    if !["https", "http"].contains(&url.scheme()) || !url.has_host() {
        return Err(form());
    }
    let is_near = url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    if url.scheme() == "http" && !is_near {
        tracing::warn!("JWT_JWKS_URL is not https: whoever can change the answer on its way can sign tokens");
    }
    let keys = KeySet::at(url).map_err(|error| bad(format!("no client can be made for it: {error}")))?;
    Ok(SignedWith::keys(keys))
}

fn read(setting: &str, file: &Path) -> Result<String, BadSetting> {
    let bad = |error| BadSetting::new(setting, format!("{} cannot be read: {error}", file.display()));
    std::fs::read_to_string(file).map_err(bad)
}
