"""The Triton model repository: what an artifact must hold, what it gets beside, what is said when it is no model."""

import logging
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tests.modelstore.conftest import Member, Namespace, onnx, special, tar
from tritonclient.grpc import model_config_pb2

from littoral.modelstore.report import Report

WRONG: dict[str, tuple[dict[str, Member], str]] = {
    "no version": ({"a.onnx": b"x", "b.onnx": b"x"}, "no version folder (1/) at its root; pack the content"),
    "a file of another format": ({"model.plan": b"x"}, "no version folder (1/) at its root; pack the content"),
    "one folder too deep": ({"plate/1/model.onnx": b"x"}, "one in 'plate'/; pack the folder's content: tar -C plate"),
    "version zero": ({"0/model.onnx": b"x"}, "no version folder"),
    "version is a file": ({"1": b"x"}, "no version folder"),
    "config of another model": ({"1/m": b"", "config.pbtxt": b'name: "car"'}, "names the model 'car'"),
    "config is no text": ({"1/m": b"", "config.pbtxt": b"\xff\xfe"}, "UTF-8"),
    "config is a folder": ({"1/m": b"", "config.pbtxt/x": b""}, "at most 1 MiB"),
    "config is a link": ({"1/m": b"", "config.pbtxt": special(b"2", "1/m")}, "must be a file"),
    "config is not text format": ({"1/m": b"", "config.pbtxt": b'name: "plate"\n}'}, "line 2: the name of a field"),
    "a whole repository": ({"a/1/m": b"", "b/2/m": b""}, "2 folders that have one: for a whole repository set layout"),
    "config is huge": ({"1/m": b"", "config.pbtxt": b"#" * (1 << 20) + b"#"}, "at most 1 MiB"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_archive_that_is_no_model_directory(namespace: Namespace, case: str) -> None:
    members, words = WRONG[case]
    body = tar(members)
    namespace.import_file("m.tar", body)

    report = namespace.fetch(onnx("file:///import/m.tar", body))

    assert report.reason == "LayoutInvalid"
    assert words in report.message
    assert not (namespace.repository / "plate").exists()


def test_a_zip_is_not_laid_out_as_a_model_unless_it_is_torchscript(namespace: Namespace) -> None:
    body = b"PK\x03\x04 and so on"
    namespace.import_file("m", body)

    assert "zip" in namespace.fetch(onnx("file:///import/m", body)).message
    assert namespace.fetch(onnx("file:///import/m", body, format="pytorch")).ok
    assert (namespace.repository / "plate" / "1" / "model.pt").read_bytes() == body


def test_a_folder_that_holds_one_file_of_the_format_is_that_file(
    namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    """As a registry's artifact of one layer is."""
    with caplog.at_level(logging.INFO):
        report = bring(namespace, {"plate-7.onnx": b"weights", "config.pbtxt": b"max_batch_size: 4", "model.sig": b""})
    assert report.ok, report
    folder = namespace.repository / "plate"
    assert (folder / "1" / "model.onnx").read_bytes() == b"weights"
    assert (config_of(folder).max_batch_size, kinds(folder)) == (4, ["KIND_GPU"])
    assert "the artifact is the file 'plate-7.onnx', laid out as version 1" in caplog.text


def test_what_an_earlier_run_of_the_pod_left_is_replaced(namespace: Namespace) -> None:
    old, new = tar({"1/model.py": b"old", "2/model.py": b"old"}), tar({"3/model.py": b"new"})
    for body in (old, new):
        namespace.import_file("m.tar", body)
        assert namespace.fetch(onnx("file:///import/m.tar", body)).ok

    assert sorted(path.name for path in (namespace.repository / "plate").iterdir()) == ["3", "config.pbtxt"]


def test_what_is_no_folder_in_the_repository_goes_and_nothing_that_it_leads_to(
    namespace: Namespace, tmp_path: Path
) -> None:
    """Whatever Triton's user made there must not keep the pod from its next start."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (namespace.repository / "stray").write_text("x")
    (namespace.repository / "folder").symlink_to(tmp_path / "elsewhere")
    (namespace.repository / "nowhere").symlink_to("nothing")

    assert bring(namespace, {"1/model.py": b"pass"}).ok

    assert [path.name for path in namespace.repository.iterdir()] == ["plate"]
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_a_message_names_some_folders_and_counts_the_others(namespace: Namespace) -> None:
    members: dict[str, Member] = {f"m{number:03}/1/model.py": b"" for number in range(200)}

    report = bring(namespace, members, layout="Repository")

    assert report.reason == "LayoutInvalid"
    assert report.message.endswith("the folders there: " + ", ".join(f"'m00{n}'" for n in range(8)) + " and 192 more")


GENERATED = """name: "plate"
backend: "onnxruntime"
instance_group [
  {
    count: 1
    kind: KIND_GPU
  }
]
parameters {
  key: "device_ids"
  value {
    string_value: "0"
  }
}
"""
ENSEMBLE = b'platform: "ensemble" ensemble_scheduling { step { model_name: "detect" model_version: -1 } }'
MEMBERS: dict[str, Member] = {
    "plate/config.pbtxt": ENSEMBLE,
    "detect/config.pbtxt": b'backend: "onnxruntime"',
    "detect/1/model.onnx": b"weights",
    "read/config.pbtxt": b'name: "read" backend: "python" instance_group { kind: KIND_CPU }',
    "read/2/model.py": b"pass",
    "README.md": b"of nobody",
    ".git/config": b"of a tool",
}


def bring(namespace: Namespace, members: dict[str, Member], **changes: object) -> Report:
    body = tar(members)
    namespace.import_file("m.tar", body)
    return namespace.fetch(onnx("file:///import/m.tar", body, **{"config": GENERATED, **changes}))


def config_of(folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def kinds(folder: Path) -> list[str]:
    name = model_config_pb2.ModelInstanceGroup.Kind.Name
    return [name(group.kind) for group in config_of(folder).instance_group]


def test_a_models_own_config_wins_field_by_field_and_what_is_added_is_said(
    namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    own = b'max_batch_size: 8\nbackend: "onnxruntime"\ninput { name: "image" data_type: TYPE_FP32 dims: [3] } # ours'
    with caplog.at_level(logging.INFO):
        report = bring(namespace, {"1/model.onnx": b"x", "config.pbtxt": own})

    assert report.ok, report
    folder = namespace.repository / "plate"
    config = config_of(folder)
    assert (folder / "config.pbtxt").read_text().startswith(own.decode())
    assert (config.name, config.backend, config.max_batch_size) == ("plate", "onnxruntime", 8)
    assert kinds(folder) == ["KIND_GPU"]
    assert config.parameters["device_ids"].string_value == "0"
    assert "says nothing of name, instance_group, parameters device_ids: added for this accelerator" in caplog.text


def test_a_whole_repository_becomes_a_model_for_each_folder(namespace: Namespace) -> None:
    report = bring(namespace, MEMBERS, layout="Repository")

    assert report.ok, report
    assert sorted(path.name for path in namespace.repository.iterdir()) == ["detect", "plate", "read"]
    assert (namespace.repository / "detect" / "1" / "model.onnx").read_bytes() == b"weights"
    assert (namespace.repository / "read" / "2" / "model.py").read_bytes() == b"pass"


def test_each_model_of_a_repository_runs_on_the_accelerator_unless_its_config_says_where(namespace: Namespace) -> None:
    assert bring(namespace, MEMBERS, layout="Repository").ok

    folders = {path.name: path for path in namespace.repository.iterdir()}
    assert {name: kinds(folder) for name, folder in folders.items()} == {
        "plate": [],
        "detect": ["KIND_GPU"],
        "read": ["KIND_CPU"],
    }
    assert config_of(folders["detect"]).name == "", "the generated name is another model's"
    assert dict(config_of(folders["read"]).parameters) == {}, "they are another backend's"
    assert "device_ids" in config_of(folders["detect"]).parameters


def test_an_ensemble_gets_the_empty_version_folder_that_triton_wants(namespace: Namespace) -> None:
    assert bring(namespace, MEMBERS, layout="Repository").ok

    assert list((namespace.repository / "plate" / "1").iterdir()) == []
    assert (namespace.repository / "plate" / "config.pbtxt").read_bytes() == ENSEMBLE


WRONG_REPOSITORY: dict[str, tuple[dict[str, Member], str]] = {
    "no entry": ({"a/1/m": b"", "a/config.pbtxt": b""}, "needs a folder 'plate' at the artifact's root"),
    "nothing": ({"README": b""}, "the folders there: none"),
    "no config": (MEMBERS | {"more/1/m": b""}, "more/ has no config.pbtxt"),
    "no version": (MEMBERS | {"more/config.pbtxt": b"", "more/a": b""}, "more/ has no version folder (more/1/)"),
    "an ensemble whose version is a file": (MEMBERS | {"plate/1": b""}, "plate/ has no version folder"),
    "another name": (MEMBERS | {"read/config.pbtxt": b"name: 'x'"}, "config.pbtxt of 'read' names the model 'x'"),
    "no model's name": (MEMBERS | {"a b/config.pbtxt": ENSEMBLE}, "'a b' cannot be a model's name"),
}


@pytest.mark.parametrize("case", WRONG_REPOSITORY)
def test_what_is_no_repository_is_refused_whole(namespace: Namespace, case: str) -> None:
    members, words = WRONG_REPOSITORY[case]

    report = bring(namespace, members, layout="Repository")

    assert (report.outcome, report.reason) == ("failed", "LayoutInvalid")
    assert words in report.message
    assert list(namespace.repository.iterdir()) == []


def test_a_single_file_is_no_repository(namespace: Namespace) -> None:
    namespace.import_file("m.onnx", b"x")

    report = namespace.fetch(onnx("file:///import/m.onnx", b"x", layout="Repository"))

    assert (report.reason, "needs a folder or an archive" in report.message) == ("LayoutInvalid", True)


def test_two_artifacts_that_bring_one_name_cannot_share_a_server(namespace: Namespace) -> None:
    whole = tar(MEMBERS)
    namespace.import_file("whole.tar", whole)
    namespace.import_file("m.onnx", b"x")
    first = onnx("file:///import/whole.tar", whole, layout="Repository", config=GENERATED)
    second = onnx("file:///import/m.onnx", b"x", name="detect")

    report = namespace.fetch(first, second, partial=True)

    assert (report.outcome, report.reason) == ("partial", "LayoutInvalid")
    assert "model detect: its artifact and that of model plate both bring a model 'detect'" in report.message
    assert (namespace.repository / "detect" / "1" / "model.onnx").read_bytes() == b"weights"


def test_a_failure_leaves_nothing_that_triton_would_load(namespace: Namespace) -> None:
    """With --load-model=* it loads whatever is there: neither a draft nor what the run before had."""
    namespace.import_file("m.onnx", b"x")
    good = onnx("file:///import/m.onnx", b"x", name="good")
    assert bring(namespace, MEMBERS, layout="Repository").ok
    bad = tar(MEMBERS | {"more/1/m": b""})
    namespace.import_file("bad.tar", bad)

    namespace.fetch(onnx("file:///import/bad.tar", bad, layout="Repository"), good, partial=True)

    assert [path.name for path in namespace.repository.iterdir()] == ["good"]
