"""The gradient-mapping operations: they build the lower trajectory."""

from .di import DI
from .dm import DM
from .dynamical_system import DynamicalSystem
from .gda import GDA
from .ngd import NGD
from .sequential_ds import makes_functional_dynamical_system

__all__ = ["DI", "DM", "GDA", "NGD", "DynamicalSystem", "makes_functional_dynamical_system"]
