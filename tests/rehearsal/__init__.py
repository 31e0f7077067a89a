"""`./just rehearse`: runs what infra/deployment/compose/compose.yaml describes, host by host, in network namespaces."""
