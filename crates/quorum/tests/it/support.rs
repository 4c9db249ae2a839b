//! Where tests run.

use std::time::Duration;

fn log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::OFF.into())
        .from_env_lossy();
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
}

/// On threads, in real time.
pub fn run(test: impl Future<Output = ()>) {
    log();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test);
}

/// On one thread, in a time that jumps to what is due next. An hour of it is too much for any test.
pub fn in_simulated_time(test: impl Future<Output = ()>) {
    log();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let test = async { tokio::time::timeout(Duration::from_secs(3600), test).await };
    runtime.block_on(test).expect("the test does not end");
    runtime.shutdown_background();
}
