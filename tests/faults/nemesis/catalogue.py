"""All faults by name, in the order of the report."""

from collections.abc import Mapping

from tests.faults.nemesis import cuts, leaders, processes, slow_links
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
        slow_links.SlowLink,
        slow_links.DelayedLink,
        slow_links.LossyLink,
        slow_links.ReorderingLink,
        cuts.NodeApart,
        cuts.MajorityApart,
        cuts.GatewaysWithoutNats,
        cuts.ServicesWithoutPostgres,
    )
}
