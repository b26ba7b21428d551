"""Analysis: from records to leases, tables, findings, a verdict and a size. `summary.analyse` is the entry."""
