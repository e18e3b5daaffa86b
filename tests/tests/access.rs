//! Who is let in, over HTTP: with keys, with tokens of every wrong kind, and how often.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use e2e::api::{Service, example};
use e2e::embedded::Embedded;
use e2e::tokens::{AUDIENCE, ISSUER, claims, hs256, token};
use futures::future::join_all;
use reqwest::{Method, RequestBuilder, Response};
use runtime::config::{Auth, Secret};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const ORDER: &str = "/api/orders/018f4e2a-7b1c-7000-8000-000000000001";
const WORTHLESS: &str = "the credential is not accepted";

fn get(guarded: &Embedded, service: Service, path: &str) -> RequestBuilder {
    guarded.api.request(Method::GET, service, path)
}

/// Asks for the stock with this token or key.
async fn ask(guarded: &Embedded, credential: &str) -> Result<Response> {
    Ok(get(guarded, Service::Inventory, "/api/stock").bearer_auth(credential).send().await?)
}

/// Places an order with this token or key.
async fn place(guarded: &Embedded, credential: &str) -> Result<Response> {
    let request = guarded.api.request(Method::POST, Service::Order, "/api/orders").json(&example());
    Ok(request.bearer_auth(credential).send().await?)
}

/// A 401 says how to do it right, and of what was wrong nothing but this.
async fn assert_unknown(reply: Response, detail: &str, case: &str) -> Result<()> {
    assert_eq!(reply.status(), 401, "{case}");
    let challenge = reply.headers()["www-authenticate"].to_str()?.to_owned();
    assert!(challenge.starts_with("Bearer realm="), "{case}: {challenge}");
    assert!(reply.headers().contains_key("x-correlation-id"), "{case}");
    let path = reply.url().path().to_owned();
    let problem: Value = reply.json().await?;
    let expected = json!({
        "type": "urn:order-system:problem:unauthorized",
        "title": "Unauthorized",
        "status": 401,
        "detail": detail,
        "instance": path,
        "traceId": problem["traceId"],
    });
    assert_eq!(problem, expected, "{case}");
    Ok(())
}

#[tokio::test]
async fn a_key_opens_what_its_role_may() -> Result<()> {
    let keys = tempfile::NamedTempFile::new()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"operators-own-key-1");
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let shop = "shop:customers-own-key-1:customer:cust-1";
    std::fs::write(&keys, format!("{shop}\nbatch:services-own-key-1:service\nops:sha256:{digest}:operator\n"))?;
    let guarded = Embedded::guarded(|access| {
        access.auth = Some(Auth::ApiKey);
        access.api_keys_file = Some(keys.path().to_owned());
    })
    .await?;

    // With no key, and with those of a customer, a service and an operator.
    let callers = ["", "customers-own-key-1", "services-own-key-1", "operators-own-key-1"];
    let rows = [
        (Method::GET, Service::Order, ORDER, [401, 404, 404, 404]),
        (Method::GET, Service::Payment, "/api/payments/none", [401, 403, 404, 404]),
        (Method::GET, Service::Inventory, "/api/stock", [401, 403, 200, 200]),
        (Method::GET, Service::Inventory, "/api/stock/P1", [401, 403, 200, 200]),
        (Method::PUT, Service::Inventory, "/api/stock/P1", [401, 403, 403, 400]),
        (Method::POST, Service::Inventory, "/api/stock/P1/adjustments", [401, 403, 403, 400]),
        (Method::POST, Service::Payment, "/api/payments/none/refund/retry", [401, 403, 403, 404]),
        (Method::GET, Service::Notification, "/api/notifications?orderId=x", [401, 403, 400, 400]),
        (Method::GET, Service::Order, "/nowhere", [401, 403, 403, 404]),
        (Method::GET, Service::Order, "/health/ready", [200; 4]),
        (Method::GET, Service::Payment, "/metrics", [200; 4]),
        (Method::GET, Service::Inventory, "/docs", [200; 4]),
        (Method::GET, Service::Notification, "/openapi.yaml", [200; 4]),
    ];
    for (method, at, path, statuses) in rows {
        for (key, status) in callers.into_iter().zip(statuses) {
            let case = format!("{method} {path} with {key:?}");
            let request = guarded.api.request(method.clone(), at, path).header("Content-Type", "application/json");
            let request = if key.is_empty() { request } else { request.bearer_auth(key) };
            let reply = request.send().await?;
            assert_eq!(reply.status(), status, "{case}");
            if status == 401 {
                let detail = "this needs a key, as Authorization: Bearer <key> or X-API-Key: <key>";
                assert_unknown(reply, detail, &case).await?;
            } else if status == 403 {
                let problem: Value = reply.json().await?;
                assert_eq!(problem["type"], "urn:order-system:problem:forbidden", "{case}: {problem}");
            }
        }
    }

    let [_, customer, service, _] = callers;
    let asked = || get(&guarded, Service::Inventory, "/api/stock");
    assert_eq!(asked().header("X-API-Key", service).send().await?.status(), 200);
    assert_eq!(asked().basic_auth("batch", Some(service)).header("X-API-Key", service).send().await?.status(), 200);
    for wrong in ["operators-own-key-2", "operators-own-key", "ops", &digest, "x"] {
        assert_unknown(asked().header("X-API-Key", wrong).send().await?, WORTHLESS, wrong).await?;
        assert_unknown(ask(&guarded, wrong).await?, WORTHLESS, wrong).await?;
        assert_unknown(place(&guarded, wrong).await?, WORTHLESS, wrong).await?;
    }
    let document = guarded.api.get(Service::Order, "/openapi.json").await?;
    assert_eq!(document["paths"]["/api/orders"]["post"]["security"], json!([{"bearer": []}, {"apiKey": []}]));
    let page = get(&guarded, Service::Order, "/docs").send().await?.text().await?;
    assert!(page.contains("\"securitySchemes\""), "Swagger UI can authorize");
    assert_eq!(document["paths"]["/health/live"]["get"]["security"], Value::Null);
    assert_eq!(place(&guarded, customer).await?.status(), 202);
    assert_eq!(guarded.orders().await?, 1, "only the order of somebody who is known");
    Ok(())
}

/// An issuer with a key of every kind.
struct Issuer {
    rsa: rsa::KeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Result<Self> {
        Ok(Issuer {
            rsa: rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?,
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            ed: Ed25519KeyPair::generate()?,
        })
    }

    fn rs256(&self, text: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).expect("an RSA signature");
        signature
    }

    fn es256(&self, text: &[u8]) -> Vec<u8> {
        self.ec.sign(&SystemRandom::new(), text).expect("an ECDSA signature").as_ref().to_vec()
    }

    fn eddsa(&self, text: &[u8]) -> Vec<u8> {
        self.ed.sign(text).as_ref().to_vec()
    }

    fn good(&self, claims: &Value) -> String {
        token(&json!({"alg": "RS256", "kid": "rsa"}), claims, |text| self.rs256(text))
    }

    /// What it publishes.
    fn keys(&self) -> String {
        let base64 = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let rsa = self.rsa.public_key();
        let (n, e) = (rsa.modulus(), rsa.exponent());
        let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": base64(n), "e": base64(e)},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": base64(self.ed.public_key().as_ref())},
            {"kty": "oct", "kid": "secret", "k": base64(&[7; 32])},
            {"kty": "unheard of", "kid": "new"},
        ]})
        .to_string()
    }
}

/// Answers every request with this text, as JSON.
fn serve(listener: TcpListener, text: String) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // A GET fits into one packet. Who has gone by then needs no answer.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
        }
    });
}

#[tokio::test]
async fn a_token_opens_what_its_issuer_says_and_a_wrong_one_nothing() -> Result<()> {
    let issuer = Issuer::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // Nobody answers there yet: the issuer starts after us.
    drop(listener);
    let guarded = Embedded::guarded(|access| {
        access.auth = Some(Auth::Jwt);
        access.jwt_issuer = Some(ISSUER.into());
        access.jwt_audience = Some(AUDIENCE.into());
        access.jwt_jwks_url = Some(format!("http://{address}/jwks"));
    })
    .await?;

    let good = issuer.good(&claims(json!({})));
    let undecided = ask(&guarded, &good).await?;
    assert_eq!(undecided.status(), 503);
    assert!(undecided.headers().contains_key("retry-after"));
    serve(TcpListener::bind(address).await?, issuer.keys());
    let started = Instant::now();
    while ask(&guarded, &good).await?.status() != 200 {
        ensure!(started.elapsed() < Duration::from_secs(60), "the keys are not asked for again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let roles = [(json!("service"), 200), (json!("operator"), 200), (json!("customer"), 403), (Value::Null, 403)];
    for (role, status) in roles {
        let all = claims(json!({"role": role}));
        let signed = [
            token(&json!({"alg": "RS256", "kid": "rsa"}), &all, |text| issuer.rs256(text)),
            token(&json!({"alg": "ES256", "kid": "ec"}), &all, |text| issuer.es256(text)),
            token(&json!({"alg": "EdDSA", "kid": "ed"}), &all, |text| issuer.eddsa(text)),
        ];
        for token in signed {
            assert_eq!(ask(&guarded, &token).await?.status(), status, "{role}");
        }
    }
    for other in [json!({"aud": ["other", AUDIENCE]}), json!({"exp": -5}), json!({"nbf": -600})] {
        assert_eq!(ask(&guarded, &issuer.good(&claims(other.clone()))).await?.status(), 200, "{other}");
    }

    for (name, token) in worthless(&issuer) {
        assert_unknown(ask(&guarded, &token).await?, WORTHLESS, name).await?;
        assert_unknown(place(&guarded, &token).await?, WORTHLESS, name).await?;
        let order = get(&guarded, Service::Order, ORDER).bearer_auth(&token).send().await?;
        assert_unknown(order, WORTHLESS, name).await?;
    }
    let expired = issuer.good(&claims(json!({"exp": -3600})));
    assert_unknown(ask(&guarded, &expired).await?, "the token has expired", "expired").await?;
    let missing = get(&guarded, Service::Inventory, "/api/stock").header("X-API-Key", "a-key-of-some-length");
    let detail = "this needs a token, as Authorization: Bearer <token>";
    assert_unknown(missing.send().await?, detail, "no token").await?;
    assert_eq!(guarded.orders().await?, 0, "a request without a good token left an order");
    Ok(())
}

/// Tokens of every wrong kind, by name.
fn worthless(issuer: &Issuer) -> Vec<(&'static str, String)> {
    let all = claims(json!({"role": "operator"}));
    let rsa = |header: Value| token(&header, &all, |text| issuer.rs256(text));
    let with = |other: Value| issuer.good(&claims(other));
    let unsigned = |alg: &str| token(&json!({"alg": alg, "kid": "rsa"}), &all, |_| Vec::new());
    let confused = |secret: &[u8], kid: &str| token(&json!({"alg": "HS256", "kid": kid}), &all, hs256(secret));
    let es256 = |kid: &str| token(&json!({"alg": "ES256", "kid": kid}), &all, |text| issuer.es256(text));
    let good = issuer.good(&all);
    let (signed, signature) = good.rsplit_once('.').expect("a token has three parts");
    let (header, _) = signed.split_once('.').expect("a token has three parts");
    let tampered = BASE64_URL_SAFE_NO_PAD.encode(claims(json!({"sub": "somebody else"})).to_string());
    vec![
        ("nothing that is a token", "x".into()),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("alg=none", unsigned("none")),
        ("alg=None", unsigned("None")),
        ("alg=none with a signature", rsa(json!({"alg": "none", "kid": "rsa"}))),
        ("no signature", format!("{signed}.")),
        ("HS256 with the public key as its secret", confused(issuer.rsa.public_key().as_ref(), "rsa")),
        ("HS256 with the published text as its secret", confused(issuer.keys().as_bytes(), "rsa")),
        ("HS256 with a secret among the published keys", confused(&[7; 32], "secret")),
        ("RS512, which is not allowed", rsa(json!({"alg": "RS512", "kid": "rsa"}))),
        ("RS256 with the key for ES256", rsa(json!({"alg": "RS256", "kid": "ec"}))),
        ("ES256 with the key for RS256", es256("rsa")),
        ("a key that nobody knows", rsa(json!({"alg": "RS256", "kid": "unknown"}))),
        ("no key named, of several", rsa(json!({"alg": "RS256"}))),
        ("a key that it brings itself", rsa(json!({"alg": "RS256", "jku": "http://127.0.0.1:1/"}))),
        ("an extension that must be understood", rsa(json!({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}))),
        ("a signature of other claims", format!("{header}.{tampered}.{signature}")),
        ("the wrong audience", with(json!({"aud": "others"}))),
        ("no audience", with(json!({"aud": null}))),
        ("the wrong issuer", with(json!({"iss": "https://issuer.example.org"}))),
        ("no issuer", with(json!({"iss": null}))),
        ("no end", with(json!({"exp": null}))),
        ("not yet valid", with(json!({"nbf": 3600}))),
        ("nobody", with(json!({"sub": null}))),
        ("an empty name", with(json!({"sub": " "}))),
        ("a role that is none", with(json!({"role": "admin"}))),
        ("a role in a list", with(json!({"role": ["operator"]}))),
        ("an empty customer", with(json!({"role": "customer", "customer_id": ""}))),
    ]
}

#[tokio::test]
async fn a_shared_secret_signs_tokens_too() -> Result<()> {
    let secret = "a secret of at least 32 bytes, or more";
    let guarded = Embedded::guarded(|access| {
        access.auth = Some(Auth::Jwt);
        access.jwt_issuer = Some(ISSUER.into());
        access.jwt_audience = Some(AUDIENCE.into());
        access.jwt_secret = Some(Secret::from(secret.to_owned()));
    })
    .await?;
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let all = claims(json!({}));
    let rows = [
        ("good", token(&header, &all, hs256(secret.as_bytes())), 200),
        ("another secret", token(&header, &all, hs256(b"another secret of at least 32 bytes")), 401),
        ("no secret", token(&header, &all, hs256(b"")), 401),
        ("none", token(&json!({"alg": "none"}), &all, |_| Vec::new()), 401),
        ("a key that it has not", Issuer::new()?.good(&all), 401),
    ];
    for (name, token, status) in rows {
        assert_eq!(ask(&guarded, &token).await?.status(), status, "{name}");
    }
    guarded.stop().await;
    Ok(())
}

/// The replies to so many requests at once.
async fn at_once(count: usize, request: impl Fn() -> RequestBuilder) -> Result<Vec<Response>> {
    let replies = join_all((0..count).map(|_| request().send())).await;
    Ok(replies.into_iter().collect::<Result<_, _>>()?)
}

fn with_status(status: u16, replies: Vec<Response>) -> Vec<Response> {
    replies.into_iter().filter(|reply| reply.status() == status).collect()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() -> Result<()> {
    let guarded = Embedded::guarded(|access| {
        access.auth = Some(Auth::ApiKey);
        access.api_keys = Some(Secret::from("a:first-callers-key:service,b:second-callers-key:service".to_owned()));
        access.rate_limit_per_second = 1;
        access.rate_limit_burst = Some(10);
    })
    .await?;
    let stock = |key: &'static str| get(&guarded, Service::Inventory, "/api/stock").bearer_auth(key);
    let refused = with_status(429, at_once(100, || stock("first-callers-key")).await?);
    assert!((1..=90).contains(&refused.len()), "{} of 100 were refused", refused.len());
    for refused in refused {
        assert_eq!(refused.headers()["retry-after"], "1");
        let problem: Value = refused.json().await?;
        assert_eq!(problem["type"], "urn:order-system:problem:too-many-requests", "{problem}");
    }
    assert_eq!(ask(&guarded, "second-callers-key").await?.status(), 200, "another caller is not");
    let open =
        at_once(50, || get(&guarded, Service::Inventory, "/health/live").bearer_auth("first-callers-key")).await?;
    assert_eq!(with_status(200, open).len(), 50, "what is open has no limit");
    // Who is not known is counted by its address, so that keys cannot be tried out.
    let guesses = with_status(401, at_once(100, || stock("a-key-that-is-tried")).await?);
    assert!((10..100).contains(&guesses.len()), "{} of 100 guesses were looked at", guesses.len());
    guarded.stop().await;
    Ok(())
}

#[tokio::test]
async fn without_names_the_address_is_counted() -> Result<()> {
    let guarded = Embedded::guarded(|access| access.rate_limit_per_second = 1).await?;
    let served = with_status(200, at_once(50, || get(&guarded, Service::Inventory, "/api/stock")).await?);
    assert!((2..50).contains(&served.len()), "{} of 50 were served", served.len());
    let document = guarded.api.get(Service::Inventory, "/openapi.json").await?;
    let first = document["paths"]["/api/stock"]["get"]["security"].get(0).context("ways to show who one is")?;
    assert_eq!(first, &json!({}), "nobody needs to show who it is");
    guarded.stop().await;
    Ok(())
}
