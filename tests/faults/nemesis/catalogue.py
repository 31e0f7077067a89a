"""All faults by name, in the order of the report."""

from collections.abc import Mapping

from tests.faults.nemesis import clocks, cuts, disks, leaders, operations, processes, slow_links
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
        disks.NatsDiskFull,
        disks.PostgresDiskFull,
        disks.SlowDisk,
        disks.EmptyDisk,
        disks.OldDisk,
        clocks.ClockJump,
        operations.FailOver,
        operations.RollingRestart,
        operations.RollingUpgrade,
    )
}
