"""Figures for Prometheus: those of this process, and those that all processes leave in the records."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from toco.jobs.broker import LABEL_QUEUES
from toco.jobs.disk_space import disk_space
from toco.service.api.state import AppState


class _Shared(Collector):
    """What all processes share, read when Prometheus asks."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Read the records once and yield every family."""
        state = self._state
        queues = GaugeMetricFamily("toco_queue_messages", "Messages by queue; unacked: in hand.", labels=("queue",))
        for queue, depth in state.queue.depths().items():
            queues.add_metric((queue,), depth)
        yield queues
        items = GaugeMetricFamily("toco_items", "Items by state, over all jobs.", labels=("state",))
        for item_state, number in state.records.item_counts().items():
            items.add_metric((item_state,), number)
        yield items
        totals = state.stats.totals()
        stages = SummaryMetricFamily("toco_stage_seconds", "Time an image spends in each stage.", labels=("stage",))
        for name, count in totals.items():
            if name.startswith("stage_count:"):
                stage = name.removeprefix("stage_count:")
                stages.add_metric((stage,), count_value=int(count), sum_value=totals.get(f"stage_seconds:{stage}", 0))
        yield stages
        shards = SummaryMetricFamily("toco_shard_images", "Images a shard.")
        shards.add_metric((), count_value=int(totals.get("shards", 0)), sum_value=totals.get("shard_images", 0))
        yield shards
        seconds = SummaryMetricFamily("toco_shard_seconds", "Time a shard takes.")
        seconds.add_metric((), count_value=int(totals.get("shards", 0)), sum_value=totals.get("shard_seconds", 0))
        yield seconds
        halved = CounterMetricFamily("toco_out_of_memory", "Batches halved because the device was out of memory.")
        halved.add_metric((), totals.get("out_of_memory", 0))
        yield halved
        events = CounterMetricFamily("toco_label_studio_events", "Webhooks of Label Studio.", labels=("action",))
        for name, count in totals.items():
            if name.startswith("label_studio:"):
                events.add_metric((name.removeprefix("label_studio:"),), count)
        yield events
        yield from self._workers()
        yield from self._room()

    def _workers(self) -> Iterator[Metric]:
        alive = GaugeMetricFamily("toco_worker_up", "Live worker processes.", labels=("worker", "device"))
        uptime = GaugeMetricFamily("toco_worker_uptime_seconds", "Age of a worker process.", labels=("worker",))
        memory = GaugeMetricFamily("toco_device_memory_bytes", "Memory on the device.", labels=("worker", "kind"))
        batches = GaugeMetricFamily("toco_batch_images", "Images a device batch holds.", labels=("worker", "model"))
        silence = GaugeMetricFamily("toco_worker_silence_seconds", "Since it last answered.", labels=("worker",))
        for report in self._state.stats.live_workers():
            alive.add_metric((report.name, report.device), 1)
            uptime.add_metric((report.name,), time.time() - report.started_at)
            for kind, amount in report.device_memory.items():
                memory.add_metric((report.name, kind), amount)
            for name, images in report.batch_images.items():
                batches.add_metric((report.name, name), images)
            if set(report.queues) & set(LABEL_QUEUES):
                silence.add_metric((report.name,), max(0.0, time.time() - report.answered_at))
        yield from (alive, uptime, memory, batches, silence)

    def _room(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("toco_disk_free_bytes", "Room left for objects or records.", labels=("volume",))
        total = GaugeMetricFamily("toco_disk_total_bytes", "Size of that disk.", labels=("volume",))
        for space in disk_space(self._state.settings):
            free.add_metric((space.volume,), space.free)
            total.add_metric((space.volume,), space.total)
        memory = GaugeMetricFamily("toco_records_memory_bytes", "Memory of Redis; most 0: no limit.", labels=("kind",))
        found = self._state.records.redis.info("memory")
        memory.add_metric(("used",), found["used_memory"])
        memory.add_metric(("most",), found["maxmemory"])
        yield from (free, total, memory)


def metrics_text(state: AppState) -> bytes:
    """Return all figures in Prometheus' text format."""
    shared = CollectorRegistry()
    shared.register(_Shared(state))
    return generate_latest(state.http.registry) + generate_latest(shared)
