"""Generates those Kubernetes manifests that follow from the registry of services: infra/deployment/kubernetes/."""
