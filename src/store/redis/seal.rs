//! Encryption of what is stored, when a key is set: AES-256-GCM over every body, with the key's id in
//! front, so that keys can be changed while jobs run.

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::base::{Entropy as _, Secret, SystemEntropy, crypto};

/// The first byte of a body that is encrypted; JSON never begins with it.
const MARK: u8 = 1;
const ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;

/// The keys by their ids: the first one encrypts, every one decrypts.
pub(super) struct Seal {
    keys: Vec<([u8; ID_LEN], LessSafeKey)>,
}

impl Seal {
    /// Takes the secrets from which keys are made, the present one first; none leaves all readable.
    pub fn new(secrets: &[Secret]) -> Self {
        let keys = secrets.iter().map(|secret| {
            let key = crypto::sha256(&[b"avtomatika store key", secret.expose().as_bytes()]);
            let id = crypto::sha256(&[b"avtomatika store key id", &key]);
            let key = UnboundKey::new(&AES_256_GCM, &key).expect("a hash has a key's length");
            let id = [id[0], id[1], id[2], id[3]];
            (id, LessSafeKey::new(key))
        });
        Self {
            keys: keys.collect(),
        }
    }

    /// Encrypts a body, if there is a key.
    pub fn close(&self, body: Vec<u8>) -> Vec<u8> {
        let Some((id, key)) = self.keys.first() else {
            return body;
        };
        let mut nonce = [0; NONCE_LEN];
        SystemEntropy.fill(&mut nonce);
        let mut sealed = body;
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(id),
                &mut sealed,
            )
            .expect("no body is near the limit of the cipher");
        let mut whole = Vec::with_capacity(HEAD_LEN + sealed.len() + AES_256_GCM.tag_len());
        whole.push(MARK);
        whole.extend_from_slice(id);
        whole.extend_from_slice(&nonce);
        whole.extend_from_slice(&sealed);
        whole.extend_from_slice(tag.as_ref());
        whole
    }

    /// Likewise, for a body that others have as well: without a key it is not copied.
    pub fn close_shared(&self, body: Bytes) -> Bytes {
        if self.keys.is_empty() {
            return body;
        }
        self.close(body.into()).into()
    }

    /// Tells whether a body is as it would be written now: with the present key, or readable without one.
    pub fn is_present(&self, body: &[u8]) -> bool {
        let key = (body.first() == Some(&MARK))
            .then(|| body.get(1..=ID_LEN))
            .flatten();
        key == self.keys.first().map(|(id, _)| &id[..])
    }

    /// Decrypts a body; one that was never encrypted is returned as it is, so that a key can be set
    /// while jobs run. Errors say which key is missing, or that the body was changed.
    pub fn open(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        if body.first() != Some(&MARK) {
            return Ok(body.to_vec());
        }
        let (Some(id), Some(nonce), Some(sealed)) = (
            body.get(1..=ID_LEN),
            body.get(1 + ID_LEN..HEAD_LEN),
            body.get(HEAD_LEN..),
        ) else {
            return Err("it is cut off".to_owned());
        };
        let Some((known, key)) = self.keys.iter().find(|(known, _)| known == id) else {
            let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(format!("it is encrypted with key {id}, which is not set"));
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| "it is cut off")?;
        let mut opened = sealed.to_vec();
        let length = key
            .open_in_place(nonce, Aad::from(known), &mut opened)
            .map_err(|_| "it is not what was encrypted")?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(secrets: &[&str]) -> Seal {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::from(*text)).collect();
        Seal::new(&secrets)
    }

    #[test]
    fn what_is_closed_can_be_opened_and_not_read() {
        let (with, without) = (seal(&["a"]), seal(&[]));
        let body = br#"{"secret": "of the client"}"#.to_vec();
        assert_eq!(without.close(body.clone()), body);
        let closed = with.close(body.clone());
        assert_ne!(
            closed,
            with.close(body.clone()),
            "each has a nonce of its own"
        );
        assert!(!closed.windows(6).any(|part| part == b"client"));
        assert_eq!(with.open(&closed), Ok(body.clone()));
        assert_eq!(with.open(&body), Ok(body), "from before the key was set");
    }

    #[test]
    fn keys_are_changed_one_after_the_other() {
        let closed = seal(&["old"]).close(b"x".to_vec());
        let both = seal(&["new", "old"]);
        assert_eq!(both.open(&closed), Ok(b"x".to_vec()));
        assert!(!both.is_present(&closed) && !both.is_present(b"x"));
        let again = both.close(b"x".to_vec());
        assert!(both.is_present(&again) && seal(&[]).is_present(b"x"));
        assert_eq!(seal(&["new"]).open(&again), Ok(b"x".to_vec()));
        let error = seal(&["new"]).open(&closed).expect_err("the key is gone");
        assert!(error.contains("which is not set"), "{error}");
    }

    #[test]
    fn what_was_changed_is_refused() {
        let seal = seal(&["a"]);
        let closed = seal.close(b"x".to_vec());
        for index in 1 + ID_LEN..closed.len() {
            let mut changed = closed.clone();
            changed[index] ^= 1;
            assert!(seal.open(&changed).is_err(), "byte {index}");
        }
        for length in 1..closed.len() {
            assert!(seal.open(&closed[..length]).is_err(), "{length} bytes");
        }
    }
}
