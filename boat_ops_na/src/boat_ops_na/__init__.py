"""BOAT's numerical approximation operations: how the trajectory becomes a hypergradient."""

from .cg import CG
from .es import ES
from .fd import FD
from .foa import FOA
from .iad import IAD
from .iga import IGA
from .ns import NS
from .ptt import PTT
from .rad import RAD
from .rgt import RGT

__all__ = ["CG", "ES", "FD", "FOA", "IAD", "IGA", "NS", "PTT", "RAD", "RGT"]
