"""The soft spiking neuron of CS3D: what exceeds a threshold passes, without memory.

Source: CS3D, arXiv 2512.09592: y = x where x > theta, else 0; the gradient that training uses is
sigmoid(beta (x - theta)), which does not vanish just below the threshold. Forwards it is ONNX's
ThresholdedRelu.
"""

import torch
from torch import nn


class SoftSpike(torch.autograd.Function):
    """
    x where x > theta, else 0.

    Backwards: for x, sigmoid(beta (x - theta)) as the paper has it. For a learnt theta, the
    derivative of the neuron with a soft gate, x sigmoid(beta (x - theta)), as the true one is
    zero but where x = theta: -beta x s (1 - s) with s the sigmoid.
    """

    @staticmethod
    def forward(ctx, x, theta, beta):
        ctx.save_for_backward(x, theta if torch.is_tensor(theta) else None)
        ctx.theta, ctx.beta = theta, beta
        # NaN passes, so that it is noticed; masked_fill would not keep the order of memory
        return torch.where(x <= theta, 0.0, x)

    @staticmethod
    def backward(ctx, gradient):
        x, theta = ctx.saved_tensors
        slope = (x - (ctx.theta if theta is None else theta)).mul_(ctx.beta).sigmoid_()
        for_theta = None
        if ctx.needs_input_grad[1]:
            for_theta = -ctx.beta * (gradient * x * slope * (1 - slope)).sum()
        return slope.mul_(gradient), for_theta, None


class Activation(nn.Module):
    """What lets values pass or not; ``counter`` measures how many it silences."""


class SSN(Activation):
    """
    Soft spiking neuron.

    Parameters
    ----------
    theta : float
        Threshold, >= 0. Below 0 the neuron would not be monotone, and pooling could not stand
        before it.
    beta : float
        Steepness of the gradient.
    learn : bool
        Whether theta is learnt, one for the layer; its start must be above 0.
    """

    def __init__(self, theta: float, beta: float, learn: bool = False):
        super().__init__()
        self.beta = beta
        if learn:
            self.raw_theta = nn.Parameter(torch.tensor(float(theta)))
        else:
            self.fixed_theta = float(theta)
        self.learns = learn

    @property
    def theta(self):
        """The threshold: a float, or a tensor of no axes where it is learnt."""
        return self.raw_theta.abs() if self.learns else self.fixed_theta

    @property
    def threshold(self) -> float:
        """The threshold as a number, for export: the alpha of ONNX's ThresholdedRelu."""
        return self.theta.item() if self.learns else self.theta

    def forward(self, x):
        return SoftSpike.apply(x, self.theta, self.beta)

    def extra_repr(self):
        return 'theta={:.4g}, beta={:.4g}'.format(self.threshold, self.beta)
