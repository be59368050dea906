"""What a Namespace says of its models, as it is read from labels and annotations."""

import pytest

from littoral.api import group
from littoral.modelstore.request import ModelRequest
from littoral.triton import namespace_policy
from littoral.triton.errors import Unservable
from littoral.triton.namespace_policy import NamespacePolicy


@pytest.mark.parametrize(
    ("labels", "annotations", "expected"),
    [
        ({}, {}, NamespacePolicy()),
        ({"littoral.dev/require-signature": "true"}, {}, NamespacePolicy(require_signature=True)),
        ({"littoral.dev/require-signature": "false"}, {}, NamespacePolicy()),
        ({}, {"littoral.dev/model-cache-quota": "20Gi"}, NamespacePolicy(quota=20 << 30)),
        ({}, {"littoral.dev/model-cache-quota": "1.5k"}, NamespacePolicy(quota=1500)),
    ],
)
def test_is_read(labels: dict[str, str], annotations: dict[str, str], expected: NamespacePolicy) -> None:
    assert namespace_policy.read("line", labels, annotations) == expected


def request(name: str, *, signed: bool) -> ModelRequest:
    return ModelRequest(name=name, uri="https://models.example/m", sha256="0" * 64, signed=signed)


def test_what_was_frozen_unsigned_is_not_begun_where_signatures_are_required() -> None:
    models = [request("a", signed=True), request("b", signed=False)]
    required = {group.LABEL_REQUIRE_SIGNATURE: "true"}

    with pytest.raises(Unservable, match="what was made of model b before that is not signed: sign its artifact"):
        namespace_policy.permit("line", required, models)
    namespace_policy.permit("line", required, models[:1])
    namespace_policy.permit("line", {}, models)


@pytest.mark.parametrize("text", ["", "20 GB", "much", "0", "-1Gi", "500m", "9e9999999", "1e5000"])
def test_a_quota_that_is_none_is_said(text: str) -> None:
    with pytest.raises(Unservable, match=r"Namespace line .*/model-cache-quota: .* such as 20Gi: correct") as caught:
        namespace_policy.read("line", {}, {group.ANNOTATION_CACHE_QUOTA: text})

    assert caught.value.reason == "QuotaInvalid"
