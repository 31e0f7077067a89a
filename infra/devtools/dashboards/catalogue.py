"""Every dashboard, in the order of the documentation."""

from infra.devtools.dashboards.event_streams import EVENT_STREAMS
from infra.devtools.dashboards.overview import OVERVIEW
from infra.devtools.dashboards.people import PEOPLE
from infra.devtools.dashboards.projections import PROJECTIONS
from infra.devtools.dashboards.servers import SERVERS

DASHBOARDS = (OVERVIEW, EVENT_STREAMS, PROJECTIONS, SERVERS, PEOPLE)
