"""Judge the pipeline from counted facts: status, audit, freshness, checks, metrics. Pure."""
