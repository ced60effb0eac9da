"""The paper's own procedure: mini-batches of triplets zipped with blocks of local images, on Lightning.

Nothing here loads Lightning until a fit runs.
"""

from glocal.solver.minibatch.minimise import Engine, minimise_by_batches
from glocal.solver.minibatch.sampled import SampledObjective, Step, epoch_steps
from glocal.solver.minibatch.training import Stopping, Training

__all__ = ["Engine", "SampledObjective", "Step", "Stopping", "Training", "epoch_steps", "minimise_by_batches"]
