//! tokio-postgres with deadpool: eight workers, each with one write after the other, and a line in the ledger for each write.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde_json::json;
use tokio::signal::unix::{signal, SignalKind};
use tokio_postgres::types::Type;
use tokio_postgres::{Config, NoTls};

const WORKERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(100); // between two writes of one worker
const INSERT: &str = "insert into written (id, client) values ($1, 'tokio-postgres')";

fn line(file: &Mutex<File>, fields: serde_json::Value) {
    writeln!(file.lock().unwrap(), "{fields}").expect("the ledger");
}

/// The settings for a list "host:port,host:port".
fn settings(hosts: &str, target: &str) -> String {
    let pairs: Vec<_> = hosts.split(',').filter_map(|host| host.split_once(':')).collect();
    let list = |part: fn(&(&str, &str)) -> String| pairs.iter().map(part).collect::<Vec<_>>().join(",");
    let text = format!("host={} port={}", list(|p| p.0.into()), list(|p| p.1.into()));
    if target == "pooler" { text } else { format!("{text} target_session_attrs={target}") }
}

/// (whether the write was sent, SQLSTATE, what happened)
type Failure = (bool, String, String);

fn failure(sent: bool, error: &tokio_postgres::Error) -> Failure {
    let sqlstate = error.code().map_or(String::new(), |code| code.code().into());
    let text = error.as_db_error().map_or_else(|| error.to_string(), |refused| refused.message().into());
    (sent, sqlstate, text)
}

async fn write(pool: &Pool, id: &str, pooler: bool) -> Result<(), Failure> {
    let client = pool.get().await.map_err(|error| match &error {
        deadpool_postgres::PoolError::Backend(cause) => failure(false, cause),
        _ => (false, String::new(), error.to_string()),
    })?;
    let written = if pooler {
        // A pooler in transaction mode loses prepared statements: this one has no name.
        client.query_typed(INSERT, &[(&id, Type::TEXT)]).await.map(|_| ())
    } else {
        client.execute(INSERT, &[&id]).await.map(|_| ())
    };
    written.map_err(|error| failure(true, &error))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (hosts, target, path) = (&arguments[1], &arguments[2], &arguments[3]);
    let pooler = target == "pooler";
    if !["read-write", "any", "pooler"].contains(&target.as_str()) {
        eprintln!("no such setting");
        std::process::exit(77);
    }
    let file = OpenOptions::new().append(true).create(true).open(path).expect("the ledger");
    let file = Arc::new(Mutex::new(file));

    let mut config: Config = settings(hosts, target).parse().expect("settings");
    let variable = |name| std::env::var(name).expect(name);
    config.user(variable("PGUSER")).password(variable("PGPASSWORD")).dbname(variable("PGDATABASE"));
    config.application_name("tokio-postgres");
    // Fast, the default, asks only whether the connection was closed.
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = Pool::builder(manager).max_size(WORKERS).build().expect("a pool");
    let told = if pooler { "pooler:6432" } else { "old:5432,new:5432" };
    let statements = if pooler { ", statements by query_typed" } else { "" };
    line(&file, json!({"driver": "tokio-postgres 0.7.18, deadpool-postgres 0.14.2",
                       "settings": format!("\"{}\".parse::<Config>(){statements}", settings(told, target))}));

    let stopped = Arc::new(AtomicBool::new(false));
    let local = tokio::task::LocalSet::new();
    for worker in 0..WORKERS {
        let (pool, stopped, file) = (pool.clone(), stopped.clone(), file.clone());
        local.spawn_local(async move {
            while !stopped.load(Ordering::Relaxed) {
                let id = uuid::Uuid::new_v4().to_string();
                let result = write(&pool, &id, pooler).await;
                let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
                let fields = match result {
                    Ok(()) => json!({"at": at, "worker": worker, "id": id}),
                    Err((sent, sqlstate, error)) => json!({"at": at, "worker": worker, "id": id, "sent": sent, "sqlstate": sqlstate, "error": error}),
                };
                line(&file, fields);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    let mut term = signal(SignalKind::terminate()).expect("a signal handler");
    local.spawn_local(async move {
        term.recv().await;
        stopped.store(true, Ordering::Relaxed);
    });
    local.await;
}
