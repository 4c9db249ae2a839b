"""The harness that runs one list of scenarios with every foreign client."""
