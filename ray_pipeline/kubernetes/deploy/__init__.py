"""Put the manifests on a Kubernetes cluster: compare, apply, wait, explain, and go back."""
