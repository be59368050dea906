"""The catalogue: what is shipped, what a user may add, and how a broken entry is refused."""

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


def test_what_is_shipped_can_be_read() -> None:
    shipped = load()
    assert set(shipped.profiles) == {"cpu", "t4", "jetson-orin-nx-16gb"}
    assert shipped.profiles["jetson-orin-nx-16gb"].unified
    assert all(profile.stacks[0].image for profile in shipped.profiles.values())
    assert all(figure.source for profile in shipped.profiles.values() for figure in profile.tops)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("t4", {"t4", "emulated-t4"}),
        ("emulated-t4", {"emulated-t4"}),
        ("jetson-orin", {"jetson-orin-nx-16gb"}),
        ("cpu", {"cpu"}),
        ("*", {"t4", "emulated-t4", "jetson-orin-nx-16gb"}),
        ("ascend-310p", set()),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(sharing=["wohle"]), "sharing.0: Input should be 'whole', 'counted' or 'cpu'"),
        (entry(memory="4 gigs"), "memory: '4 gigs' is not a quantity: write a number with a suffix such as Mi or Gi"),
        (entry(overhead="x"), "overhead: 'x' is not a quantity: write a number with a suffix such as Mi or Gi"),
        (entry(memory=None), "memory: required, unless `unified: true` says that device memory is node memory"),
        (entry(resources=None), "resources: name the extended resource that the device plugin advertises"),
        (entry(stacks=[{}]), "stacks.image: name the Triton image, or say in imageReason why there is none"),
        (entry(stacks=[{"image": "i", "Args": []}]), "stacks.0.Args: no such field"),
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


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "profiles: []"])
def test_an_empty_text_adds_nothing(text: str) -> None:
    extended, problems = extend(load(), "cm", text)
    assert (extended.profiles, problems) == (load().profiles, ())
