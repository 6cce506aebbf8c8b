"""Steps of the lower optimizers and their adjoints, over all leaves at once.

Each exists twice: as a compiled kernel, and as the plain operators that define what the kernel computes.
"""

import boat_core as boat

from .adam import ADAM
from .sgd import SGD

STEPS = {boat.sgd: SGD, boat.adam: ADAM}
KERNELS = SGD.kernels + ADAM.kernels
