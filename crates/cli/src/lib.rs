//! The subcommands of the millstream binary.
//!
//! Key function: [`main`]. Every verb but `serve`, `dev` and `log` is a client like any other: it talks to a broker over the wire
//! through `millstream-client`. Results go to standard output, everything said to people to standard error.

mod args;
mod cluster;
mod consume;
mod context;
mod dev;
mod failure;
mod group;
mod log;
mod logging;
mod output;
mod produce;
mod progress;
mod records;
mod serve;
mod time;
mod topic;
mod txn;

use std::process::ExitCode;

use args::{Cli, Command};
use context::Context;
use failure::{Exit, Failure, Outcome};
use output::say;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is wrong usage.
            let code = if error.use_stderr() { Exit::Usage as u8 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.quiet {
                say(&failure.to_string());
            }
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    logging::start(matches!(cli.command, Command::Serve(_)));
    let runtime = millstream_env::task::runtime(None)
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(async {
        let context = Context::new(&cli.global);
        match cli.command {
            Command::Serve(args) => Box::pin(serve::run(&args)).await,
            Command::Topic(command) => Box::pin(topic::run(&context, command)).await,
            Command::Produce(args) => Box::pin(produce::run(&context, args)).await,
            Command::Consume(args) => Box::pin(consume::run(&context, args)).await,
            Command::Group(command) => Box::pin(group::run(&context, command)).await,
            Command::Txn(command) => Box::pin(txn::run(&context, command)).await,
            Command::Cluster(command) => Box::pin(cluster::run(&context, command)).await,
            Command::Dev(command) => Box::pin(dev::run(&context, command)).await,
            Command::Log(command) => log::run(&context, &command),
        }
    });
    // A thread may still wait for standard input; it must not hold up the end.
    runtime.shutdown_background();
    outcome
}
