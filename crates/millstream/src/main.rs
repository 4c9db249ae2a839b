//! The `millstream` binary: hands over to the command line and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    millstream_cli::main()
}
