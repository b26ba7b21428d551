"""What poolctl brings to a test suite: the pytest plugin. Nothing is imported until `--poolctl` asks for it."""
