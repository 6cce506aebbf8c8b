"""The numerical-approximation operations: they turn the lower trajectory into a hypergradient."""

from .cg import CG
from .fd import FD
from .foa import FOA
from .hyper_gradient import HyperGradient
from .iad import IAD
from .iga import IGA
from .ns import NS
from .ptt import PTT
from .rad import RAD
from .rgt import RGT
from .sequential_hg import makes_functional_na_operation

__all__ = [
    "CG",
    "FD",
    "FOA",
    "IAD",
    "IGA",
    "NS",
    "PTT",
    "RAD",
    "RGT",
    "HyperGradient",
    "makes_functional_na_operation",
]
