"""One rule a file. `analysis.findings` is the registry."""
