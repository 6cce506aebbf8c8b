"""Kernels of packs: functions of all leaves at once, compiled for the CPU and the GPU.

    @kernel(Path(__file__).with_name("krylov.cu"), like=("q", "r"), results=1)
    def residual_step(q, r, p, Ap, alpha):
        "q + αp, r - αAp, ‖r‖²"
        q, r = q + alpha * p, r - alpha * Ap
        return q, r, dot(r, r)

The decorated function says what the kernel computes, with plain operators. It is called if the kernel is not
available: without a compiler, with mixed dtypes, or if a solver has `kernels="plain"`. The source file holds a kernel
of the function's name, written with `boat_kernel.h`. The arguments are `Vector`s of one space, followed by numbers. The
results are vectors like those named in `like`, followed by `results` floats.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DeclarationError, SecondOrderError, StructureError
from .step_numbers import entering
from .switches import MODE

if TYPE_CHECKING:
    from .operators.library import KernelLibrary
    from .vectors import Vector


class Kernel:
    """One kernel, see the module. Call it like the function that it was made from, with positional arguments.

    The results are detached. A kernel has no derivative: a call is an error wherever one will be taken (in an
    objective, in the direction of a base map). Call `reference` there.
    """

    def __init__(self, reference: Callable[..., Any], source: Path, like: tuple[str, ...], results: int = 0) -> None:
        self.reference, self.source, self.results = reference, source, results
        self.name = reference.__name__
        #: The distribution and version that provides the kernel, for messages.
        self.origin = ""
        self.summary = (inspect.getdoc(reference) or "").split("\n")[0]
        parameters = inspect.signature(reference).parameters
        self.parameters = names = tuple(parameters)
        self._variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
        unknown = [name for name in like if name not in names]
        if unknown:
            expected = ", ".join(names)
            raise DeclarationError(f"kernel {self.name!r}: expected parameters {expected} (like names {unknown[0]!r})")
        if not self.summary or not (like or results):
            raise DeclarationError(f"kernel {self.name!r}: expected a docstring, and `like` or `results`")
        self._like = [names.index(name) for name in like]

    def __call__(self, *arguments: Any) -> Any:
        if MODE.get().differentiated:
            raise SecondOrderError(
                f"kernel {self.name}: it has no derivative, and what is computed here will be differentiated; "
                f"call {self.name}.reference"
            )
        if MODE.get().kernels and (results := self._run(arguments)) is not None:
            return results
        return tuple(value.detach() if hasattr(value, "detach") else value for value in self.reference(*arguments))

    def prepare(self) -> None:
        """Start to compile the source, if that is not done, without waiting for it."""
        _ = self._library

    @property
    def available(self) -> bool:
        """Whether the kernel can be used here. Compiles it if that is not done."""
        return bool(self._library and self._library.function(self.name))

    @cached_property
    def _library(self) -> KernelLibrary | None:
        from .operators import library

        return library.kernel_library(self.source, self.origin)

    def _run(self, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        from .arrays import to_numpy
        from .operators import library
        from .vectors import Vector

        operators = library.operators()
        address = self._library.function(self.name) if operators and self._library else 0
        if not address:
            return None
        vectors = [value for value in arguments if isinstance(value, Vector)]
        numbers = [float(entering(value)) for value in arguments[len(vectors) :]]
        leaves = len(vectors[0].leaves)
        if not self._variadic and len(arguments) != len(self.parameters):
            return None  # Python says what is wrong
        if any(len(vector.leaves) != leaves for vector in vectors):
            counts = ", ".join(str(len(vector.leaves)) for vector in vectors)
            raise StructureError(f"kernel {self.name}: expected vectors of one space (got {counts} leaves)")
        inputs = [leaf for vector in vectors for leaf in vector.leaves]
        outputs = operators.call(address, self.name, inputs, leaves, self._like, self.results, numbers)
        if not outputs:
            return None
        made = [
            vectors[like].like(outputs[place * leaves : (place + 1) * leaves]) for place, like in enumerate(self._like)
        ]
        results = to_numpy(outputs[-1]).tolist() if self.results else []
        return (*made, *results)


def kernel(source: Path, like: tuple[str, ...], results: int = 0) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a kernel of the decorated function, see the module.

    Args:
        source: the `.cu` file that holds the kernel. g++ compiles it for the CPU, nvcc for the GPU.
        like: for each vector that the kernel returns, the name of a parameter of the same space. It is empty if the
            kernel returns only numbers.
        results: how many floats the kernel returns after the vectors.

    Raises:
        DeclarationError: `like` names something that is no parameter, or the function has no docstring.
    """
    return lambda reference: Kernel(reference, source, like, results)


@dataclass(frozen=True)
class FusedStep:
    """An optimizer's step over all leaves, and its adjoint, as kernels compute them.

    Args:
        advance: `(options, y, g, state) -> (y', state')`.
        pull: `(options, y, g, state, p, q) -> (p_y, q_state, p_g)`, from the cotangents p of y' and q of state' to
            those of y, state and g, all at the values before the step.
        kernels: what they use.
        serves: `(options) -> bool`, whether they do the step of an optimizer with these options; all, by default.

    y and g are `Vector`s; a state is a dictionary of vectors like y and of numbers, under the names that the optimizer
    gives them; cotangents of states have the vectors alone. `options` are the optimizer's.
    """

    advance: Callable[..., tuple[Vector, Mapping[str, Any]]]
    pull: Callable[..., tuple[Vector, Mapping[str, Vector], Vector]]
    kernels: tuple[Kernel, ...] = ()
    serves: Callable[[Any], bool] = lambda options: True
