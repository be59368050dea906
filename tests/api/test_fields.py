"""Every spec field has an effect, and a test that shows it.

A field arrives with the code and the test that give it effect, so that the CRDs hold only what works. Each field is
listed with where its effect is shown: `file::test`, and `[case]` for one case of a table.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from littoral.api.crd import definitions
from littoral.api.inferencemodel import InferenceModelSpec

ROOT = Path(__file__).parents[1]

EFFECTS: Mapping[str, tuple[str, ...]] = {
    "EdgeNode.pool": ("accelerators/test_discovery.py::test_the_pool", "placement/test_refusals.py::REFUSALS[pool]"),
    "EdgeNode.accelerators[].profile": (
        "accelerators/test_discovery.py::test_a_jetson_by_its_declaration",
        "accelerators/test_discovery.py::test_an_unknown_profile",
    ),
    "EdgeNode.accelerators[].count": (
        "accelerators/test_discovery.py::test_declared_against_advertised",
        "accelerators/test_discovery.py::test_declared_against_the_labels_count",
    ),
    "EdgeNode.accelerators[].powerMode": (
        "accelerators/test_discovery_machine.py::test_decides_the_tops_and_none_are_assumed_where_nobody_states_any",
        "accelerators/test_discovery_machine.py::test_leaves_so_many_cores_on",
        "accelerators/test_discovery_machine.py::test_that_the_profile_does_not_have",
    ),
    "EdgeNode.accelerators[].sharing.mode": (
        "accelerators/test_discovery_sharing.py::test_decides",
        "accelerators/test_discovery_sharing.py::test_needs_no_resource",
        "accelerators/test_discovery_sharing.py::test_says_where_to_put_what",
    ),
    "EdgeNode.accelerators[].sharing.replicas": ("accelerators/test_discovery.py::test_declared_against_advertised",),
    "EdgeNode.reserved.memory": (
        "accelerators/test_discovery.py::test_every_node_has_its_cores_and_memory_less_what_is_reserved",
        "accelerators/test_discovery.py::test_a_jetson_by_its_declaration",
    ),
    "EdgeNode.stack.jetpack": ("accelerators/test_discovery_machine.py::test_decides_the_stack",),
    "EdgeNode.stack.driver": ("accelerators/test_discovery_machine.py::test_decides_the_stack",),
    "EdgeNode.stack.cann": ("accelerators/test_discovery_machine.py::test_decides_the_stack",),
    "EdgeNode.allowedNamespaces.selector.matchLabels": (
        "placement/test_placing.py::test_an_edgenode_says_which_namespaces_may_use_it",
        "placement/test_refusals.py::REFUSALS[closed namespace]",
    ),
    "EdgeNode.allowedNamespaces.selector.matchExpressions[].key": (
        "placement/test_placing.py::test_an_edgenode_says_which_namespaces_may_use_it",
    ),
    "EdgeNode.allowedNamespaces.selector.matchExpressions[].operator": (
        "placement/test_placing.py::test_an_edgenode_says_which_namespaces_may_use_it",
    ),
    "EdgeNode.allowedNamespaces.selector.matchExpressions[].values[]": (
        "placement/test_placing.py::test_an_edgenode_says_which_namespaces_may_use_it",
    ),
    "EdgeNode.cordoned": ("placement/test_refusals.py::REFUSALS[cordoned by its EdgeNode]",),
    "GPUSlice.memory": (
        "placement/test_reservations.py::test_has_no_server_and_so_no_overhead",
        "placement/test_reservations.py::test_grows_in_place_or_says_why_not",
    ),
    "GPUSlice.compute": ("placement/test_reservations.py::test_compute_is_charged",),
    "GPUSlice.isolation": ("placement/test_reservations.py::test_isolation_is_a_floor",),
    "GPUSlice.accelerators[]": (
        "placement/test_reservations.py::test_accelerators_choose_the_device",
        "placement/test_reservations.py::test_an_accelerator_that_nobody_has_is_waited_for",
    ),
    "InferenceModel.version": ("triton/test_revision.py::DECIDES[version]",),
    "InferenceModel.variants[].name": (
        "triton/test_revision.py::DECIDES[variant name]",
        "placement/test_placing.py::test_takes_the_first_variant_that_the_device_can_serve_and_says_so",
    ),
    "InferenceModel.variants[].accelerators[]": (
        "placement/test_placing.py::test_each_node_takes_its_own_variant",
        "placement/test_refusals.py::REFUSALS[variant]",
    ),
    "InferenceModel.variants[].format": (
        "triton/test_pod_template.py::test_brings_a_config_that_triton_reads",
        "modelstore/test_fetch.py::test_a_single_file_becomes_a_model_named_by_its_format",
        "placement/test_refusals.py::REFUSALS[backend]",
    ),
    "InferenceModel.variants[].source.uri": (
        "triton/test_pod_template.py::test_a_uri_arrives_as_it_was_written",
        "modelstore/test_sources.py::test_a_file_carried_by_hand_is_a_source",
        "modelstore/test_stores.py::test_each_store_is_asked_in_its_own_way",
        "modelstore/test_objects.py::test_a_folder_is_all_below_it",
    ),
    "InferenceModel.variants[].source.sha256": (
        "triton/test_pod_template.py::test_asks_for_the_artifact_by_digest_and_bounded_size",
        "modelstore/test_faults.py::test_a_flipped_byte_is_a_digest_mismatch_wherever_it_is",
    ),
    "InferenceModel.variants[].source.size": (
        "triton/test_pod_template.py::test_asks_for_the_artifact_by_digest_and_bounded_size",
        "modelstore/test_fetch.py::test_a_declared_size_is_checked_before_the_body",
    ),
    "InferenceModel.variants[].source.secretName": (
        "triton/test_pod_template.py::test_is_mounted_where_the_fetch_container_looks_for_it",
        "modelstore/test_credentials.py::test_what_the_secret_makes_of_a_request",
        "modelstore/test_credentials.py::test_a_redirect_to_another_host_loses_them",
        "modelstore/test_stores.py::STORES[s3]",
    ),
    "InferenceModel.variants[].source.configMapName": (
        "triton/test_pod_template.py::test_is_mounted_where_the_fetch_container_looks_for_it",
        "modelstore/test_tls.py::test_a_private_authority_is_trusted_where_it_is_named",
        "modelstore/test_proxies.py::test_a_source_is_read_through_its_proxy",
        "modelstore/test_stores.py::test_each_store_is_asked_in_its_own_way",
    ),
    "InferenceModel.variants[].source.layout": (
        "modelstore/test_layout.py::test_a_whole_repository_becomes_a_model_for_each_folder",
        "triton/test_pod_template.py::test_a_whole_repository_is_loaded_whole",
        "triton/test_revision.py::DECIDES[layout]",
    ),
    "InferenceModel.variants[].source.signature.uri": (
        "modelstore/test_signature.py::test_what_a_trusted_key_signed",
        "modelstore/test_signature.py::test_what_was_changed_after_it_was_signed_is_never_served",
        "triton/test_pod_template.py::test_asks_for_all_that_the_source_says",
        "contract/test_signature.py::test_no_unsigned_variant_is_admitted_and_signed_ones_serve",
    ),
    "InferenceModel.variants[].slice.memory": (
        "placement/test_placing.py::test_takes_the_first_variant_that_the_device_can_serve_and_says_so",
    ),
    "InferenceModel.variants[].slice.compute": ("api/test_fields.py::test_a_variants_slice_is_laid_over_the_models",),
    "InferenceModel.variants[].slice.isolation": ("api/test_fields.py::test_a_variants_slice_is_laid_over_the_models",),
    "InferenceModel.variants[].requires": (
        "placement/test_placing.py::VARIANTS[older than required]",
        "placement/test_refusals.py::REFUSALS[unknown jetpack]",
    ),
    "InferenceModel.variants[].virtualNPU": (
        "placement/test_refusals.py::REFUSALS[not for a vNPU]",
        "placement/test_placing.py::test_a_variant_built_for_it_runs_on_a_vnpu",
    ),
    "InferenceModel.variants[].latency.p99": (
        "placement/test_placing.py::VARIANTS[too slow]",
        "placement/test_refusals.py::REFUSALS[latency]",
    ),
    "InferenceModel.variants[].latency.atCompute": (
        "placement/test_placing.py::VARIANTS[measured with more]",
        "placement/test_refusals.py::REFUSALS[latency at more compute]",
    ),
    "InferenceModel.slice.memory": ("placement/test_refusals.py::REFUSALS[memory]",),
    "InferenceModel.slice.compute": ("placement/test_refusals.py::REFUSALS[compute]",),
    "InferenceModel.slice.isolation": ("placement/test_refusals.py::REFUSALS[isolation]",),
    "InferenceModel.server.group": (
        "placement/test_groups.py::test_one_slice_holds_what_all_of_them_need_and_the_overhead_once",
        "contract/test_groups.py::test_one_bad_model_hides_none_of_the_others",
        "node/test_group.py::test_three_models_share_a_server_and_one_of_them_is_broken",
    ),
    "InferenceModel.sliceRef.name": (
        "placement/test_references.py::test_its_one_replica_is_on_the_slice_it_names",
        "placement/test_references.py::REFUSALS[no such slice]",
    ),
    "InferenceModel.replicas": (
        "placement/test_placing.py::test_spreads_a_model_before_it_packs",
        "placement/test_leaving.py::test_scale_down_takes_what_never_started_then_the_youngest",
    ),
    "InferenceModel.placement.mode": (
        "placement/test_placing.py::test_per_node_ignores_replicas_and_counts_the_nodes_that_fit",
        "placement/test_leaving.py::test_per_node_leaves_one_on_each_node",
    ),
    "InferenceModel.placement.pools[]": (
        "placement/test_refusals.py::REFUSALS[pool]",
        "placement/test_leaving.py::test_another_pool_replaces_a_replica_on_a_connected_node",
    ),
    "InferenceModel.placement.nodeSelector": ("placement/test_refusals.py::REFUSALS[selector]",),
    "InferenceModel.placement.tolerations[].key": (
        "placement/test_placing.py::test_taints_that_do_not_keep_a_model_away",
        "triton/test_pod_template.py::test_tolerates_what_the_hardware_and_the_user_say_each_once",
    ),
    "InferenceModel.placement.tolerations[].operator": (
        "placement/test_placing.py::test_taints_that_do_not_keep_a_model_away",
        "triton/test_pod_template.py::test_tolerates_what_the_hardware_and_the_user_say_each_once",
    ),
    "InferenceModel.placement.tolerations[].value": (
        "placement/test_placing.py::test_taints_that_do_not_keep_a_model_away",
        "triton/test_pod_template.py::test_tolerates_what_the_hardware_and_the_user_say_each_once",
    ),
    "InferenceModel.placement.tolerations[].effect": (
        "triton/test_pod_template.py::test_tolerates_what_the_hardware_and_the_user_say_each_once",
    ),
    "InferenceModel.placement.priorityClassName": (
        "placement/test_placing.py::test_the_higher_value_comes_first_then_age",
        "placement/test_placing.py::test_a_class_that_is_not_there_is_waited_for",
        "triton/test_pod_template.py::test_the_users_priority_class_takes_the_place_of_ours",
        "triton/test_revision.py::DECIDES[priority class]",
    ),
    "InferenceModel.placement.spread": (
        "placement/test_placing.py::test_the_domain_with_the_fewest_comes_before_best_fit",
    ),
    "InferenceModel.placement.maxLatency": (
        "placement/test_refusals.py::REFUSALS[no latency]",
        "placement/test_refusals.py::REFUSALS[latency]",
    ),
    "InferenceModel.serving.modelName": (
        "triton/test_pod_template.py::test_loads_the_one_model_in_explicit_mode",
        "triton/test_revision.py::DECIDES[model name]",
        "modelstore/test_layout.py::test_a_whole_repository_becomes_a_model_for_each_folder",
    ),
    "InferenceModel.serving.image": (
        "triton/test_pod_template.py::test_image_is_the_stacks_unless_the_spec_names_one",
        "triton/test_pod_template.py::test_an_image_of_the_users_own_needs_none_in_the_catalogue",
    ),
    "InferenceModel.serving.network": (
        "placement/test_host.py::test_two_servers_with_a_port_in_common_are_on_two_nodes",
        "triton/test_network.py::test_ports_of_the_node_lead_to_it",
        "triton/test_network.py::test_in_the_nodes_network_it_listens_on_the_nodes_ports",
        "triton/test_revision.py::DECIDES[network]",
    ),
    "InferenceModel.serving.ports.http": ("triton/test_network.py::test_ports_that_are_not_named_stay_the_usual_ones",),
    "InferenceModel.serving.ports.grpc": ("triton/test_network.py::test_ports_that_are_not_named_stay_the_usual_ones",),
    "InferenceModel.serving.ports.metrics": (
        "triton/test_network.py::test_ports_that_are_not_named_stay_the_usual_ones",
    ),
    "InferenceModel.serving.resources.cpu": (
        "placement/test_refusals.py::REFUSALS[cores]",
        "triton/test_pod_template.py::test_what_is_asked_of_the_machine_is_asked_by_the_server_alone",
        "triton/test_deployment.py::test_what_the_server_asks_of_the_machine_is_added",
    ),
    "InferenceModel.serving.resources.memory": (
        "placement/test_refusals.py::REFUSALS[node memory]",
        "triton/test_pod_template.py::test_what_is_asked_of_the_machine_is_asked_by_the_server_alone",
        "triton/test_deployment.py::test_what_the_server_asks_of_the_machine_is_added",
    ),
    "InferenceModel.serving.startupTimeout": (
        "triton/test_pod_template.py::test_startup_budget_is_the_specs",
        "triton/test_deployment.py::test_the_deadline_leaves_room_for_the_startup_budget",
        "triton/test_rollout.py::test_an_update_fails_when_it_has_not_answered_in_time",
    ),
    "InferenceModel.paused": (
        "triton/test_revision.py::DECIDES_NOTHING[paused]",
        "triton/test_rollout.py::CASES[paused starts nothing]",
        "contract/test_prefetch.py::test_a_paused_update_is_prefetched",
    ),
}


@pytest.mark.parametrize(
    ("mine", "common", "expected"),
    [
        ({}, {"memory": "1Gi"}, ("1Gi", 0, "None")),
        ({}, {"memory": "1Gi", "compute": 25, "isolation": "Soft"}, ("1Gi", 25, "Soft")),
        ({"compute": 0}, {"memory": "1Gi", "compute": 25}, ("1Gi", 0, "None")),
        ({"memory": "2Gi"}, {"memory": "1Gi", "isolation": "Hard"}, ("2Gi", 0, "Hard")),
        ({"isolation": "None"}, {"memory": "1Gi", "isolation": "Hard"}, ("1Gi", 0, "None")),
    ],
)
def test_a_variants_slice_is_laid_over_the_models(
    mine: dict[str, Any], common: dict[str, Any], expected: tuple[str, int, str]
) -> None:
    source = {"uri": "https://models.example/a", "sha256": "0" * 64}
    variant = {"name": "a", "accelerators": ["*"], "format": "onnx", "source": source, "slice": mine}
    spec = InferenceModelSpec.model_validate({"variants": [variant], "slice": common})
    asked = spec.request(spec.variants[0])
    assert (asked.memory, asked.compute, asked.isolation) == expected


def leaves(node: Mapping[str, Any], path: str) -> Iterator[str]:
    """The paths at which a schema holds values; a map is one value."""
    if "properties" in node:
        for key, child in node["properties"].items():
            yield from leaves(child, f"{path}.{key}")
    elif "items" in node:
        yield from leaves(node["items"], f"{path}[]")
    else:
        yield path


def spec_fields() -> set[str]:
    return {
        path
        for definition in definitions().values()
        for version in definition["spec"]["versions"]
        for path in leaves(
            version["schema"]["openAPIV3Schema"]["properties"]["spec"], definition["spec"]["names"]["kind"]
        )
    }


@cache
def known(file: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names of tests and tables that a file defines, and the texts in it, among which are its cases."""
    tree = list(ast.walk(ast.parse((ROOT / file).read_text())))
    names = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in tree:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    texts = {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(names), frozenset(texts)


def test_every_spec_field_is_listed_and_no_other() -> None:
    assert set(EFFECTS) == spec_fields()


@pytest.mark.parametrize("field", EFFECTS)
def test_what_shows_a_fields_effect_exists(field: str) -> None:
    assert EFFECTS[field]
    for where in EFFECTS[field]:
        named = re.fullmatch(r"(?P<file>[\w/]+\.py)::(?P<name>\w+)(\[(?P<case>.+)\])?", where)
        assert named is not None, where
        names, texts = known(named["file"])
        assert named["name"] in names, where
        assert named["case"] is None or named["case"] in texts, where
