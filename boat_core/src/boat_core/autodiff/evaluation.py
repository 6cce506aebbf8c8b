"""Jittor's switches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .backend import jt


@contextmanager
def with_derivatives() -> Iterator[None]:
    """Inside this block derivatives can be taken, also within `jt.no_grad()`, where Jittor says that all are zero.

    Of what is made in this block, that is: what was made in `no_grad` before has to be detached here first.
    """
    with jt.flag_scope(no_grad=0):
        yield
