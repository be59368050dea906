"""Sends a photograph to a served plate_reader and prints the text that was read, one line each.

    python client.py --url HOST:PORT [--grpc] [--image PHOTO] [--model NAME] [--json]

Exit status: 0 when something was read, 1 when the picture holds no readable text, 2 when the server could not be
reached or refused the picture (the reason is on standard error).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

PICTURE = Path(__file__).with_name("plate.jpg")


def main() -> int:
    """Read the arguments, ask the server, print what it read."""
    parser = argparse.ArgumentParser(description="Read the text off a photograph with a served plate_reader.")
    parser.add_argument("--url", required=True, help="host:port of Triton: its HTTP port, or with --grpc its gRPC port")
    parser.add_argument("--grpc", action="store_true", help="call over gRPC")
    parser.add_argument("--image", type=Path, default=PICTURE, help="a JPEG or PNG file (default: %(default)s)")
    parser.add_argument("--model", default="plate_reader", help="the model's name (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for the answer (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print text, score and corners as JSON")
    arguments = parser.parse_args()
    try:
        picture = arguments.image.read_bytes()
        found = read(arguments.url, picture, model=arguments.model, grpc=arguments.grpc, timeout=arguments.timeout)
    except (OSError, InferenceServerException) as error:
        print(f"{arguments.image} could not be read by {arguments.model} at {arguments.url}: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
    elif found:
        print("\n".join(f"{text['text']}  ({text['score']:.2f})" for text in found))
    else:
        print("no readable text", file=sys.stderr)
    return 0 if found else 1


def read(
    url: str, picture: bytes, *, model: str = "plate_reader", grpc: bool = False, timeout: float = 30.0
) -> list[dict[str, object]]:
    """Return what the model at `url` reads off the bytes of a JPEG or PNG file, in reading order.

    Each entry has `text`, `score` (0 to 1) and `box` (four corners in pixels, clockwise from the text's top left).

    Raises:
        OSError, InferenceServerException: no server answered within `timeout` seconds, or it refused the picture.

    """
    data = np.frombuffer(picture, dtype=np.uint8)
    if grpc:
        image = triton_grpc.InferInput("IMAGE", [data.size], "UINT8")
        image.set_data_from_numpy(data)
        with triton_grpc.InferenceServerClient(url) as client:
            answer = client.infer(model, [image], client_timeout=timeout)
    else:
        image = triton_http.InferInput("IMAGE", [data.size], "UINT8")
        image.set_data_from_numpy(data)
        client_options = {"connection_timeout": timeout, "network_timeout": timeout}
        with triton_http.InferenceServerClient(url, **client_options) as client:
            answer = client.infer(model, [image])
    texts, scores, boxes = (answer.as_numpy(name) for name in ("TEXT", "SCORE", "BOX"))
    return [
        {"text": text.decode(), "score": round(float(score), 4), "box": box.astype(float).round(1).tolist()}
        for text, score, box in zip(texts, scores, boxes, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
