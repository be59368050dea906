"""What the operator counts and times, under the names that dashboards for controller-runtime know, prefixed littoral_.

All metrics of one process hang on one Metrics value that is passed to who needs it. There is no global registry, so
that tests and several operators in one process never share a counter.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, PlatformCollector
from prometheus_client import ProcessCollector as ProcessMetrics

_API_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECONCILE_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_WAIT_BUCKETS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def package_version() -> str:
    """Return the version of the installed package, or "unknown" where it runs from a bare source tree."""
    try:
        return version("littoral")
    except PackageNotFoundError:
        return "unknown"


class Metrics:
    """The operator's metrics. Labels hold kinds and outcomes only, never names of objects: their number is bounded."""

    def __init__(self, *, process: bool = False) -> None:
        """Register on an own registry; `process` adds CPU, memory and garbage collection of this process."""
        self.registry = CollectorRegistry()
        if process:
            for collector in (ProcessMetrics, PlatformCollector, GCCollector):
                collector(registry=self.registry)
        self.reconciles = Counter(
            "littoral_reconcile_total",
            "Reconciliations by controller and result (success, requeue_after, error, timeout).",
            ["controller", "result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "littoral_reconcile_duration_seconds",
            "Time of one reconciliation.",
            ["controller"],
            buckets=_RECONCILE_BUCKETS,
            registry=self.registry,
        )
        self.active_workers = Gauge(
            "littoral_active_workers", "Workers that are reconciling at this moment.", registry=self.registry
        )
        self.workqueue_depth = Gauge(
            "littoral_workqueue_depth", "Keys that are ready and wait for a worker.", registry=self.registry
        )
        self.workqueue_latency = Histogram(
            "littoral_workqueue_queue_duration_seconds",
            "Time that a key was ready before a worker took it.",
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        self.workqueue_retries = Counter(
            "littoral_workqueue_retries_total", "Keys put back with a back-off.", registry=self.registry
        )
        self.api_requests = Counter(
            "littoral_api_requests_total",
            "Requests to the API server by verb, resource and HTTP status (0: no answer).",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "littoral_api_request_duration_seconds",
            "Time of one request to the API server.",
            ["verb", "resource"],
            buckets=_API_BUCKETS,
            registry=self.registry,
        )
        self.events = Counter(
            "littoral_events_total",
            "Kubernetes Events by what became of them (posted, repeated, limited, dropped, failed).",
            ["outcome"],
            registry=self.registry,
        )
        self.leader = Gauge("littoral_leader", "1 while this process holds the Lease.", registry=self.registry)
        build = Gauge(
            "littoral_build_info", "Always 1; the labels say what runs.", ["version", "python"], registry=self.registry
        )
        build.labels(package_version(), python_version()).set(1)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Read the queue's depth at each scrape instead of counting along."""
        self.workqueue_depth.set_function(depth)
