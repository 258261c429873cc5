//! Each guide, played from its first block to its last.

use crate::markdown::{Block, blocks, root};
use crate::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::servers::postgres::Postgres;
use crate::servers::redis::Redis;
use crate::session::Session;

/// Guides that a test here plays.
pub(crate) const PLAYED: [&str; 8] = [
    "README.md",
    "docs/blueprints.md",
    "docs/conformance.md",
    "docs/migration.md",
    "docs/operations.md",
    "docs/quickstart.md",
    "docs/tracing.md",
    "docs/workers.md",
];

#[tokio::test]
async fn the_readme_goes_as_it_says() {
    let played = Session::new("README.md").ports(&[8080]).play().await;
    assert!(played.ran >= 3, "{played:?}");
}

#[tokio::test]
async fn the_quick_start_goes_as_it_says() {
    let played = Session::new("docs/quickstart.md")
        .ports(&[8080, 9000])
        .play()
        .await;
    assert!(played.ran >= 16 && played.compared >= 14, "{played:?}");
}

#[tokio::test]
async fn the_guide_to_workers_goes_as_it_says() {
    let played = Session::new("docs/workers.md").ports(&[8080]).play().await;
    assert!(played.ran >= 4 && played.compared >= 2, "{played:?}");
}

#[tokio::test]
async fn the_guide_to_traces_goes_as_it_says() {
    // Nobody is there: a collector that is away holds up nothing.
    let session = Session::new("docs/tracing.md").host("http://jaeger:4318", "http://127.0.0.1:9");
    let played = session.ports(&[8080]).play().await;
    assert!(played.ran >= 2, "{played:?}");
}

#[tokio::test]
async fn guides_without_a_server_go_as_they_say() {
    for guide in [
        "docs/blueprints.md",
        "docs/conformance.md",
        "docs/migration.md",
    ] {
        let played = Session::new(guide).play().await;
        assert!(played.ran >= 1, "{guide}: {played:?}");
    }
}

#[tokio::test]
async fn server_redis_and_postgres_let_operations_go_as_they_say() {
    let (redis, postgres, s3) = (Redis::start(), Postgres::start(), S3Server::start());
    let guarded = Redis::with(&["--requirepass", "hush"]);
    let password = guarded.socket().with_file_name("password");
    std::fs::write(&password, "hush\n").expect("written");
    let played = Session::new("docs/operations.md")
        .host("REDIS_HOST=redis ", "REDIS_HOST=127.0.0.1 ")
        .host("/run/secrets/redis", &password.display().to_string())
        .variable("REDIS_PORT", &guarded.port().to_string())
        .host("http://minio:9000", &s3.endpoint())
        .host("S3_ACCESS_KEY=...", &format!("S3_ACCESS_KEY={ACCESS_KEY}"))
        .host("S3_SECRET_KEY=...", &format!("S3_SECRET_KEY={SECRET_KEY}"))
        .variable("S3_DEFAULT_BUCKET", BUCKET)
        .host("redis://redis:6379", &redis.url())
        .host(
            "postgresql://avtomatika:PASSWORD@db.example.org/history?sslmode=verify-full",
            &postgres.url(),
        )
        // As long as a slow machine may take.
        .variable("REDIS_TIMEOUT_SECONDS", "60")
        .ports(&[8080, 8443, 8090])
        .play()
        .await;
    assert!(played.ran >= 12, "{played:?}");
}

/// The worker on the original's SDK, as README and the guide to workers have it, greets somebody.
#[tokio::test]
async fn python_workers_go_as_the_guides_say() {
    for guide in ["README.md", "docs/workers.md"] {
        let wanted = |block: &Block| {
            let is_of_python = block.said("file:").is_some_and(|file| file != "greet.sh");
            let starts = ["avtomatika dev", "python greeter.py"];
            is_of_python || starts.iter().any(|start| block.text.contains(start))
        };
        let mut chosen: Vec<Block> = blocks(guide).into_iter().filter(wanted).collect();
        for block in &mut chosen {
            if block.text.contains("python greeter.py") {
                block.comment = None;
                block.text = format!("{} &\n", block.text.trim_end());
            }
        }
        let mut greeting = chosen[0].clone();
        greeting.language = "sh".to_owned();
        greeting.comment = None;
        greeting.text = "avtomatika submit greet --set name=Ada\n".to_owned();
        let mut greeted = greeting.clone();
        greeted.language = "text".to_owned();
        greeted.text = "…\n{\n  \"text\": \"Hello Ada!\"\n}\n".to_owned();
        chosen.extend([greeting, greeted]);
        let python = root().join(".venv/worker/bin");
        assert!(python.join("python").exists(), "make python installs it");
        let session = Session::of(chosen).programs(python).ports(&[8080]);
        let played = session.play().await;
        assert!(
            played.ran == 3 && played.compared == 1,
            "{guide}: {played:?}"
        );
    }
}

/// The blueprint that the guide to migration translates is one that the original takes.
#[test]
fn python_original_takes_what_is_translated() {
    let guide = blocks("docs/migration.md");
    let python = guide.iter().find(|block| block.language == "python");
    let blueprint = &python.expect("a blueprint in Python").text;
    let taken = "from avtomatika import OrchestratorEngine
from avtomatika.config import Config
from avtomatika.storage import MemoryStorage
OrchestratorEngine(MemoryStorage(), Config()).register_blueprint(video)
print('taken')
";
    // From a file, since the original reads the sources of handlers.
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{blueprint}{taken}")).expect("written");
    let ran = std::process::Command::new(root().join(".venv/orchestrator/bin/python"))
        .arg(file.path())
        .output()
        .expect("make python installs it");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("taken"), "{ran:?}");
    assert!(!said.contains("unreachable"), "{ran:?}");
}
