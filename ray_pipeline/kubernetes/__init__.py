"""Kubernetes: the manifests and their rules, and a deployment that explains itself."""
