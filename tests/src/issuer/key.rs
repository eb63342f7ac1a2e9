//! What an issuer signs with: a real key for each algorithm that a rule may name.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// A key, and what it is called.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Elliptic(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// A new one for `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256`.
    pub(super) fn new(kid: &str, algorithm: &'static str) -> Self {
        let random = SystemRandom::new();
        let elliptic = |curve: &'static EcdsaSigningAlgorithm| {
            let document = EcdsaKeyPair::generate_pkcs8(curve, &random).expect("there is chance");
            Pair::Elliptic(
                EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).expect("ring reads what it wrote"),
            )
        };
        let pair = match algorithm {
            "ES256" => elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).expect("there is chance");
                Pair::Edwards(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("ring reads what it wrote"))
            }
            "RS256" | "PS256" => Pair::Rsa(Box::new(rsa())),
            other => panic!("no issuer of the tests signs with {other}"),
        };
        Self { kid: kid.to_owned(), algorithm, pair }
    }

    /// What it publishes (RFC 7517; for the Edwards curve RFC 8037).
    pub(super) fn public(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            Pair::Elliptic(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": if x.len() == 32 { "P-256" } else { "P-384" }, "x": encode(x), "y": encode(y)})
            }
            Pair::Edwards(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
            Pair::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": encode(&n), "e": encode(&e)})
            }
        };
        for (name, value) in [("use", "sig"), ("alg", self.algorithm), ("kid", &self.kid)] {
            key[name] = json!(value);
        }
        key
    }

    /// A signature over these bytes.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Elliptic(pair) => pair.sign(&random, message).expect("ring signs").as_ref().to_vec(),
            Pair::Edwards(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let signed = match self.algorithm {
                    "RS256" => pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature),
                    _ => pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature),
                };
                signed.expect("ring signs");
                signature
            }
        }
    }
}

/// A key that nobody has, made by OpenSSL: ring makes none of this kind, and one in the source would be everybody's.
fn rsa() -> RsaKeyPair {
    let made = Command::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl can be started");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    let key = PrivatePkcs8KeyDer::from_pem_slice(&made.stdout).expect("openssl writes PEM");
    RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("ring reads what openssl wrote")
}
