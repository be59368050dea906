"""Names and labels are what dashboards hang on."""

from prometheus_client import generate_latest

from littoral.telemetry.metrics import Metrics, package_version


def test_the_names_are_those_of_controller_runtime_with_our_prefix() -> None:
    metrics = Metrics()
    metrics.watch_queue(lambda: 3)
    metrics.reconciles.labels("model", "success").inc()
    metrics.reconcile_seconds.labels("model").observe(0.2)
    metrics.workqueue_latency.observe(0.1)
    metrics.workqueue_retries.inc()
    metrics.api_requests.labels("list", "nodes", "200").inc()
    metrics.api_seconds.labels("list", "nodes").observe(0.1)
    metrics.leader.set(1)
    text = generate_latest(metrics.registry).decode()
    for line in (
        'littoral_reconcile_total{controller="model",result="success"} 1.0',
        'littoral_reconcile_duration_seconds_count{controller="model"} 1.0',
        "littoral_workqueue_depth 3.0",
        "littoral_workqueue_queue_duration_seconds_count 1.0",
        "littoral_workqueue_retries_total 1.0",
        'littoral_api_requests_total{code="200",resource="nodes",verb="list"} 1.0',
        'littoral_api_request_duration_seconds_count{resource="nodes",verb="list"} 1.0',
        "littoral_leader 1.0",
    ):
        assert line in text.splitlines()
    assert f'version="{package_version()}"' in text


def test_two_operators_in_one_process_share_nothing() -> None:
    one, other = Metrics(process=True), Metrics(process=True)
    one.workqueue_retries.inc()
    assert other.registry.get_sample_value("littoral_workqueue_retries_total") == 0
