"""Makes float64 safe beside float32 in one process: one of Jittor's kernels must be compiled for float64 first.

A scalar that two kernels read (the 1 with which every gradient begins, or any constant used twice) is written by a
kernel of its own. In Jittor 1.3.11 the key of that kernel lacks the dtype, so the first one that is compiled serves
every dtype. If it was compiled for float32, it writes half of each float64 scalar, and products and gradients are wrong
without an error. If it was compiled for float64, it copies 8 bytes. That is right for every dtype, because Jittor's
allocator rounds blocks up to 512 bytes.
"""

from __future__ import annotations

_sound: dict[str, bool] = {}


def prime(device: str) -> None:
    """Compile that kernel for float64 on this device, and test it. It is wrong if Jittor compiled it before."""
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
