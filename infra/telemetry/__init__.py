"""Export of traces by OpenTelemetry; nothing of that library is imported while no endpoint is named."""
