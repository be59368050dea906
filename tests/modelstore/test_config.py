"""What a model's own config.pbtxt gets of the generated one, read with Triton's own message."""

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from littoral.modelstore.config import ACCELERATOR, complete, is_ensemble, name

GENERATED = """name: "plate"
backend: "npu_ge"
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
parameters {
  key: "static_model"
  value {
    string_value: "1"
  }
}
"""
ENSEMBLE = 'platform: "ensemble" ensemble_scheduling { step { model_name: "a" model_version: -1 } }'
ADDED: dict[str, tuple[str, ...]] = {
    "": ("name", "backend", "instance_group", "parameters device_ids", "parameters static_model"),
    'name: "plate"': ("backend", "instance_group", "parameters device_ids", "parameters static_model"),
    'backend: "npu_ge"  # ours': ("name", "instance_group", "parameters device_ids", "parameters static_model"),
    'backend: "python"': ("name", "instance_group"),
    'platform: "onnxruntime_onnx"': ("name", "instance_group"),
    "instance_group [ { kind: KIND_CPU count: 3 } ]": (
        "name", "backend", "parameters device_ids", "parameters static_model",
    ),
    "instance_group []": ("name", "backend", "instance_group", "parameters device_ids", "parameters static_model"),
    'input { name: "name" } # name: "x"': (
        "name", "backend", "instance_group", "parameters device_ids", "parameters static_model",
    ),
    'parameters [{ key: "device_ids" value { string_value: "3" } }, { key: "mine" }]': (
        "name", "backend", "instance_group", "parameters static_model",
    ),
    ENSEMBLE: (),
    'platform: "ensemble"': (),
}  # fmt: skip


def read(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("own", ADDED)
def test_gets_what_it_lacks_and_keeps_what_it_says(own: str) -> None:
    text, added = complete(own, GENERATED)

    assert added == ADDED[own]
    assert text.startswith(own.strip())
    mine, whole = read(own), read(text)
    for field, value in mine.ListFields():
        if field.name == "parameters":
            assert {key: whole.parameters[key] for key in mine.parameters} == dict(mine.parameters)
        else:
            assert getattr(whole, field.name) == value


@pytest.mark.parametrize(
    ("own", "added"),
    [
        ("", ("instance_group",)),
        ('backend: "npu_ge"', ("instance_group", "parameters device_ids", "parameters static_model")),
        ('backend: "python" instance_group { kind: KIND_CPU }', ()),
        (ENSEMBLE, ()),
    ],
)
def test_another_model_than_the_generated_gets_what_the_hardware_asks_for_alone(
    own: str, added: tuple[str, ...]
) -> None:
    assert complete(own, GENERATED, only=ACCELERATOR)[1] == added


def test_what_lacks_nothing_is_not_a_character_different() -> None:
    own = "\n\n" + GENERATED + "# the end, without a newline"

    assert complete(own, GENERATED) == (own, ())


def test_an_ensemble_and_a_models_name() -> None:
    assert is_ensemble(ENSEMBLE)
    assert not is_ensemble('name: "ensemble" # platform: "ensemble"')
    assert name('input { name: "x" } name: "plate"') == "plate"
    assert name('input { name: "x" }') is None


@given(st.sets(st.sampled_from(["name", "backend", "instance_group", "max_batch_size", "input"])))
def test_completed_once_it_is_complete(present: set[str]) -> None:
    fields = {
        "name": 'name: "plate"',
        "backend": 'backend: "npu_ge"',
        "instance_group": "instance_group { kind: KIND_CPU }",
        "max_batch_size": "max_batch_size: 8",
        "input": 'input [{ name: "x" data_type: TYPE_FP32 dims: [1] }]',
    }
    text, _ = complete(" ".join(fields[field] for field in sorted(present)), GENERATED)

    assert complete(text, GENERATED) == (text, ())
    assert read(text).name == "plate"
