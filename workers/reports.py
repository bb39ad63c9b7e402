"""Reports on a worker: the next piece of one, by its kind."""

from toco.workers.doctor import look_further
from toco.workers.process import WorkerProcess


def make_report(process: WorkerProcess, report: str) -> None:
    """Make a report, or the next piece of it, and have the piece after that queued."""
    reports, limits = process.reports, process.settings
    record = reports.known(report)
    if record is None:
        return

    def write() -> bool:
        now = reports.get(record.job, record.id)
        if now.request.kind == "doctor":
            return look_further(process, now)
        reports.write_statistics(now, lease_seconds=limits.lease_seconds)
        return True

    if reports.builds.run(report, write, lease_seconds=limits.lease_seconds, max_attempts=limits.max_attempts):
        process.queue.report(report, record.request.kind)
