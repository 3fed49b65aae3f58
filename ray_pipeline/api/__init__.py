"""The read side: what was collected, and how collecting goes, over HTTP and WebSocket."""
