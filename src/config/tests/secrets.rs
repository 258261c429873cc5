//! Secrets in files of their own.

use std::path::PathBuf;

use super::super::{Sources, load};
use super::{env_of, load_with, problems_of};

#[test]
fn a_secret_may_lie_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "  of its own\n").expect("writes");
    let path = path.to_str().expect("is text");
    let configuration = load_with(vec![], &[("CLIENT_TOKEN_FILE", path)], None).expect("good");
    let token = configuration
        .settings
        .secrets
        .client_token
        .expect("is there");
    assert_eq!(token.expose(), "of its own");
    let entry = configuration
        .entries
        .iter()
        .find(|entry| entry.key == "CLIENT_TOKEN");
    let entry = entry.expect("is known");
    assert_eq!(
        (entry.value.as_str(), entry.origin.to_string().as_str()),
        ("***", path)
    );

    // In a settings file the path is relative to that file.
    let env = env_of(&[]);
    let text = "global_worker_token_file = \"token\"\n".to_owned();
    let file = Some((PathBuf::from(folder.path()).join("a.toml"), text));
    let sources = Sources {
        flags: vec![],
        env: &env,
        file,
    };
    let configuration = load(&sources).expect("good");
    let token = configuration.settings.secrets.global_worker_token;
    assert_eq!(token.expect("is there").expose(), "of its own");
}

#[test]
fn a_secret_is_given_once_and_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").expect("writes");
    let empty = empty.to_str().expect("is text");
    let env = [
        ("CLIENT_TOKEN", "seen"),
        ("CLIENT_TOKEN_FILE", "/nowhere/token"),
        ("GLOBAL_WORKER_TOKEN_FILE", "/nowhere/token"),
        ("S3_SECRET_KEY_FILE", empty),
    ];
    let file = "orchestrator_secret_key = \"a\"\norchestrator_secret_key_file = \"b\"\napi_port_file = \"c\"\n";
    let seen = problems_of(load_with(vec![], &env, Some(file))).join("\n");
    let seen = seen.replace(folder.path().to_str().expect("is text"), "FOLDER");
    insta::assert_snapshot!(seen, @r"
    etc/avtomatika.toml:3: error: api_port_file: unknown key, it has no effect
    etc/avtomatika.toml:2: error: orchestrator_secret_key: orchestrator_secret_key_file is there too: expected one of them
    environment CLIENT_TOKEN_FILE: error: CLIENT_TOKEN: CLIENT_TOKEN_FILE is set too: expected one of them
    environment GLOBAL_WORKER_TOKEN_FILE: error: GLOBAL_WORKER_TOKEN: /nowhere/token cannot be read: No such file or directory (os error 2)
    environment S3_SECRET_KEY_FILE: error: S3_SECRET_KEY: FOLDER/empty is empty, expected a secret
    ");
}

#[test]
fn production_refuses_secrets_that_everybody_knows() {
    let own = [
        ("ORCHESTRATOR_SECRET_KEY", "of its own"),
        ("CLIENT_TOKEN", "of its own too"),
    ];
    let published = [
        ("ORCHESTRATOR_SECRET_KEY", "example-only-secret-key"),
        ("CLIENT_TOKEN", "user_token_vip"),
        ("GLOBAL_WORKER_TOKEN", "super-secret-gpu-worker-token"),
        ("GLOBAL_WORKER_TOKEN", "your-secret-worker-token"),
        ("AUDIT_SALT", "default_audit_salt"),
        (
            "HISTORY_DATABASE_URI",
            "postgresql://a:example-only-postgres@b/c",
        ),
        ("STORE", "redis://:example-only-redis@b"),
    ];
    for (name, secret) in published {
        let env: Vec<_> = own
            .into_iter()
            .filter(|(other, _)| *other != name)
            .chain([(name, secret)])
            .collect();
        let development = load_with(vec![], &env, None);
        assert!(development.is_ok(), "{name}: {:?}", development.err());
        let env = [&env[..], &[("ENVIRONMENT", "production")]].concat();
        let seen = problems_of(load_with(vec![], &env, None)).join("\n");
        assert!(
            seen.contains(&format!("error: {name}: everybody knows this secret")),
            "{seen}"
        );
        assert!(!seen.contains(secret), "{seen}");
    }
}
