"""The Triton model directory: what an archive must hold and what it is told when it does not."""

import pytest
from tests.modelstore.conftest import Member, Namespace, onnx, tar

from littoral.modelstore.layout import config_name

WRONG: dict[str, tuple[dict[str, Member], str]] = {
    "no version": ({"model.onnx": b"x"}, "no version folder (1/) at its root; pack the content"),
    "one folder too deep": ({"plate/1/model.onnx": b"x"}, "one in 'plate'/; pack the folder's content: tar -C plate"),
    "version zero": ({"0/model.onnx": b"x"}, "no version folder"),
    "version is a file": ({"1": b"x"}, "no version folder"),
    "config of another model": ({"1/m": b"", "config.pbtxt": b'name: "car"'}, "names the model 'car'"),
    "config is no text": ({"1/m": b"", "config.pbtxt": b"\xff\xfe"}, "UTF-8"),
    "config is a folder": ({"1/m": b"", "config.pbtxt/x": b""}, "at most 1 MiB"),
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


def test_what_an_earlier_run_of_the_pod_left_is_replaced(namespace: Namespace) -> None:
    old, new = tar({"1/model.py": b"old", "2/model.py": b"old"}), tar({"3/model.py": b"new"})
    for body in (old, new):
        namespace.import_file("m.tar", body)
        assert namespace.fetch(onnx("file:///import/m.tar", body)).ok

    assert sorted(path.name for path in (namespace.repository / "plate").iterdir()) == ["3", "config.pbtxt"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('name: "plate"', "plate"),
        ("name:'plate'", "plate"),
        ('# name: "x"\nname : "plate" # name: "y"', "plate"),
        ('input [ { name: "image" } ]', None),
        ('input { name: "image" }\nname: "plate"', "plate"),
        ('parameters { key: "name" value { string_value: "} name: x" } } name: "plate"', "plate"),
        ('backend: "name"', None),
        ("", None),
        ("name:", ""),
        ("]]] name", None),
    ],
)
def test_the_name_of_a_config_is_its_own(text: str, name: str | None) -> None:
    assert config_name(text) == name
