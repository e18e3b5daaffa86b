//! The whole system on embedded parts, with an access that asks who one is.

use crate::api::{Api, Service, example};
use anyhow::Result;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use order_system::System;
use order_system::config::RunSettings;
use reqwest::{Method, RequestBuilder, Response};
use runtime::config::AccessSettings;
use runtime::database::Database;
use runtime::program::Stop;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use std::time::SystemTime;
use tempfile::TempDir;

/// Who signs the tokens.
pub const ISSUER: &str = "https://issuer.example";
/// Whom they are for.
pub const AUDIENCE: &str = "orders";

/// A system with this access.
pub struct Guarded {
    /// It.
    pub system: System,
    settings: RunSettings,
    /// A client of its services.
    pub api: Api,
    _directory: TempDir,
}

impl Guarded {
    /// Starts it in a directory of its own.
    pub async fn start(set: impl FnOnce(&mut AccessSettings)) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut settings = RunSettings::embedded(directory.path().to_owned());
        set(&mut settings.common.access);
        let system = System::start(&settings, None, &Stop::default()).await?;
        system.ready().await;
        let api = Api::new(system.urls());
        Ok(Guarded { system, settings, api, _directory: directory })
    }

    /// A request to read this.
    pub fn get(&self, service: Service, path: &str) -> RequestBuilder {
        self.api.request(Method::GET, service, path)
    }

    /// Asks for the stock with this token or key.
    pub async fn ask(&self, credential: &str) -> Result<Response> {
        Ok(self.get(Service::Inventory, "/api/stock").bearer_auth(credential).send().await?)
    }

    /// Places an order with this token or key.
    pub async fn place(&self, credential: &str) -> Result<Response> {
        let request = self.api.request(Method::POST, Service::Order, "/api/orders").json(&example());
        Ok(request.bearer_auth(credential).send().await?)
    }

    /// Stops it, and counts the orders that it has.
    pub async fn orders(self) -> Result<u64> {
        self.system.stop().await;
        let orders = Database::open(&self.settings.databases()?[0]).await?;
        Ok(order_service::store::Entity::find().count(&orders.read).await?)
    }
}

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
