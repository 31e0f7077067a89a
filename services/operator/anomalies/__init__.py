"""Anomalies: documented rules over the facts of the read model `anomalies`, for the page, the command line, alerts."""
