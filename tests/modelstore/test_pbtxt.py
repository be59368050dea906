"""Protobuf's text format, read with no schema: the same fields as protobuf itself reads with Triton's."""

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from littoral.modelstore import pbtxt
from littoral.modelstore.pbtxt import Malformed, parse, scalar

TEXTS: dict[str, list[tuple[str, Any]]] = {
    "": [],
    "# nothing\n": [],
    'name: "plate"': [("name", "plate")],
    "name:'plate';max_batch_size:-8,": [("name", "plate"), ("max_batch_size", "-8")],
    'name : "a" \'b\' # "c"\n "d"': [("name", "abd")],
    r'name: "\"\\\n\101\x42\u00e4\'"': [("name", "\"\\\nABä'")],
    'name: "# no } comment" platform: "x"': [("name", "# no } comment"), ("platform", "x")],
    "instance_group { kind: KIND_GPU }": [("instance_group", [("kind", "KIND_GPU")])],
    "instance_group: < kind: KIND_GPU >": [("instance_group", [("kind", "KIND_GPU")])],
    "instance_group [ { count: 1 }, { count: 2 } ]": [
        ("instance_group", [("count", "1")]),
        ("instance_group", [("count", "2")]),
    ],
    "instance_group: []": [],
    "input { name: 'x' dims: [ -1, 3 ] }": [("input", [("name", "x"), ("dims", "-1"), ("dims", "3")])],
    'parameters { key: "a" value { string_value: "1" } }': [
        ("parameters", [("key", "a"), ("value", [("string_value", "1")])])
    ],
}


def shown(fields: tuple[pbtxt.Field, ...]) -> list[tuple[str, Any]]:
    return [(f.name, f.value if isinstance(f.value, str) else shown(f.value)) for f in fields]


@pytest.mark.parametrize("text", TEXTS)
def test_the_fields_of_a_text(text: str) -> None:
    assert shown(parse(text)) == TEXTS[text]
    text_format.Parse(text, model_config_pb2.ModelConfig())  # it is one that Triton reads


@pytest.mark.parametrize("text", TEXTS)
def test_fields_are_kept_as_they_were_written(text: str) -> None:
    again = "\n".join(field.text for field in parse(text))

    assert shown(parse(again)) == TEXTS[text]
    read = text_format.Parse(again, model_config_pb2.ModelConfig())
    assert read == text_format.Parse(text, model_config_pb2.ModelConfig())


BROKEN = {
    'name: "plate': "line 1: a string is not closed",
    'name: "plate"\n}': "line 2: the name of a field is expected, at '}'",
    "input {\n  name: 'x'\n": "line 3: the name of a field is expected, at the end",
    "input [ { } { } ]": "line 1: a list is not closed",
    "name 'plate'": "line 1: ':' or a message is expected",
    "name:\n": "line 2: the value of a field is expected, at the end",
    "name: }": "line 1: the value of a field is expected",
    "input { > }": "line 1: the name of a field is expected",
    "ä{}=": "has no meaning here",
    "[a.b": "line 1: it ends too early",
    "a{" * 100: "more than 64 messages",
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_wrong_is_said_with_its_line(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text)

    assert BROKEN[text] in str(caught.value)
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text, model_config_pb2.ModelConfig())


def test_of_a_field_that_is_there_twice_the_last_counts() -> None:
    assert scalar(parse("name: 'a' name: 'b' input { name: 'c' }"), "name") == "b"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_reads_what_protobuf_writes(name: str, key: str) -> None:
    config = model_config_pb2.ModelConfig(name=name, backend="b")
    config.parameters[key].string_value = name
    config.instance_group.add(count=2)

    fields = parse(text_format.MessageToString(config))

    # Empty is proto3's default, which it does not write.
    assert (scalar(fields, "name") or "") == name
    assert [field.scalar("key") or "" for field in fields if field.name == "parameters"] == [key]


@given(st.text("{}[]<>:\"'\\#,ab\n", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        fields = parse(text)
    except Malformed:
        return
    assert shown(parse("\n".join(field.text for field in fields))) == shown(fields)
