"""What README and docs/ show is what the API server takes, the catalogue reads, and the tree holds."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes
import pytest
import yaml

from littoral.accelerators import catalogue
from littoral.api.group import CATALOGUE_CONFIGMAP, GROUP, VERSION
from littoral.cli.main import main
from rig.controlplane import ControlPlane

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md")])
SHOWN = [page.relative_to(ROOT).as_posix() for page in PAGES]


def manifests(page: Path) -> Iterator[dict[str, Any]]:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        yield from yaml.safe_load_all(block)


OURS = [(page, body) for page in PAGES for body in manifests(page) if body["apiVersion"].startswith(GROUP)]
CATALOGUES = [body for page in PAGES for body in manifests(page) if body["metadata"]["name"] == CATALOGUE_CONFIGMAP]


def test_the_readme_shows_all_three_resources() -> None:
    """A slice is the operator's own: it is named, and shown where one is written by hand."""
    assert [body["kind"] for body in manifests(ROOT / "README.md")] == ["EdgeNode", "InferenceModel"]
    assert "GPUSlice" in {body["kind"] for body in manifests(ROOT / "docs" / "resources.md")}


@pytest.mark.parametrize("page", PAGES, ids=SHOWN)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=SHOWN)
def test_commands_that_are_shown_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for shown in re.findall(r"(?:^|`)make ([a-z][a-z -]*[a-z])", text, re.MULTILINE):
        assert set(shown.split()) <= targets, shown
    for words in re.findall(r"`littoral ([a-z][a-z -]*[a-z])", text):
        command: click.Command = main
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, words
            command = command.commands[word]


@pytest.mark.parametrize("body", CATALOGUES)
def test_catalogues_that_are_shown_are_read_without_a_problem(body: dict[str, Any]) -> None:
    for key, text in body["data"].items():
        _, problems = catalogue.extend(catalogue.load(), key, text)
        assert list(problems) == []


@pytest.mark.contract
@pytest.mark.parametrize(("page", "body"), OURS, ids=lambda value: value["kind"] if isinstance(value, dict) else "")
def test_manifests_that_are_shown_are_admitted_to_the_letter(
    control_plane: ControlPlane, crds: None, page: Path, body: dict[str, Any]
) -> None:
    """Strictly: a field that is not there would be dropped in silence otherwise."""
    with kubernetes.config.new_client_from_config(str(control_plane.kubeconfig)) as api:
        objects = kubernetes.client.CustomObjectsApi(api)
        where = (GROUP, VERSION, "default") if body["metadata"].get("namespace") else (GROUP, VERSION)
        create = objects.create_namespaced_custom_object if len(where) == 3 else objects.create_cluster_custom_object
        shown = {**body, "metadata": {"name": body["metadata"]["name"]}}
        stored = create(*where, body["kind"].lower() + "s", shown, dry_run="All", field_validation="Strict")
    assert stored["kind"] == body["kind"]


def test_each_decision_is_in_the_list() -> None:
    decisions = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (decisions / "README.md").read_text())
    assert listed == sorted(path.name for path in decisions.glob("[0-9]*.md"))
