"""Asks a served model over HTTP, as a process of its own where it has to stand on a node: needs nothing but Python.

    python client.py URL MODEL VALUE [--until FILE]

Prints one JSON object for each request: `at` (seconds of the machine's monotonic clock), and `answer` or `error`. Asks
once, or, with --until, twenty times a second until the file exists. A connection carries one request, so that each is
led anew to whoever serves.
"""

import argparse
import json
import time
import urllib.request
from pathlib import Path


def ask(url: str, name: str, value: int, timeout: float = 10) -> int:
    """What the model makes of one value. Raises OSError."""
    tensor = {"name": "X", "datatype": "INT32", "shape": [1], "data": [value]}
    request = urllib.request.Request(
        f"{url}/v2/models/{name}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json", "Connection": "close"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return int(json.load(answer)["outputs"][0]["data"][0])


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("value", type=int)
    parser.add_argument("--until", type=Path)
    arguments = parser.parse_args()
    while True:
        said: dict[str, object] = {"at": time.monotonic()}
        try:
            said["answer"] = ask(arguments.url, arguments.model, arguments.value)
        except OSError as error:
            said["error"] = str(error)
        print(json.dumps(said), flush=True)
        if arguments.until is None or arguments.until.exists():
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
