"""Arguments by the release of the Triton that gets them: an older one ends on a word that it does not know."""

import pytest
from tests.triton.conftest import Json, make_model, make_platform

from littoral.triton import pod_template, release

ARGUMENTS = ["--always", {"text": "--late", "since": "25.09"}]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nvcr.io/nvidia/tritonserver:26.07-py3", "26.07"),
        ("nvcr.io/nvidia/tritonserver:26.07-py3-igpu", "26.07"),
        ("registry.local:5000/triton:24.12", "24.12"),
        ("registry.local:5000/triton:24.12-mine@sha256:0123", "24.12"),
        ("registry.local:5000/triton", ""),
        ("registry.local:26.07/triton", ""),
        ("registry.local/triton:latest", ""),
        ("registry.local/triton:v26.07", ""),
        ("registry.local/triton:26.071", ""),
        ("registry.local/triton@sha256:0123", ""),
        ("", ""),
    ],
)
def test_reads_the_release_off_an_images_tag(image: str, expected: str) -> None:
    assert release.of_image(image) == expected


@pytest.mark.parametrize(
    ("stack", "serving", "known"),
    [
        ({"triton": "26.07"}, {}, True),
        ({"triton": "25.09"}, {}, True),
        ({"triton": "25.08"}, {}, False),
        ({"triton": "24.12"}, {}, False),
        ({"triton": "26.01"}, {}, True),
        ({"triton": ""}, {}, False),
        ({"triton": "24.12"}, {"image": "mine:26.07-py3"}, True),
        ({"triton": "26.07"}, {"image": "mine:24.12-py3"}, False),
        ({"triton": "26.07"}, {"image": "mine:latest"}, False),
    ],
)
def test_an_argument_is_given_only_to_releases_that_know_it(stack: Json, serving: Json, known: bool) -> None:
    model = make_model({"serving": serving})
    platform = make_platform({"arguments": ARGUMENTS, **stack})

    template = pod_template.build(model, model.spec.variants[0], platform, fetch_image="f", revision="r")
    (server,) = template["spec"]["containers"]

    assert "--always" in server["args"]
    assert ("--late" in server["args"]) is known
