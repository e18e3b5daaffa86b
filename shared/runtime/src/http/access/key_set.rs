//! The public keys of an issuer (a JSON Web Key Set), kept here and looked up again when one is missing.

use super::Denied;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer of the issuer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon the issuer is asked again: whoever makes up key ids must not make us ask for each.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// The same when it did not answer.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How old the keys may get before they are asked for again, so that one that was withdrawn does not stay good.
const FRESH: Duration = Duration::from_secs(300);
/// The largest set that is read, in bytes.
const LIMIT: usize = 1024 * 1024;

/// One key, with the one way in which it signs.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of an issuer.
pub struct KeySet {
    source: Source,
    known: RwLock<Known>,
    asked: Mutex<Option<Asked>>,
}

enum Source {
    File(PathBuf),
    Server(Client, Url),
}

#[derive(Default)]
struct Known {
    keys: Vec<Arc<Key>>,
    since: Option<Instant>,
}

/// When the issuer was asked last, and whether it answered.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    answered: bool,
}

impl KeySet {
    /// In a file, which is read now and again when a key is missing.
    pub fn in_file(path: &Path) -> Result<Self, String> {
        let keys = read(path)?;
        let known = Known { keys, since: Some(Instant::now()) };
        let source = Source::File(path.to_owned());
        Ok(KeySet { source, known: RwLock::new(known), asked: Mutex::default() })
    }

    /// At an address, which is asked when the first key is needed: the issuer may start after us.
    pub fn at(url: Url) -> Result<Self, reqwest::Error> {
        // Who may send us elsewhere could send us to keys of its own.
        let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build()?;
        Ok(KeySet { source: Source::Server(client, url), known: RwLock::default(), asked: Mutex::default() })
    }

    /// The key of this id; without an id the only one that there is.
    pub(super) async fn find(self: &Arc<Self>, id: Option<&str>) -> Result<Arc<Key>, Denied> {
        if let Some((key, is_fresh)) = self.known(id) {
            if !is_fresh {
                let keys = Arc::clone(self);
                tokio::spawn(async move { keys.ask().await });
            }
            return Ok(key);
        }
        let answered = self.ask().await;
        match self.known(id) {
            Some((key, _)) => Ok(key),
            None if answered => Err(Denied::Worthless("it is signed with no key that is known".into())),
            None => Err(Denied::Undecided),
        }
    }

    fn known(&self, id: Option<&str>) -> Option<(Arc<Key>, bool)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let key = match (id, &known.keys[..]) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [key]) => Some(key),
            (None, _) => None,
        };
        let is_fresh = known.since.is_some_and(|since| since.elapsed() < FRESH);
        key.map(|key| (Arc::clone(key), is_fresh))
    }

    /// Asks for the keys, unless that was done a moment ago. Whether there was an answer then or now.
    async fn ask(&self) -> bool {
        let mut asked = self.asked.lock().await;
        if let Some(Asked { at, answered }) = *asked
            && at.elapsed() < if answered { ASK_AGAIN } else { TRY_AGAIN }
        {
            return answered;
        }
        // Noted before, since a caller that does not wait ends this halfway.
        *asked = Some(Asked { at: Instant::now(), answered: false });
        match self.source.keys().await {
            Ok(keys) => {
                let at = Instant::now();
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { keys, since: Some(at) };
                *asked = Some(Asked { at, answered: true });
                true
            }
            Err(problem) => {
                tracing::warn!(problem, "the keys that tokens are signed with cannot be fetched");
                false
            }
        }
    }
}

impl Source {
    async fn keys(&self) -> Result<Vec<Arc<Key>>, String> {
        let (client, url) = match self {
            Source::File(path) => return read(path),
            Source::Server(client, url) => (client, url),
        };
        // The URL may hold a password, so it is not repeated.
        let said = |error: reqwest::Error| error.without_url().to_string();
        let reply = client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status);
        let mut reply = reply.map_err(said)?;
        if !reply.status().is_success() {
            return Err(format!("the answer is {}", reply.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(said)? {
            if body.len() + chunk.len() > LIMIT {
                return Err(format!("the answer is larger than {LIMIT} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        parse(&body)
    }
}

fn read(path: &Path) -> Result<Vec<Arc<Key>>, String> {
    let text = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))
}

fn parse(text: &[u8]) -> Result<Vec<Arc<Key>>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(text).map_err(|_| "is not a JSON Web Key Set".to_owned())?;
    // A set may hold keys for other ends and of kinds that nobody here knows.
    let keys: Vec<Arc<Key>> = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value(key).ok())
        .filter_map(|key: Jwk| usable(&key))
        .map(Arc::new)
        .collect();
    if keys.is_empty() {
        return Err("holds no public key for RS256, ES256 or EdDSA".into());
    }
    Ok(keys)
}

/// A key of a kind that is allowed here, with the algorithm that goes with it.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind of key is not allowed")]
fn usable(jwk: &Jwk) -> Option<Key> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // A shared secret has no place among published keys.
        _ => return None,
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let as_named = jwk.common.key_algorithm.is_none_or(|algorithm| algorithm == named);
    if !signs || !as_named {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(path: &Path, ids: &[&str]) {
        let key = |id: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "A".repeat(43)});
        let set = json!({ "keys": ids.iter().map(key).collect::<Vec<_>>() });
        std::fs::write(path, set.to_string()).expect("a file that can be written");
    }

    async fn has(keys: &Arc<KeySet>, id: &str) -> Result<(), Denied> {
        keys.find(Some(id)).await.map(|key| assert_eq!(key.id.as_deref(), Some(id)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_key_is_looked_for_and_not_for_everybody_who_names_one() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path();
        write(path, &["1"]);
        let keys = Arc::new(KeySet::in_file(path).expect("a set"));
        let unknown = || Err(Denied::Worthless("it is signed with no key that is known".into()));
        assert_eq!(has(&keys, "1").await, Ok(()));
        assert!(keys.find(None).await.is_ok(), "the only one needs no name");

        write(path, &["1", "2"]);
        assert_eq!(has(&keys, "2").await, Ok(()), "a new one is found at once");
        assert!(keys.find(None).await.is_err(), "one of two needs a name");
        write(path, &["2", "3"]);
        assert_eq!(has(&keys, "3").await, unknown(), "it was looked for a moment ago");
        tokio::time::advance(ASK_AGAIN).await;
        assert_eq!(has(&keys, "3").await, Ok(()));
        assert_eq!(has(&keys, "1").await, unknown(), "one that was withdrawn is gone");

        std::fs::write(path, "{").expect("a file that can be written");
        tokio::time::advance(ASK_AGAIN).await;
        assert_eq!(has(&keys, "4").await, Err(Denied::Undecided), "nobody can say");
        assert_eq!(has(&keys, "3").await, Ok(()), "what is known stays known");
        write(path, &["4"]);
        assert_eq!(has(&keys, "4").await, Err(Denied::Undecided), "it was tried a moment ago");
        tokio::time::advance(TRY_AGAIN).await;
        assert_eq!(has(&keys, "4").await, Ok(()));

        write(path, &["5"]);
        tokio::time::advance(FRESH).await;
        assert_eq!(has(&keys, "4").await, Ok(()), "nobody waits while an old set is renewed");
        while has(&keys, "4").await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(has(&keys, "5").await, Ok(()));
    }

    #[test]
    fn a_set_without_a_usable_key_is_refused() {
        let rsa = |more: &str| format!(r#"{{"keys": [{{"kty": "RSA", "n": "AQAB", "e": "AQAB"{more}}}]}}"#);
        assert!(parse(rsa("").as_bytes()).is_ok());
        assert!(parse(rsa(r#", "use": "sig", "alg": "RS256""#).as_bytes()).is_ok());
        let rows = [
            "",
            "[]",
            r#"{"keys": []}"#,
            r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#,
            r#"{"keys": [{"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"}]}"#,
            &rsa(r#", "use": "enc""#),
            &rsa(r#", "alg": "RS512""#),
            &rsa(r#", "alg": "RSA-OAEP""#),
        ];
        for text in rows {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
