import pytest

from littoral.autonomy.tolerations import never_evicted


@pytest.mark.parametrize("key", ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"])
def test_both_taints_are_borne_without_end(key: str) -> None:
    """Without tolerationSeconds there is no end; without an effect NoSchedule would be borne as well."""
    assert {"key": key, "operator": "Exists", "effect": "NoExecute"} in never_evicted()


def test_nothing_else_is_tolerated() -> None:
    assert len(never_evicted()) == 2


def test_each_call_gives_values_of_its_own() -> None:
    never_evicted()[0]["key"] = "changed"

    assert never_evicted()[0]["key"] != "changed"
