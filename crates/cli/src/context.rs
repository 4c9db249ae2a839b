//! What every client verb works with: how to reach the cluster, and how to print.

use std::time::Duration;

use millstream_client::{Admin, ClientConfig, ClientError, Cluster};

use crate::args::Global;
use crate::output::Output;

/// The global options, ready for use.
#[derive(Debug)]
pub(crate) struct Context {
    servers: String,
    pub(crate) timeout: Duration,
    pub(crate) out: Output,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            servers: global.bootstrap_server.clone(),
            timeout: global.timeout,
            out: Output::new(global.json),
        }
    }

    pub(crate) async fn cluster(&self) -> Result<Cluster, ClientError> {
        let config = ClientConfig {
            client_id: "millstream-cli".to_owned(),
            api_timeout: self.timeout,
            request_timeout: self.timeout.max(Duration::from_secs(1)),
            connect_timeout: self.timeout.min(Duration::from_secs(10)),
            ..ClientConfig::for_servers(&self.servers)
        };
        Cluster::connect(config).await
    }

    pub(crate) async fn admin(&self) -> Result<Admin, ClientError> {
        Ok(Admin::new(self.cluster().await?))
    }
}
