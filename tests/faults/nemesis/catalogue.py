"""All faults by name, in the order of the report."""

from collections.abc import Mapping

from tests.faults.nemesis import cuts, leaders, processes
from tests.faults.nemesis.fault import Fault

FAULTS: Mapping[str, type[Fault]] = {
    fault.name(): fault
    for fault in (
        processes.Kill,
        processes.PowerOff,
        processes.Freeze,
        leaders.StepDown,
        leaders.LeaderDies,
        cuts.Cut,
        cuts.OneWayCut,
        cuts.Blackhole,
        cuts.NodeApart,
        cuts.MajorityApart,
        cuts.GatewaysWithoutNats,
        cuts.ServicesWithoutPostgres,
    )
}
