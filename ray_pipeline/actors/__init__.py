"""Long-lived processes on Ray: thin shells around the flows, and the one place that knows Ray."""
