"""Grafana dashboards as code; `./just gen` writes them to infra/deployment/dashboards."""
