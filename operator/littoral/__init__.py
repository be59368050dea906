"""Littoral: a Kubernetes operator that keeps Triton model servers serving at the edge."""
