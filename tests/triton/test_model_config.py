"""The generated config.pbtxt, read back with Triton's own message."""

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from littoral.triton import model_config


def parse(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("kind", ["KIND_GPU", "KIND_CPU", "KIND_MODEL"])
def test_names_backend_and_kind(kind: str) -> None:
    config = parse(model_config.generate("plate_reader", "onnxruntime", kind))

    assert (config.name, config.backend) == ("plate_reader", "onnxruntime")
    (group,) = config.instance_group
    assert model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind) == kind
    assert group.count == 1


def test_says_nothing_that_was_not_asked_for() -> None:
    config = parse(model_config.generate("m", "python", "KIND_CPU"))

    assert {field.name for field, _ in config.ListFields()} == {"name", "backend", "instance_group"}


def test_automatic_kind_is_left_unwritten() -> None:
    text = model_config.generate("m", "npu_ge", "KIND_AUTO")

    assert "kind" not in text
    assert len(parse(text).instance_group) == 1


def test_brings_the_backends_parameters() -> None:
    config = parse(model_config.generate("m", "npu_ge", "KIND_AUTO", {"device_ids": "0", "a": 'b"'}))

    assert {key: value.string_value for key, value in config.parameters.items()} == {"device_ids": "0", "a": 'b"'}


def test_the_order_of_parameters_makes_no_other_text() -> None:
    one, two = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}

    assert model_config.generate("m", "b", "KIND_GPU", one) == model_config.generate("m", "b", "KIND_GPU", two)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_breaks_out_of_its_quotes(name: str, backend: str) -> None:
    config = parse(model_config.generate(name, backend, "KIND_GPU"))

    assert (config.name, config.backend, len(config.instance_group)) == (name, backend, 1)


@pytest.mark.parametrize("kind", ["KIND_GPU }", "", "a b", "KIND_GPU\n"])
def test_a_kind_that_is_no_word_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="is not a kind of Triton instance"):
        model_config.generate("m", "python", kind)
