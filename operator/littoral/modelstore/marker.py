"""The marker of an entry of the cache: that it is complete, and since when it is trusted.

It is a file beside the content, written last. Under the boot that it names the content is trusted as it is; under
another it is compared with its listing first, whose own digest the marker has.
"""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Marker:
    """What is known of an entry.

    `size` is the artifact's as fetched, `stored` what it takes on the disk (both in bytes), `boot` that under which it
    was verified, `listing` the digest of its listing's text, `kind` what its own digest is of
    (request.ModelRequest.kind).
    """

    digest: str
    size: int
    stored: int
    boot: str
    listing: str
    kind: str

    def dump(self) -> bytes:
        """Return the marker as it is written."""
        return json.dumps(asdict(self)).encode()


def parse(data: bytes, digest: str) -> Marker | None:
    """Return the marker of `digest` that `data` holds, None where it holds none."""
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        return None
    match read:
        case {
            "digest": str(of),
            "size": int(size),
            "stored": int(stored),
            "boot": str(boot),
            "listing": str(listing),
            "kind": str(kind),
        }:
            return Marker(of, size, stored, boot, listing, kind) if of == digest else None
    return None
