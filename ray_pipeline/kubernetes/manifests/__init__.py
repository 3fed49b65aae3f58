"""The Kubernetes manifests: built from overlays, checked against schemas and against rules."""
