"""The catalogue: what a user may add, and how a broken entry is refused. What is shipped: test_catalogue_shipped.py."""

import pytest

from littoral.accelerators.catalogue import Catalogue, extend, load

GOOD = """
profiles:
  - name: emulated-t4
    family: t4
    memory: 4Gi
    labels: {nvidia.com/gpu.product: Emulated-T4}
    resources: [nvidia.com/gpu]
    sharing: [whole, counted]
    stacks: [{image: triton-cpu, backends: {python: python}, instanceKind: KIND_CPU}]
"""


def names(catalogue: Catalogue, word: str) -> set[str]:
    return {profile.name for profile in catalogue.matching(word)}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("t4", {"t4", "emulated-t4"}),
        ("emulated-t4", {"emulated-t4"}),
        (
            "jetson-orin",
            {f"jetson-{module}" for module in ("orin-nx-8gb", "orin-nx-16gb", "agx-orin-32gb", "agx-orin-64gb")},
        ),
        ("jetson-orin-nano", {"jetson-orin-nano-4gb", "jetson-orin-nano-8gb"}),
        ("cpu", {"cpu"}),
        ("*", {*load().profiles, "emulated-t4"} - {"cpu"}),
        ("mi300x", set()),
    ],
)
def test_a_word_means_a_profile_a_family_or_any_accelerator(word: str, meant: set[str]) -> None:
    extended, problems = extend(load(), "cm", GOOD)
    assert problems == ()
    assert names(extended, word) == meant


def test_an_extension_may_put_its_own_in_place_of_a_shipped_profile() -> None:
    mine = "profiles: [{name: cpu, family: cpu, sharing: [cpu], stacks: [{image: mine}]}]"
    extended, problems = extend(load(), "cm", mine)
    assert (problems, extended.cpu.stacks[0].image) == ((), "mine")
    assert load().cpu.stacks[0].image != "mine"


def test_a_broken_entry_is_refused_by_name_and_line_and_the_rest_goes_on() -> None:
    text = "profiles:\n  - name: bad\n    family: t4\n    overhaed: 1Gi\n" + GOOD.partition("profiles:\n")[2]
    extended, (problem,) = extend(load(), "littoral-catalogue/site.yaml", text)
    assert "emulated-t4" in extended.profiles
    assert "bad" not in extended.profiles
    assert (problem.entry, problem.line) == ("bad", 2)
    assert str(problem).startswith("littoral-catalogue/site.yaml, line 2: profile 'bad' is refused: ")
    assert "overhaed: no such field" in problem.message


def entry(**changes: object) -> str:
    """One entry in JSON, which is YAML, with fields changed or, by None, left out."""
    import json

    base: dict[str, object] = {
        "name": "a",
        "family": "a",
        "memory": "4Gi",
        "resources": ["x.com/a"],
        "sharing": ["whole"],
        "stacks": [{"image": "i"}],
    }
    return json.dumps({"profiles": [{key: value for key, value in (base | changes).items() if value is not None}]})


HALF: dict[str, object] = {"name": "half", "resource": "x.com/a-half", "memory": "2Gi", "cores": 4, "cpus": 3}


def split(*templates: dict[str, object]) -> str:
    """An entry that is partitioned in these sizes."""
    return entry(sharing=["whole", "vnpu"], partitions={"cores": 8, "cpus": 7, "templates": templates})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(sharing=["wohle"]), "sharing.0: Input should be 'cpu', 'whole', 'runtime', 'counted', 'time-slicing', "),
        (entry(sharing=["whole", "whole"]), "sharing: whole is listed twice"),
        (entry(unsupported={"whole": "no"}), "unsupported: whole stands in sharing as well"),
        (entry(unsupported={"mps": " "}), "unsupported.mps: say why in a sentence"),
        (entry(powerModes=[{"name": "15W"}] * 2), "powerModes: 15W is listed twice"),
        (entry(memory="4 gigs"), "memory: '4 gigs' is not a quantity: write a number with a suffix such as Mi or Gi"),
        (entry(overhead="x"), "overhead: 'x' is not a quantity: write a number with a suffix such as Mi or Gi"),
        (entry(memory=None), "memory: required, unless `unified: true` says that device memory is node memory"),
        (entry(resources=None), "resources: name the extended resource that the device plugin advertises"),
        (entry(stacks=[{}]), "stacks.image: name the Triton image, or say in imageReason why there is none"),
        (entry(stacks=[{"image": "i", "Args": []}]), "stacks.0.Args: no such field"),
        (
            entry(stacks=[{"image": "i", "imageReason": "none"}]),
            "stacks.imageReason: there is an image, so there is no reason why there is none",
        ),
        (entry(stacks=[{"image": "i"}] * 2), "stacks: give each a name of its own"),
        (
            entry(stacks=[{"image": "i"}, {"name": "b", "image": "i"}]),
            "stacks: one has no `when` and always matches, so b is never used",
        ),
        (
            entry(stacks=[{"image": "i", "when": {"jetpack": "six"}}]),
            """stacks.when.jetpack: 'six' is no version and no range of versions such as ">=6,<7\"""",
        ),
        (
            entry(stacks=[{"image": "i", "when": {"cuda": ">=12"}}]),
            "stacks.0.when.cuda.[key]: Input should be 'jetpack', 'driver' or 'cann'",
        ),
        (entry(stacks=[{"image": "i", "backends": {"onnx": {}}}]), "stacks.0.backends.onnx.name: Field required"),
        (entry(stacks=[{"image": "i", "arguments": ["-v"]}]), "stacks.0.arguments.0.text: String should match pattern"),
        (
            entry(stacks=[{"image": "i", "arguments": [{"text": "--a", "since": "2.34"}]}]),
            "stacks.0.arguments.0.since: String should match pattern",
        ),
        (
            entry(stacks=[{"image": "i", "securityContext": {"privileged": True}}]),
            (
                "stacks.securityContext.privileged: a served model's pod is never privileged (Pod Security's level "
                "baseline and HAMi's webhook refuse it): leave device files to the device plugin or the runtime"
            ),
        ),
        (
            entry(stacks=[{"image": "i", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]),
            "stacks.securityContext.capabilities: no field of a pod's that a stack may set",
        ),
        (
            entry(stacks=[{"image": "i", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}]),
            "stacks.securityContext.seccompProfile: Unconfined is refused by Pod Security's level baseline",
        ),
        (entry(sharing=["vnpu"]), "partitions: list the templates of a device that is shared as vnpu, and of no other"),
        (
            entry(partitions={"cores": 8, "cpus": 7, "templates": [HALF]}),
            "partitions: list the templates of a device that is shared as vnpu, and of no other",
        ),
        (split(HALF, HALF | {"resource": "x.com/b"}), "partitions.templates: half is listed twice"),
        (
            split(HALF, HALF | {"name": "b"}),
            "partitions.templates: x.com/a-half must be the resource of one template, and not the whole device's",
        ),
        (
            split(HALF | {"resource": "x.com/a"}),
            "partitions.templates: x.com/a must be the resource of one template, and not the whole device's",
        ),
        (split(HALF | {"cores": 9}), "partitions.templates: half has 9 cores, the whole device 8"),
        (split(HALF | {"cpus": 8}), "partitions.templates: half has 8 cpus, the whole device 7"),
        (split(HALF | {"memory": "5Gi"}), "partitions.templates: half has 5120 MiB of memory, the whole device 4096"),
        (split(HALF | {"memory": "much"}), "partitions.templates.0.memory: 'much' is not a quantity"),
        (entry(name="cpu"), "sharing: [cpu] is for the profile and family named cpu, and for nothing else"),
        (entry(sharing=["cpu"]), "sharing: [cpu] is for the profile and family named cpu, and for nothing else"),
        (entry(name="*"), 'name and family: "*" stands for any accelerator and cannot be the name of one'),
        (entry(name=None), "name: Field required"),
        ("profiles: [a]", "an entry of `profiles` must be a mapping"),
        ("- a", "the text must be a mapping with a list `profiles`"),
        ("profiles: {}", "the text must be a mapping with a list `profiles`"),
        ("other: []", "the text must be a mapping with a list `profiles`"),
        ("profiles: [", "the text is no YAML: expected the node content, but found '<stream end>'"),
        ("profiles: [!!python/name:os.system x]", "the text is no YAML: "),
        ("profiles: [{? [a] : b}]", "the text is no YAML: "),
    ],
)
def test_the_sentence_for_a_broken_entry(text: str, message: str) -> None:
    extended, (problem,) = extend(load(), "cm", text)
    assert extended.profiles == load().profiles
    assert message in problem.message


def test_all_that_is_wrong_with_an_entry_is_said_at_once() -> None:
    _, (problem,) = extend(load(), "cm", entry(memory=None, resources=None))
    assert problem.message == (
        "resources: name the extended resource that the device plugin advertises; "
        "memory: required, unless `unified: true` says that device memory is node memory"
    )


def test_an_entry_with_every_kind_of_part_is_taken() -> None:
    extended, problems = extend(load(), "cm", split(HALF, HALF | {"name": "b", "resource": "x.com/b"}))
    assert problems == ()
    partitions = extended.profiles["a"].partitions
    assert partitions is not None
    assert [template.memory_mib for template in partitions.templates] == [2048, 2048]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "profiles: []"])
def test_an_empty_text_adds_nothing(text: str) -> None:
    extended, problems = extend(load(), "cm", text)
    assert (extended.profiles, problems) == (load().profiles, ())
