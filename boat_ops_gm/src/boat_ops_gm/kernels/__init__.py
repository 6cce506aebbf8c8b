"""Steps of the lower optimizers over all leaves at once, and their adjoints: by kernels, and by plain operators."""

import boat_core as boat

from .adam import ADAM
from .sgd import SGD

STEPS = {boat.sgd: SGD, boat.adam: ADAM}
KERNELS = SGD.kernels + ADAM.kernels
