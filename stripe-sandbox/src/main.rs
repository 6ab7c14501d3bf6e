//! The `stripe-sandbox` server.

use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use platform::http::site::Name;
use platform::supervisor::Supervisor;
use stripe_sandbox::{Clock, Options, Sandbox};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// How long requests and webhooks may take to finish after a signal.
const GRACE: Duration = Duration::from_secs(15);

/// A Stripe to develop and test against.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Where to listen.
    #[arg(
        long,
        env = "SANDBOX_LISTEN",
        default_value = "127.0.0.1:12111",
        global = true
    )]
    listen: SocketAddr,

    /// Where to keep the account; without it, it lives in memory.
    #[arg(long, env = "SANDBOX_FILE")]
    file: Option<PathBuf>,

    /// The account that it plays.
    #[arg(long = "account", env = "SANDBOX_ACCOUNT", default_value = "acct_1SandboxDefault00", value_parser = account, global = true)]
    account_id: String,

    /// A key to let in, more than once for more; without it, every sk_test_ and rk_test_ key. Keys of live mode make
    /// an account of live mode.
    #[arg(
        long = "api-key",
        env = "SANDBOX_API_KEYS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    api_keys: Vec<String>,

    /// A host that requests may name besides the sandbox's own addresses, more than once for more.
    #[arg(long = "host", env = "SANDBOX_HOSTS", value_delimiter = ',')]
    hosts: Vec<Name>,

    /// Start with a clock that stands at this second of the epoch and moves only by POST /_sandbox/clock.
    #[arg(long, env = "SANDBOX_MANUAL_CLOCK")]
    manual_clock: Option<i64>,

    /// Make the identifiers repeatable.
    #[arg(long, env = "SANDBOX_SEED")]
    seed: Option<u64>,

    /// Answer 429 beyond this many requests in a second; Stripe's sandboxes admit 25.
    #[arg(long, env = "SANDBOX_REQUESTS_PER_SECOND")]
    requests_per_second: Option<u32>,

    /// Refuse e-mails with dots at either end of the part before the @ or two in a row, and domains in Unicode: it is not
    /// known whether Stripe takes them.
    #[arg(long, env = "SANDBOX_STRICT_EMAILS", value_parser = clap::builder::BoolishValueParser::new(),
          default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    strict_emails: bool,

    #[arg(long, env = "SANDBOX_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the sandbox on this machine whether it is well; exits with 0 or 1.
    Healthcheck,
    /// Fill an account with plausible customers, as if they had always been there: no events, no webhooks.
    ///
    /// They have distinct names and example.com addresses, some a phone or a description, and were created in
    /// 2019 to 2025, some hundreds of them in one second. A second load brings other customers.
    Load(Load),
}

#[derive(Args)]
#[group(skip)]
#[command(group = ArgGroup::new("account").required(true).args(["into", "url"]))]
struct Load {
    /// How many.
    customers: u64,

    /// The same number brings the same customers.
    #[arg(long = "seed", value_name = "SEED", default_value_t = 0)]
    load_seed: u64,

    /// The file of an account that no sandbox is running with; it is made if it is not there.
    #[arg(long = "file", value_name = "FILE")]
    into: Option<PathBuf>,

    /// A sandbox that is running, as http://127.0.0.1:12111.
    #[arg(long)]
    url: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let arguments = platform::settings::parse::<Arguments>();
    log(arguments.log_format);
    let outcome = match arguments.command {
        Some(Command::Healthcheck) => healthcheck(arguments.listen),
        Some(Command::Load(load)) => fill(load, arguments.account_id),
        None => serve(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(format: LogFormat) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,poem=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// The id of an account.
fn account(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("acct_").unwrap_or_default();
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id
        .then(|| text.to_owned())
        .ok_or_else(|| "must be acct_ and letters or digits".to_owned())
}

fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let clock = match arguments.manual_clock {
        None => Clock::system(),
        Some(second) => Clock::manual(
            chrono::DateTime::from_timestamp(second, 0)
                .context("--manual-clock is out of range")?,
        ),
    };
    let is_live = |key: &String| key.starts_with("sk_live_") || key.starts_with("rk_live_");
    let livemode = !arguments.api_keys.is_empty() && arguments.api_keys.iter().all(is_live);
    let options = Options {
        api_keys: arguments.api_keys,
        livemode,
        file: arguments.file,
        clock,
        account_id: arguments.account_id,
        seed: arguments.seed,
        requests_per_second: arguments.requests_per_second,
        strict_emails: arguments.strict_emails,
        hosts: arguments.hosts,
        ..Options::default()
    };
    let listen = arguments.listen;
    let start = async |supervisor: &mut Supervisor| start(supervisor, options, listen).await;
    let ran = runtime()?.block_on(Supervisor::run_program(GRACE, start));
    if let Err(error) = &ran {
        tracing::error!("{error:#}");
    }
    // A file that is still being read is not waited for.
    std::process::exit(i32::from(ran.is_err()))
}

async fn start(
    supervisor: &mut Supervisor,
    options: Options,
    listen: SocketAddr,
) -> anyhow::Result<()> {
    // A large file takes some time to read, and a signal is to end that too.
    let opening = tokio::task::spawn_blocking(|| Sandbox::open(options));
    let sandbox = opening.await.context("opening the account")??;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    let address = listener
        .local_addr()
        .context("reading the address that was bound")?;
    tracing::info!("the Stripe sandbox listens on http://{address}");
    supervisor.spawn("stripe-sandbox", sandbox.run(listener, supervisor.stop()));
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

fn fill(load: Load, account_id: String) -> anyhow::Result<()> {
    let Load {
        customers,
        load_seed: seed,
        into: file,
        url,
    } = load;
    let begun = Instant::now();
    match url {
        Some(url) => runtime()?.block_on(fill_running(&url, customers, seed))?,
        None => Sandbox::open(Options {
            file,
            account_id,
            ..Options::default()
        })?
        .load(customers, seed)?,
    }
    tracing::info!("loaded {customers} customers in {:.1?}", begun.elapsed());
    Ok(())
}

async fn fill_running(url: &str, customers: u64, seed: u64) -> anyhow::Result<()> {
    // The client wants one even for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::Client::new()
        .post(format!("{}/_sandbox/load", url.trim_end_matches('/')))
        .json(&serde_json::json!({ "customers": customers, "seed": seed }))
        .send()
        .await
        .with_context(|| format!("asking the sandbox on {url}"))?;
    let status = answer.status();
    let text = answer.text().await.context("reading its answer")?;
    anyhow::ensure!(
        status.is_success(),
        "the sandbox on {url} answered {status}: {text}"
    );
    Ok(())
}

fn healthcheck(listen: SocketAddr) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let address = SocketAddr::from(([127, 0, 0, 1], listen.port()));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("connecting to {address}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("setting a time limit")?;
    stream
        .write_all(b"GET /_sandbox/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .context("asking for its health")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("reading its answer")?;
    anyhow::ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "the sandbox on {address} is not well"
    );
    Ok(())
}
