"""Analysis: from records to leases, tables, statistics, findings, a verdict and a size. `summary.analyse` is the entry."""
