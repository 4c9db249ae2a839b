//! `millstream serve`: runs a broker until it is asked to stop.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use millstream_broker::Running;
use millstream_config::{BrokerConfig, Formation, Roles, ServerProperties};
use millstream_env::fs::OsFs;
use millstream_env::process;

use crate::failure::{Failure, Outcome};
use crate::output::say;

/// Where a broker listens when nothing is said: this machine only.
const DEFAULT_LISTENER: &str = "localhost:9092";
/// Where data lies when nothing is said.
const DEFAULT_DATA_DIR: &str = "./data";

/// The largest settings file that is read.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// Run a broker, or a node of a cluster: no other server, no format step
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream serve
  millstream serve --data-dir /var/lib/millstream --listener 0.0.0.0:9092
  millstream serve --config server.properties --set num.partitions=6
  millstream serve --config node1.properties    # one of several nodes: docs/cluster.md

Settings are Kafka's, under Kafka's names. --set goes before --data-dir and --listener,
these go before the file, and the file before the defaults. Without --listener only this
machine can connect. SIGINT (Ctrl-C) and SIGTERM stop the broker in good order. RUST_LOG
sets what is logged.")]
pub(crate) struct Args {
    /// Where topics are stored; made if missing [default: ./data, or log.dirs of the file]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one [default: localhost:9092, or listeners of the file]
    #[arg(long, value_name = "HOST:PORT")]
    listener: Option<String>,
    /// A settings file in the format of Kafka's server.properties
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one setting; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Runs until a signal comes.
pub(crate) async fn run(args: &Args) -> Outcome {
    let config = load(args)?;
    for notice in config.notices() {
        tracing::warn!("{notice}");
    }
    let mut stop = Box::pin(process::stop_signal().map_err(Failure::failed)?);
    let member = Member::of(&config);
    if let Some(member) = &member {
        say(&member.introduction());
    }
    // A member of a cluster waits in there until the others are enough.
    let running = tokio::select! {
        running = Box::pin(millstream_broker::start(config)) => running.map_err(Failure::failed)?,
        () = &mut stop => {
            say("stopped before the cluster took this node in");
            return Ok(());
        }
    };
    match &member {
        Some(member) => member.banner(&running),
        None => banner(&running),
    }
    stop.await;
    let again = process::stop_signal().map_err(Failure::failed)?;
    // A second signal while stopping ends the process at once.
    tokio::select! {
        () = running.stop() => Ok(()),
        () = again => {
            Err(Failure::failed("stopped by a second signal; the next start checks the logs"))
        }
    }
}

/// The settings from file, flags and `--set`.
fn load(args: &Args) -> Result<BrokerConfig, Failure> {
    let mut properties = read_file(args)?;
    if let Some(dir) = &args.data_dir {
        let dir = dir.to_str().ok_or_else(|| Failure::usage("--data-dir is not valid UTF-8"))?;
        if dir.contains(',') {
            return Err(Failure::usage("--data-dir takes one directory")
                .hint("several directories: --set log.dirs=DIR,DIR"));
        }
        properties.set("log.dirs", dir);
    } else if properties.get("log.dirs").is_none() && properties.get("log.dir").is_none() {
        properties.set("log.dirs", DEFAULT_DATA_DIR);
    }
    if let Some(listener) = &args.listener {
        properties.set("listeners", listener_setting(listener)?);
    } else if properties.get("listeners").is_none() && !is_controller_only(&properties) {
        properties.set("listeners", listener_setting(DEFAULT_LISTENER)?);
    }
    for assignment in &args.set {
        properties
            .set_assignment(assignment)
            .map_err(|error| Failure::usage(format!("--set: {error}")))?;
    }
    BrokerConfig::load(&properties).map_err(|errors| {
        let failure = Failure::usage(&errors);
        match &args.config {
            Some(path) => failure.hint(format!("the settings come from {}", path.display())),
            None => failure,
        }
    })
}

/// A node that serves no clients has no use for a listener that nobody asked for.
fn is_controller_only(properties: &ServerProperties) -> bool {
    properties.get("process.roles").is_some_and(|roles| roles.trim() == "controller")
}

fn read_file(args: &Args) -> Result<ServerProperties, Failure> {
    let Some(path) = &args.config else { return Ok(ServerProperties::default()) };
    let shown = path.display();
    let bytes = OsFs::shared()
        .read(path, MAX_CONFIG_BYTES)
        .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{shown} is not a text in UTF-8")))?;
    ServerProperties::parse(&text).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

/// `listeners` for a `HOST:PORT` of the command line.
fn listener_setting(listener: &str) -> Result<String, Failure> {
    if listener.contains("://") {
        return Ok(listener.to_owned());
    }
    let port = listener.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() {
        return Err(Failure::usage(format!(
            "--listener: `{listener}` is not an address: expected HOST:PORT, such as 0.0.0.0:9092"
        )));
    }
    Ok(format!("PLAINTEXT://{listener}"))
}

/// A node of a cluster, as it is told to people.
struct Member {
    node: i32,
    roles: Roles,
    voters: Vec<String>,
    servers: Vec<String>,
    is_voter: bool,
}

impl Member {
    /// `None` for a node that stands alone.
    fn of(config: &BrokerConfig) -> Option<Self> {
        let alone = config.formation == Formation::Alone && config.controller_listeners.is_empty();
        (!alone).then(|| Self {
            node: config.node.node_id,
            roles: config.roles,
            voters: config.voters.iter().map(ToString::to_string).collect(),
            servers: config.bootstrap_servers.iter().map(ToString::to_string).collect(),
            is_voter: config.is_voter(),
        })
    }

    /// Before the node is up: what it is, and whom it waits for.
    fn introduction(&self) -> String {
        let mut lines = vec![format!(
            "Millstream {} starts node {}, {}",
            env!("CARGO_PKG_VERSION"),
            self.node,
            self.roles
        )];
        let vote = if self.is_voter { "this node votes" } else { "this node has no vote" };
        if self.voters.is_empty() {
            lines.push(format!("  quorum     looked for at {}", self.servers.join(", ")));
        } else {
            lines.push(format!("  voters     {} ({vote})", self.voters.join(", ")));
        }
        if self.voters.len() > 1 {
            let enough = self.voters.len() / 2 + 1;
            lines.push(format!(
                "  waiting    for a controller: {enough} of the {} voters must run",
                self.voters.len()
            ));
        } else if !self.is_voter {
            lines.push("  waiting    for a controller".to_owned());
        }
        lines.join("\n")
    }

    /// When the node is up.
    fn banner(&self, running: &Running) {
        let addresses: Vec<String> = running
            .listeners()
            .iter()
            .map(|listener| format!("{} ({})", listener.address, listener.name))
            .collect();
        let dirs: Vec<String> =
            running.data_dirs().iter().map(|dir| dir.display().to_string()).collect();
        let fresh = if running.is_new() { " (new)" } else { "" };
        let first =
            running.listeners().first().map(|first| first.address.to_string()).unwrap_or_default();
        let (server, _) = first_server(&first);
        let mut lines = vec![
            format!(
                "Millstream {} is ready: node {}, {}",
                env!("CARGO_PKG_VERSION"),
                self.node,
                self.roles
            ),
            format!("  addresses  {}", addresses.join(", ")),
            format!("  data       {}{fresh}", dirs.join(", ")),
            format!("  cluster    {}", running.cluster_id()),
        ];
        if self.roles.broker {
            lines.push(format!("  look       millstream cluster status -b {server}"));
        }
        lines.push("  stop       Ctrl-C".to_owned());
        say(&lines.join("\n"));
        tell_address(&first);
    }
}

/// Where the broker is, and a line to try.
fn banner(running: &Running) {
    let addresses: Vec<String> =
        running.listeners().iter().map(|listener| listener.address.to_string()).collect();
    let dirs: Vec<String> =
        running.data_dirs().iter().map(|dir| dir.display().to_string()).collect();
    let fresh = if running.is_new() { " (new)" } else { "" };
    let first = addresses.first().cloned().unwrap_or_default();
    let (server, reachable) = first_server(&first);
    let flag = if server == "localhost:9092" || server == "127.0.0.1:9092" {
        String::new()
    } else {
        format!(" -b {server}")
    };
    let text = format!(
        "Millstream {version} is ready\n  address    {addresses}{reachable}\n  data       {dirs}{fresh}\n  \
         cluster    {cluster}\n  try        echo hello | millstream produce greetings{flag}\n             \
         millstream consume greetings --from-beginning{flag}\n  stop       Ctrl-C",
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(", "),
        dirs = dirs.join(", "),
        cluster = running.cluster_id(),
    );
    say(&text);
    tell_address(&first);
}

/// For scripts that start a broker and wait for its address on standard output.
fn tell_address(first: &str) {
    let mut out = std::io::stdout();
    if !out.is_terminal() {
        drop(writeln!(out, "ready {first}").and_then(|()| out.flush()));
    }
}

/// What a client on this machine dials, and who else can reach it.
fn first_server(address: &str) -> (String, &'static str) {
    match address.rsplit_once(':') {
        Some(("0.0.0.0" | "[::]", port)) => (format!("localhost:{port}"), " (all interfaces)"),
        Some((host, _)) if host.starts_with("127.") || host == "[::1]" => {
            (address.to_owned(), " (this machine only; --listener 0.0.0.0:9092 opens it to others)")
        }
        _ => (address.to_owned(), ""),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn loaded(line: &[&str]) -> Result<BrokerConfig, Failure> {
        let all = std::iter::once(&"serve").chain(line);
        load(&Line::parse_from(all).args)
    }

    #[test]
    fn defaults_are_this_machine_and_a_folder_here() {
        let config = loaded(&[]).unwrap();
        assert_eq!(config.log_dirs(), ["./data"]);
        let [listener] = &config.listeners[..] else { panic!("one listener") };
        assert_eq!((listener.host.as_str(), listener.port), ("localhost", 9092));
    }

    #[test]
    fn flags_go_before_the_file_and_set_before_flags() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        std::fs::write(&file, "log.dirs=/a\nnum.partitions=3\nlisteners=PLAINTEXT://h:1\n")
            .unwrap();
        let file = file.to_str().unwrap();
        let plain = loaded(&["--config", file]).unwrap();
        assert_eq!((plain.log_dirs(), plain.listeners[0].port), (&["/a".to_owned()][..], 1));
        let more = ["--config", file, "--data-dir", "/b", "--listener", "x:2"];
        let flagged = loaded(&more).unwrap();
        assert_eq!((flagged.log_dirs(), flagged.listeners[0].port), (&["/b".to_owned()][..], 2));
        let set = [&more[..], &["--set", "log.dirs=/c"]].concat();
        assert_eq!(loaded(&set).unwrap().log_dirs(), ["/c"]);
    }

    #[test]
    fn a_member_says_what_it_is_and_whom_it_waits_for() {
        let said = |settings: &[&str]| {
            let line: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
            Member::of(&loaded(&line).unwrap()).map(|member| member.introduction())
        };
        assert_eq!(said(&[]), None);
        let voters = "controller.quorum.voters=1@a:1,2@b:1,3@c:1";
        let three = said(&["node.id=2", voters, "listeners=PLAINTEXT://:9,CONTROLLER://:1"]);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            three.unwrap(),
            format!(
                "Millstream {version} starts node 2, broker and controller\n  \
                 voters     1@a:1, 2@b:1, 3@c:1 (this node votes)\n  \
                 waiting    for a controller: 2 of the 3 voters must run"
            )
        );
        let servers = "controller.quorum.bootstrap.servers=a:1";
        let joins = said(&["node.id=4", "process.roles=broker", servers]).unwrap();
        assert!(joins.ends_with("quorum     looked for at a:1\n  waiting    for a controller"));
        let alone = ["process.roles=controller", "listeners=CONTROLLER://:1"];
        assert!(said(&alone).unwrap().contains("starts node 1, controller"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let says = |line: &[&str]| loaded(line).unwrap_err().message;
        assert!(says(&["--listener", "nowhere"]).contains("expected HOST:PORT"));
        assert!(says(&["--set", "num.partition=3"]).contains("num.partitions"));
        assert!(says(&["--config", "/does/not/exist"]).contains("cannot read"));
        assert!(says(&["--data-dir", "/a,/b"]).contains("one directory"));
    }
}
