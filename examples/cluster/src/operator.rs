//! The commands of operators, over the REST interface.

pub mod client;
mod dynamic_workers;

use std::time::Duration;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use self::client::Client;
use crate::protocol::security::TokenOption;

/// The addresses of the resource managers' web servers.
#[derive(Debug, Clone, Args)]
pub struct OperatorOptions {
    /// The web addresses of resource managers. Each names the leader, so one is enough.
    #[arg(
        long,
        default_value = "127.0.0.1:8001,127.0.0.1:8002",
        value_delimiter = ',',
        value_name = "HOST:PORT,HOST:PORT"
    )]
    pub web: Vec<String>,
    #[command(flatten)]
    pub token: TokenOption,
}

impl OperatorOptions {
    fn client(self) -> anyhow::Result<Client> {
        Ok(Client::new(self.web, self.token.load()?))
    }
}

/// The commands of operators.
#[derive(Debug, Clone, Subcommand)]
pub enum OperatorCommand {
    /// Show task managers, slots, and the requests that wait
    Status(OperatorOptions),
    /// Say what an allocation does, and why it waits
    Explain {
        /// The id of the allocation.
        id: String,
        #[command(flatten)]
        options: OperatorOptions,
    },
    /// Give no more slots of a worker away
    Block {
        /// The resource id of the worker.
        worker: String,
        #[command(flatten)]
        options: OperatorOptions,
    },
    /// Give slots of a worker away again
    Unblock {
        /// The resource id of the worker.
        worker: String,
        #[command(flatten)]
        options: OperatorOptions,
    },
    /// Block a worker, and stop it once none of its slots is used
    Drain {
        /// The resource id of the worker.
        worker: String,
        #[command(flatten)]
        options: OperatorOptions,
    },
}

/// Runs a command, and returns the text for the operator.
pub async fn execute(command: OperatorCommand) -> anyhow::Result<String> {
    match command {
        OperatorCommand::Status(options) => status(options.client()?).await,
        OperatorCommand::Explain { id, options } => {
            let path = format!("/api/requests/{}", segment(&id));
            let request = options.client()?.get(&path).await?;
            Ok(explanation(&request))
        }
        OperatorCommand::Block { worker, options } => order(options, &worker, "block").await,
        OperatorCommand::Unblock { worker, options } => order(options, &worker, "unblock").await,
        OperatorCommand::Drain { worker, options } => order(options, &worker, "drain").await,
    }
}

async fn order(options: OperatorOptions, worker: &str, verb: &str) -> anyhow::Result<String> {
    let path = format!("/api/task-managers/{}/{verb}", segment(worker));
    let done = options.client()?.post(&path).await?;
    Ok(text(&done["text"]).trim_end().to_owned())
}

fn explanation(request: &Value) -> String {
    let mut lines = text(&request["text"]).to_owned();
    if let Some(reason) = request["reason"].as_str() {
        lines = format!("{reason}\n{lines}");
    }
    lines
}

/// Returns the state of the cluster: first all that waits, then the workers that misbehave.
async fn status(mut client: Client) -> anyhow::Result<String> {
    let numbers = client.get("/api/overview").await?;
    let requests = client.get("/api/requests?limit=10").await?;
    let troubled = client.get("/api/task-managers?limit=20&troubled=true").await?;
    let dynamic = client.get("/api/task-managers?limit=20&dynamic=true").await?;
    let jobs = client.get("/api/jobs").await?;
    let workers = client.get("/api/workers").await?;
    let blocked = client.get("/api/blocked").await?;
    let overview = &numbers["overview"];
    let slots = |state: &str| integer(&overview["slots"][state]["slots"]);

    let mut lines = vec![format!(
        "leader         {}, epoch {}",
        numbers["leader"]["address"].as_str().unwrap_or("unknown"),
        integer(&numbers["epoch"]),
    )];
    lines.push(format!(
        "task managers  {}: {} blocked, {} backing off",
        integer(&overview["task_managers"]),
        integer(&overview["blocked_task_managers"]),
        integer(&overview["backing_off_task_managers"]),
    ));
    lines.push(format!(
        "slots          {}: {} allocated, {} in flight, {} free, {} blocked",
        slots("registered"),
        slots("allocated"),
        slots("in_flight"),
        slots("free"),
        slots("blocked"),
    ));
    lines.extend(dynamic_workers::total(overview));
    lines.extend(items(&dynamic).map(dynamic_workers::remaining));
    if dynamic["next"].is_string() {
        lines.push("  and more".to_owned());
    }
    lines.push(format!(
        "promised       {} slots, {} of them bound",
        integer(&overview["promised"]["slots"]),
        integer(&overview["bound_promised_slots"]),
    ));
    lines.extend(recovery(&workers));
    if items(&jobs).next().is_some() {
        lines.push("jobs that declare their slots".to_owned());
    }
    lines.extend(items(&jobs).map(declaring));
    if jobs["is_cut"] == true {
        lines.push("  and more".to_owned());
    }
    let waiting = integer(&overview["pending_requests"]);
    lines.push(format!("waiting        {waiting} requests"));
    for request in items(&requests) {
        let (id, reason) = (text(&request["allocation_id"]), text(&request["reason"]));
        lines.push(format!("  {id}  {reason}"));
    }
    if requests["next"].is_string() {
        lines.push(format!("  and more; the page of {} shows them", client.address()));
    }
    let absent = items(&blocked)
        .filter(|worker| worker["is_registered"] == false)
        .take(20);
    let absent = absent.map(|worker| (worker, "blocked, not registered".to_owned()));
    let troubled = items(&troubled).map(|worker| (worker, trouble(worker)));
    let mut troubled = troubled.chain(absent).peekable();
    if troubled.peek().is_some() {
        lines.push("misbehaving or blocked workers".to_owned());
    }
    lines.extend(troubled.map(|(worker, trouble)| format!("  {}  {trouble}", text(&worker["resource_id"]))));
    Ok(lines.join("\n"))
}

/// Says that a new leader awaits the workers of earlier ones; `None` if it does not.
fn recovery(workers: &Value) -> Option<String> {
    let recovery = workers["recovery"].as_object()?;
    let until = recovery["until"].as_u64().map(Duration::from_nanos);
    let until = until.map(|until| until.saturating_sub(Duration::from_nanos(integer(&workers["now"]))));
    let until = until.map_or("has no end".to_owned(), |left| format!("ends in {} s", left.as_secs()));
    let missing = recovery["missing_workers"].as_u64();
    let missing = match missing {
        None => String::new(),
        Some(1) => ", 1 worker is missing".to_owned(),
        Some(missing) => format!(", {missing} workers are missing"),
    };
    Some(format!("recovery       {until}{missing}"))
}

/// Says how many slots a job has declared and holds.
fn declaring(job: &Value) -> String {
    let slots = |state: &str| integer(&job[state]);
    format!(
        "  {}  {} slots declared, {} held, {} missing, {} in excess",
        text(&job["job_id"]),
        slots("declared"),
        slots("held"),
        slots("missing"),
        slots("excess"),
    )
}

/// Says what is wrong with a worker.
fn trouble(worker: &Value) -> String {
    let mut reasons = Vec::new();
    match worker["backoff"]["reason"].as_str() {
        Some("unreachable") => reasons.push("backs off: unreachable".to_owned()),
        Some(_) => reasons.push("backs off: refused several requests".to_owned()),
        None => {}
    }
    if worker["is_blocked"] == true {
        let counts = &worker["slot_counts"];
        let used = integer(&counts["allocated"]) + integer(&counts["in_flight"]);
        reasons.push(format!("blocked, {used} slots used"));
    }
    reasons.join("; ")
}

fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page["items"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn integer(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Writes a text so that it is one part of a path.
fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
