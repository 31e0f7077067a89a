"""All routes of the operators' page."""

from services.gateway.http.endpoint import AnyEndpoint
from services.gateway.routes.operators import (
    aggregates,
    audit,
    dead_letters,
    event_trace,
    events,
    maintenance,
    people,
    reports,
    sessions,
    status,
)

ROUTES: tuple[AnyEndpoint, ...] = (
    *status.ROUTES,
    *events.ROUTES,
    *sessions.ROUTES,
    *audit.ROUTES,
    *people.ROUTES,
    *event_trace.ROUTES,
    *aggregates.ROUTES,
    *dead_letters.ROUTES,
    *reports.ROUTES,
    *maintenance.ROUTES,
)
