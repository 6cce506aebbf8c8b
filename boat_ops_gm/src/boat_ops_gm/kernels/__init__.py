"""Steps of the lower optimizers over all leaves at once, and their adjoints: by kernels, and by plain operators."""

from boat_core import adam, sgd

from .adam import ADAM
from .sgd import SGD

STEPS = {sgd: SGD, adam: ADAM}
KERNELS = SGD.kernels + ADAM.kernels
