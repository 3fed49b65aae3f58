"""The collected data and the state of the pipeline, over HTTP and WebSocket. Read-only."""
