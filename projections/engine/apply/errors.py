"""Why a batch is not written although none of its rows is refused."""


class BuildSuperseded(Exception):
    """The build has changed: another process applies events to it, or another build has replaced it."""


class ProjectionPaused(Exception):
    """An operator has paused the projection."""
