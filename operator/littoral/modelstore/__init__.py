"""Model delivery on the node: sources, digests, the content-addressed cache and the Triton repository.

Everything here runs in the fetch container of a serving pod (``python3 -m littoral.modelstore.fetch``), except
``report`` and ``request``, which the operator shares, and ``digest``, which is the command of that name.

The one invariant: **no byte is reachable by Triton before the SHA-256 of the whole artifact matched**. Bytes are
received into ``tmp/`` of the cache, verified, made durable and renamed; the repository links only to what was renamed.
Whatever dies at whatever byte leaves in ``tmp/`` rubbish, or the beginning of a file that the next run goes on with,
and nothing else. After a boot of the machine the content is compared with its listing before it is reachable again.

A source is one file in ``sources/`` and one line in its table of schemes.
"""
