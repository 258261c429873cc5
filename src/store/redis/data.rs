//! Data stores: values of a blueprint that its jobs share. They have no end, so what an earlier key has
//! encrypted is encrypted anew when it is read; all else goes with its job.

use std::collections::BTreeMap;

use fred::types::Value;

use super::link::Repeat;
use super::records::{bytes, corrupt, items, text};
use super::{RedisStore, arguments, code};
use crate::engine::DataStores;
use crate::store::StoreError;

code!(DATA_KEY, "data_key");

impl RedisStore {
    /// Reads a blueprint's values.
    pub(super) async fn data_of(&self, blueprint: &str) -> Result<DataStores, StoreError> {
        let (at, name) = self.data_at(blueprint);
        let answer = self
            .link
            .call("HGETALL", arguments([&name]), Repeat::Safe)
            .await?;
        // In order of name, as every adapter has it.
        let (mut values, mut anew) = (BTreeMap::new(), arguments([&name]));
        let mut answer = items(answer).into_iter();
        while let (Some(field), Some(value)) = (answer.next(), answer.next()) {
            let field = text(field).ok_or_else(|| corrupt("data store", "its name is no text"))?;
            let value = bytes(value).ok_or_else(|| corrupt("data store", "its value is none"))?;
            let read: serde_json::Value = self.seal.decode(&value, "data store")?;
            if !self.seal.is_present(&value) {
                let again = self.seal.encode(&read)?;
                anew.extend([field.as_str().into(), Value::Bytes(value.into()), again]);
            }
            values.insert(field, read);
        }
        if anew.len() > 1 {
            // Whoever has written one since has used a present key. A server that takes no writes now still
            // has what is read.
            if let Err(error) = self.link.run(&DATA_KEY, at, anew, Repeat::Safe).await {
                tracing::debug!(%error, blueprint, "values stay under an earlier key until they are read again");
            }
        }
        let mut stores = DataStores::new();
        for (field, value) in values {
            if let Some((store, key)) = field.split_once('\0') {
                let store = stores.entry(store.to_owned()).or_default();
                store.insert(key.to_owned(), value);
            }
        }
        Ok(stores)
    }
}
