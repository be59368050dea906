"""The desired children of a model, a builder for each kind: values in, manifests out. Pure.

What a builder returns is a plain dict as JSON has it, with quantities written as the API server prints them, so that a
manifest and what stands in the cluster can be compared field by field.
"""
