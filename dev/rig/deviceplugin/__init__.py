"""An emulated device plugin: advertises a number of devices of any resource to a kubelet, over the kubelet's own API.

The stubs are generated from api.proto (the kubelet's v1beta1 API, less the options of its Go generator) each time the
plugin starts, in memory: generated files would have to match the installed protobuf, and these always do.
"""
