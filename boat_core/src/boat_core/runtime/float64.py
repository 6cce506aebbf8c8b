"""Float64 beside float32 in one process: one of Jittor's kernels has to be made for the wider type first.

A scalar that two kernels read (the 1 with which every gradient begins, any constant used twice) is written out by a
kernel of its own, whose key in Jittor 1.3.11 lacks the dtype. The first one made then serves every dtype: made for
float32 it writes half of each float64 scalar, and products and gradients are wrong without any error. Made for float64
it copies 8 bytes, which is right for every dtype, as Jittor's allocator rounds blocks up to 512.
"""

from __future__ import annotations

_sound: dict[str, bool] = {}


def prime(device: str) -> None:
    """Make that kernel for float64 on this device, and see whether it is right: it is not if Jittor made it before."""
    import jittor
    import numpy

    if device not in _sound:
        scalar, *readers = (
            jittor.array(numpy.array(values), dtype="float64") for values in ([1.5], [1.0, 2.0], [[2.0], [4.0]])
        )
        products = [reader * scalar for reader in readers]
        jittor.sync(products)
        _sound[device] = [p.numpy().ravel().tolist() for p in products] == [[1.5, 3.0], [3.0, 6.0]]


def is_sound() -> bool:
    """Whether float64 arrays can be trusted in this process."""
    return all(_sound.values())
