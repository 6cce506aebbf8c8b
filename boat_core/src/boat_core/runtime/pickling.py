"""Makes pickled Jittor arrays exact: Jittor 1.3.11 pickles float64 as float32 and int64 as int32, without an error."""

from __future__ import annotations

import copyreg

TYPE_CHECKING = False  # typing's own costs more to import than all that is here
if TYPE_CHECKING:
    from typing import Any


def make_exact() -> None:
    """Pickle Jittor arrays with their dtype from now on. A history is dropped, as before."""
    import jittor

    copyreg.pickle(jittor.Var, _reduced)


def _reduced(array: Any) -> tuple[Any, tuple[Any, bool]]:
    return restored_array, (array.numpy(), array.is_stop_grad())


def restored_array(values: Any, stopped: bool) -> Any:
    """Return a pickled array. `stopped`: it took no gradient."""
    import jittor

    array = jittor.array(values, dtype=str(values.dtype))
    return array.stop_grad() if stopped else array
