"""What models are fetched from, and through: real servers on loopback, and what goes wrong between them and a node.

::

    registry    the CNCF's container registry, with users, tokens and TLS where wanted
    tokens      the server that hands out a registry's bearer tokens
    s3          an S3 server over a folder (versitygw)
    toxiproxy   a TCP proxy with faults to order: slow, late, cut, reset
    faults      a TCP proxy of our own, for what toxiproxy can't: bytes flipped, and faults at an exact byte
    forward     an HTTP proxy, as a site has one between its nodes and the world

Registry, s3 and toxiproxy are programs (see `program`), the others run in this process. Every one takes a free port; a
program keeps its data and its log in the state folder of the test run and is stopped by that folder's records, so
nothing outlives the run, not even one that was killed.
"""
