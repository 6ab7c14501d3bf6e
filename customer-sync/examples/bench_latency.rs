//! How long things take while nothing else goes on, for scripts/bench: a customer from the API to Stripe, and a message
//! through the broker alone.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use platform::broker::{Broker, Message, Outcome, Topology};
use platform::clock::Clock;
use platform::config::{self, Secret};
use reqwest::Client;
use serde_json::{Value, json};

/// How long the last customer may take to Stripe.
const LIMIT: Duration = Duration::from_secs(30);
const QUEUE: &str = "bench.ceiling";

/// Prints the milliseconds at p50 and at p99.
#[derive(Parser)]
struct Arguments {
    /// How often
    #[arg(long)]
    times: usize,
    /// Between two of them
    #[arg(long, value_parser = config::duration)]
    pause: Duration,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// From the API's 201 to the sandbox's receipt of the create
    Path {
        #[arg(long)]
        api: String,
        #[arg(long)]
        sandbox: String,
    },
    /// From publishing a message to its delivery
    Broker {
        #[arg(long, env = "AMQP_URL", hide_env_values = true)]
        amqp_url: Secret,
        /// Bytes of each body
        #[arg(long)]
        size: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut taken = match &arguments.what {
        What::Path { api, sandbox } => path(&arguments, api, sandbox).await?,
        What::Broker { amqp_url, size } => through_broker(&arguments, amqp_url, *size).await?,
    };
    taken.sort_unstable();
    let at = |percent: usize| {
        let time = taken.get(taken.len() * percent / 100).copied();
        time.unwrap_or_default().as_secs_f64() * 1000.0
    };
    say(&format!("{:.2} {:.2}", at(50), at(99)));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "scripts/bench reads the result there")]
fn say(result: &str) {
    println!("{result}");
}

async fn path(arguments: &Arguments, api: &str, sandbox: &str) -> anyhow::Result<Vec<Duration>> {
    // The client wants one even for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new();
    let mut created = HashMap::new();
    for number in 0..arguments.times {
        tokio::time::sleep(arguments.pause).await;
        let (id, at) = create(&client, api, number).await?;
        created.insert(id, at);
    }
    let received = receipts(&client, sandbox, &created).await?;
    let taken = created.iter().map(|(id, at)| {
        let receipt = received.get(id).context("all receipts are in")?;
        Ok(receipt.duration_since(*at).unwrap_or_default())
    });
    taken.collect()
}

/// The new customer's id, and when the head of the answer was here: a little later than the commit.
async fn create(client: &Client, api: &str, number: usize) -> anyhow::Result<(String, SystemTime)> {
    let body = json!({ "email": format!("idle-{number}@example.com"), "name": "Idle Customer" });
    let request = client.post(format!("{api}/api/v1/customers")).json(&body);
    let answer = request.send().await.context("creating a customer")?;
    let at = SystemTime::now();
    ensure!(
        answer.status() == 201,
        "the API answered a create with {}",
        answer.status()
    );
    let customer: Value = answer.json().await?;
    let id = customer["id"]
        .as_str()
        .context("the API's answer has no id")?;
    Ok((id.to_owned(), at))
}

/// When Stripe received the create of each customer, once it has received them all.
async fn receipts(
    client: &Client,
    sandbox: &str,
    created: &HashMap<String, SystemTime>,
) -> anyhow::Result<HashMap<String, SystemTime>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = client
            .get(format!("{sandbox}/_sandbox/requests"))
            .send()
            .await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        let requests = answer["requests"].as_array().into_iter().flatten();
        let received: HashMap<_, _> = requests.filter_map(receipt).collect();
        let missing = created
            .keys()
            .filter(|id| !received.contains_key(*id))
            .count();
        if missing == 0 {
            return Ok(received);
        }
        ensure!(
            Instant::now() < deadline,
            "{missing} customers did not reach Stripe within {LIMIT:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn receipt(request: &Value) -> Option<(String, SystemTime)> {
    let creates = request["method"] == "POST" && request["path"] == "/v1/customers";
    let id = request["customer_sync_id"].as_str().filter(|_| creates)?;
    let at = Duration::from_micros(request["received_at_us"].as_u64()?);
    Some((id.to_owned(), SystemTime::UNIX_EPOCH + at))
}

async fn through_broker(
    arguments: &Arguments,
    amqp_url: &Secret,
    size: usize,
) -> anyhow::Result<Vec<Duration>> {
    let topology = Topology {
        exchange: "bench",
        queues: &[(QUEUE, &[])],
    };
    let broker = Broker::rabbitmq(amqp_url.clone(), topology, "bench");
    let mut publisher = broker.publisher().await?;
    let mut consumer = broker.consumer(QUEUE, 1).await?;
    let mut taken = Vec::new();
    for number in 0..arguments.times {
        tokio::time::sleep(arguments.pause).await;
        let message = message(number, size);
        let start = Instant::now();
        let delivery = async {
            let delivery = consumer.next().await;
            delivery.map(|delivery| (delivery, start.elapsed()))
        };
        let (outcomes, delivery) = tokio::join!(publisher.publish(QUEUE, vec![message]), delivery);
        ensure!(
            outcomes == [Outcome::Confirmed],
            "the broker did not take a message: {outcomes:?}"
        );
        let (delivery, time) = delivery?;
        delivery.ack().await?;
        taken.push(time);
    }
    Ok(taken)
}

fn message(number: usize, size: usize) -> Message {
    Message {
        id: format!("bench-{number}"),
        kind: "bench".to_owned(),
        source: "/bench".to_owned(),
        subject: "bench".to_owned(),
        schema: None,
        time: Clock::system().now(),
        traceparent: None,
        body: format!("\"{}\"", "x".repeat(size)).into(),
    }
}
