//! JSON Web Tokens: who somebody else says that a caller is.

use super::Denied;
use super::key_set::{Key, KeySet};
use crate::http::{Caller, Role};
use crate::saga::Named;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use std::sync::Arc;

/// The shortest secret, in bytes: as long as what it makes.
pub const SECRET_LENGTH: usize = 32;
/// How far the issuer's clock may be from ours, in seconds.
const LEEWAY: u64 = 30;
/// The longest name of a caller, in characters.
const NAME_LENGTH: usize = 200;

/// Which tokens are good here.
pub struct Jwt {
    /// Who must have made them.
    pub issuer: String,
    /// Whom they must be for.
    pub audience: String,
    /// What they must be signed with.
    pub signed_with: SignedWith,
}

/// What tokens are signed with.
pub struct SignedWith(Keys);

enum Keys {
    Shared(Arc<Key>),
    Published(Arc<KeySet>),
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    role: Option<String>,
    customer_id: Option<String>,
}

impl SignedWith {
    /// A secret that the issuer shares with us.
    pub fn secret(secret: &[u8]) -> Self {
        let key = Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) };
        SignedWith(Keys::Shared(Arc::new(key)))
    }

    /// Keys of which the issuer publishes one half.
    pub fn keys(keys: KeySet) -> Self {
        SignedWith(Keys::Published(Arc::new(keys)))
    }
}

impl Jwt {
    /// Who the caller is, if the token is good.
    pub(super) async fn caller(&self, token: &str) -> Result<Caller, Denied> {
        let header = decode_header(token).map_err(denied)?;
        if header.crit.is_some() {
            return Err(Denied::Worthless("it is to be understood in a way that is not known here".into()));
        }
        let key = match &self.signed_with.0 {
            Keys::Shared(key) => Arc::clone(key),
            Keys::Published(keys) => keys.find(header.kid.as_deref()).await?,
        };
        // The key says how its signatures are made; a token has no say in that.
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        caller(decode::<Claims>(token, &key.key, &validation).map_err(denied)?.claims)
    }
}

fn caller(claims: Claims) -> Result<Caller, Denied> {
    let role = match &claims.role {
        None => Role::Customer,
        Some(name) => Role::named(name).map_err(|_| Denied::Worthless(format!("there is no role {name:?}")))?,
    };
    let is_name = |name: &String| {
        !name.trim().is_empty() && name.chars().count() <= NAME_LENGTH && !name.chars().any(char::is_control)
    };
    if !is_name(&claims.sub) || !claims.customer_id.iter().all(is_name) {
        return Err(Denied::Worthless("sub or customer_id is no name".into()));
    }
    let customer_id = (role == Role::Customer).then(|| claims.customer_id.unwrap_or_else(|| claims.sub.clone()));
    Ok(Caller { id: claims.sub, role, customer_id })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of all that can be wrong with a token, a caller may know one")]
fn denied(error: Error) -> Denied {
    match error.kind() {
        ErrorKind::ExpiredSignature => Denied::Expired,
        _ => Denied::Worthless(error.to_string()),
    }
}
