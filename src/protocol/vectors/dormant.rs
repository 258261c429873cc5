//! The vectors of what the original's library can sign but no component of it does. They hold the
//! canonical form to signatures of another kind. Source: wire-protocol §12.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::json;

use super::{WORKER_KEY, X2};
use crate::base::crypto;
use crate::protocol::{canonical_bytes, canonical_form, parse_json};

const PUBLIC: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";

/// Returns the key whose seed is the bytes 00 to 1f.
fn key() -> Ed25519KeyPair {
    let seed: Vec<u8> = (0..32).collect();
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes")
}

fn check(bytes: &[u8], signature: &str) {
    let key = key();
    assert_eq!(crypto::hex(key.public_key().as_ref()), PUBLIC);
    let signed = key.sign(bytes);
    assert_eq!(crypto::hex(signed.as_ref()), signature);
    let public = UnparsedPublicKey::new(&ED25519, key.public_key().as_ref());
    assert!(public.verify(bytes, signed.as_ref()).is_ok());
}

#[test]
fn ed25519_over_a_result() {
    // As it might come: in another order, with null members, and with what no signature covers.
    let mut message = parse_json(X2.as_bytes()).expect("JSON");
    let members = message.as_object_mut().expect("an object");
    let error = members.shift_remove("error").expect("X2 is a failure");
    members.insert("data".to_owned(), json!(null));
    members.insert("security".to_owned(), json!({"signature": "00"}));
    members.insert("error".to_owned(), error);
    check(
        &canonical_bytes(&message, &[]).expect("canonical"),
        "cda8ed49cf394ffc7dc15212c7fb401e22626772649537b61f4ac18a91994ec881dc75441dc02904c9f2333e52b157ab515bdfcc9103500f32f2a2bb6ac5c606",
    );
}

#[test]
fn the_chain_of_an_event() {
    let chain = canonical_form(&json!(["worker-01", "shell-02"])).expect("canonical");
    let hmac = crypto::hmac_sha256(WORKER_KEY.as_bytes(), &chain);
    assert_eq!(
        crypto::hex(&hmac),
        "fd3b6d68dc6cfb9b02c2982d23817353146ed22c9ca2dedbd04ac4636ad7089c"
    );
    check(
        &chain,
        "c703222c4d6ef5ab99f0a8bd7e15a21bf405c5884b67e9b235fc2a8c45f130ed0166518c848da990e45e3f37af97ed151cd748d72e61f6a81f7bba6dc8200e0e",
    );
}
