"""One driver a client: a thin, honest translation of `harness.driver.Driver` into that client's calls."""
