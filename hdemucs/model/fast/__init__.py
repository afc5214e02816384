"""Networks for inference: the results of the trained layers, faster and in less memory.

`prepare` copies a network and replaces its layers by their fast forms. The network itself stays as it is
trained, traced and exported.
"""

from hdemucs.model.fast.prepare import prepare

__all__ = ["prepare"]
