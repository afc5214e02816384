"""Fingerprint of a model: what it computes, whatever file or name it was loaded by."""

import hashlib
import json

import torch

from hdemucs.model import Bag, Model, Network


def fingerprint(model: Model) -> str:
    """SHA-256 of a model's architecture, settings and weights, in hexadecimal.

    The segment is left out: it is how a model is applied, not what it has learnt.

    Args:
        model: A network, or a bag, whose members and their weights all count.
    """
    digest = hashlib.sha256()
    if isinstance(model, Bag):
        members = [fingerprint(member) for member, _ in model.members(model.sources)]
        digest.update(json.dumps([members, model.weights]).encode())
        return digest.hexdigest()
    assert isinstance(model, Network)
    settings = model.config.as_dict()
    del settings["segment"]
    digest.update(json.dumps([type(model).__name__, settings], sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(json.dumps([name, list(value.shape)]).encode())
        digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()
