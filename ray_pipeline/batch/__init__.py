"""Batch collection: plan a dataset's requests, make the permitted calls, store the answers."""
