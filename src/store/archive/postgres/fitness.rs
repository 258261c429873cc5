//! Whether a server would do, asked before an orchestrator relies on it.

use deadpool_postgres::Client;
use tokio_postgres::Error;

use super::schema;

/// Looks whether tables can be made and written there, and by this release. Changes nothing.
///
/// Returns what is in the way, if anything is.
pub(super) async fn look(client: &Client) -> Result<Option<String>, Error> {
    let row = client
        .query_one(
            "SELECT current_schema(), current_user::text, pg_is_in_recovery(),
                 coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
                 to_regclass('history_migrations') IS NOT NULL",
            &[],
        )
        .await?;
    let (schema, user): (Option<&str>, &str) = (row.get(0), row.get(1));
    let (is_standby, may_create, is_there): (bool, bool, bool) =
        (row.get(2), row.get(3), row.get(4));
    let Some(schema) = schema else {
        return Ok(Some(format!(
            "no schema of `{user}`'s search_path is there: expected one for the tables of the history"
        )));
    };
    if is_standby {
        return Ok(Some(
            "the server is a standby, which takes no writes: expected the primary".to_owned(),
        ));
    }
    if !may_create {
        return Ok(Some(format!(
            "`{user}` may make no tables in the schema `{schema}`, and each month needs some: \
             GRANT CREATE, USAGE ON SCHEMA {schema} TO {user}"
        )));
    }
    if !is_there {
        return Ok(None);
    }
    let row = client
        .query_one(
            "SELECT coalesce(max(version), 0) FROM history_migrations",
            &[],
        )
        .await?;
    let version: i32 = row.get(0);
    Ok(schema::newer_than_known(version).map(|version| {
        format!("the history has schema version {version}, written by a newer release")
    }))
}
