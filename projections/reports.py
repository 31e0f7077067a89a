"""Reports for operators: who reported whom, why, and what became of it. Their texts are in the events alone."""

from contracts.envelope import Recorded
from contracts.events.report import ReportExpired, ReportFiled, ReportSettled
from contracts.subjects import AUTH, CONTACT
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class Reports(ErasingProjection):
    version = 2
    streams = (CONTACT, AUTH)
    # Operators read it, and they wait for what they changed.
    rest_seconds = 0.1
    tables = (
        """
        CREATE TABLE {reports} (
            report_id uuid PRIMARY KEY,
            reporter_id uuid,
            reported_id uuid,
            reason text,
            -- number of reported messages
            messages int,
            filed_at timestamptz,
            -- null: the report is open
            settled_at timestamptz,
            outcome text,
            -- the operator's name, and account if not on the command line
            settled_by text,
            settled_by_id uuid,
            -- since then its texts are shown to no one
            expired_at timestamptz
        );
        CREATE INDEX ON {reports} (filed_at DESC, report_id DESC) WHERE settled_at IS NULL;
        CREATE INDEX ON {reports} (filed_at DESC, report_id DESC) WHERE settled_at IS NOT NULL;
        CREATE INDEX ON {reports} (settled_at) WHERE settled_at IS NOT NULL AND expired_at IS NULL;
        """
        + ERASED_USERS
    )
    erasures = ("UPDATE {reports} SET settled_by = '' WHERE settled_by_id = ANY(%(users)s) AND settled_by <> ''",)

    @handles(ReportFiled)
    def filed(self, event: Recorded[ReportFiled], write: RowChanges) -> None:
        write.insert(
            "reports",
            key={"report_id": event.aggregate_id},
            set={
                "reporter_id": event.data.reporter_id,
                "reported_id": event.data.reported_id,
                "reason": event.data.reason,
                "messages": len(event.data.messages),
                "filed_at": event.at,
            },
        )

    @handles(ReportSettled)
    def settled(self, event: Recorded[ReportSettled], write: RowChanges) -> None:
        write.update(
            "reports",
            key={"report_id": event.aggregate_id},
            set={
                "settled_at": event.at,
                "outcome": event.data.outcome,
                "settled_by": event.data.operator,
                "settled_by_id": event.data.operator_id,
            },
        )

    @handles(ReportExpired)
    def expired(self, event: Recorded[ReportExpired], write: RowChanges) -> None:
        write.update("reports", key={"report_id": event.aggregate_id}, set={"expired_at": event.at})
