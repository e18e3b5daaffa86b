//! Tokens as an issuer makes them.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::SystemTime;

/// Who signs the tokens.
pub const ISSUER: &str = "https://issuer.example";
/// Whom they are for.
pub const AUDIENCE: &str = "orders";

/// A token, signed by this.
pub fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// What signs so, with this secret.
pub fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |text| hmac::sign(&key, text).as_ref().to_vec()
}

/// What a good token says, with these claims instead; null takes one out. `exp` and `nbf` are seconds from now.
pub fn claims(other: Value) -> Value {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()).cast_signed();
    let mut claims = json!({"sub": "u-1", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "role": "service"});
    let all = claims.as_object_mut().expect("an object");
    for (name, value) in other.as_object().expect("an object").clone() {
        let moment = value.as_i64().map(|seconds| json!(now + seconds));
        all.insert(name, moment.unwrap_or(value));
    }
    all.retain(|_, value| !value.is_null());
    claims
}
