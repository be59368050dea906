"""Files, folders and standard input; and that each complaint names its file, its line and what to do."""

import json
from pathlib import Path

import pytest
import yaml
from tests.cli.manifests import edge, model, plan_json, run, t4, write


def nodes(document: dict[str, object]) -> list[str]:
    return [each["name"] for each in document["nodes"]]  # type: ignore[attr-defined]


def test_a_folder_is_read_with_the_folders_in_it_and_nothing_but_manifests(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "a.yaml", t4("one"))
    write(tmp_path / "deep" / "b.yml", t4("two"))
    (tmp_path / "deep" / "er" / "c.json").write_text(json.dumps(t4("three")))
    (tmp_path / "README.md").write_text("{{ no manifest }}")
    (tmp_path / "kustomization.yaml").write_text("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n")
    (tmp_path / "values.yaml").write_text("replicas: 3\n")  # a chart's: no Kubernetes object, and nobody says it is one
    assert nodes(plan_json("-f", tmp_path)) == ["one", "three", "two"]


def test_several_documents_lists_and_typed_lists_are_read(tmp_path: Path) -> None:
    typed = t4("three")
    del typed["kind"], typed["apiVersion"]
    lists = [
        {"apiVersion": "v1", "kind": "List", "items": [t4("one"), t4("two")]},
        {"apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": [typed]},
    ]
    text = "---\n" + "---\n".join(yaml.safe_dump(each) for each in [*lists, t4("four")]) + "---\n"
    (tmp_path / "dump.yaml").write_text(text)
    assert nodes(plan_json("-f", tmp_path / "dump.yaml")) == ["four", "one", "three", "two"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_standard_input_is_read_as_any_shell_writes_it(encoding: str) -> None:
    result = run("plan", "-f", "-", "--json", stdin=yaml.safe_dump(t4("one")).encode(encoding))
    assert result.exit_code == 0
    assert nodes(json.loads(result.stdout)) == ["one"]


def test_json_may_be_set_in_by_tabs() -> None:
    result = run("plan", "-f", "-", "--json", stdin=json.dumps(t4("one"), indent="\t").encode())
    assert nodes(json.loads(result.stdout)) == ["one"]


BROKEN = {
    "no YAML": ("a: 1\nb: }\n", "m.yaml:2: the text is no YAML: "),
    "a template": ("kind: {{ .Kind }}\n", "m.yaml:1: the text is no YAML: "),
    "no kind": ("apiVersion: v1\nmetadata: {name: x}\n", "m.yaml:1: this is no Kubernetes object: kind is missing"),
    "no apiVersion": ("kind: Node\nmetadata: {name: x}\n", "this is no Kubernetes object: apiVersion is missing"),
    "no name": ("apiVersion: v1\nkind: Node\n", "m.yaml:1: Node without a name: metadata.name is missing"),
    "a list": ("- 1\n", "a mapping with apiVersion, kind and metadata is expected"),
    "an item": (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n- {}\n",
        "m.yaml:6: this is no Kubernetes object: apiVersion is missing",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_manifest_is_named_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    result = run("plan", "-f", tmp_path / "m.yaml")
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stdout == ""


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("plan", "-f", tmp_path / "absent.yaml", "-f", tmp_path / "empty")
    assert result.exit_code == 2
    assert "absent.yaml: there is no such file or folder" in result.stderr
    result = run("plan", "-f", tmp_path / "empty")
    assert "empty: holds no .yaml, .yml or .json file" in result.stderr


def test_text_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xff\x00\xff")
    result = run("plan", "-f", tmp_path / "m.yaml")
    assert (result.exit_code, "m.yaml: the text is not UTF-8" in result.stderr) == (2, True)


def test_an_object_that_is_there_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", edge("one"))
    write(tmp_path / "b.yaml", t4("one"), edge("one"))
    result = run("plan", "-f", tmp_path)
    assert result.exit_code == 2
    places = f"{tmp_path.as_posix()}/b.yaml:25: EdgeNode one is there twice, first in {tmp_path.as_posix()}/a.yaml:1"
    assert places in result.stderr


def test_of_two_files_the_later_one_holds(tmp_path: Path) -> None:
    old = write(tmp_path / "old.yaml", t4("one"), model(replicas=2))
    new = write(tmp_path / "new.yaml", model(replicas=0))
    assert plan_json("-f", old, "-f", new)["models"][0]["wanted"] == 0
    assert plan_json("-f", new, "-f", old)["models"][0]["wanted"] == 2
