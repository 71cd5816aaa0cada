"""What a network costs: multiply-adds, parameters and activations per layer, counted on paper.

Convention: one multiply-add is one MAC; a bias costs nothing but is a parameter; poolings,
activations and normalisation cost nothing, and the parameters of normalisation are told apart, as
export folds them away. ``python -m training.models.counter`` prints the ablation.
"""

from typing import List, NamedTuple

from training.models.c3d import FC_WIDTH, pooled_shape, scaled_plan
from training.models.cs3d import C3D_SETTINGS, Attention, CS3DSettings


class LayerCost(NamedTuple):
    """Cost of one layer for one clip."""

    name: str
    macs: int
    parameters: int  # weights and biases, without those of normalisation
    norm_parameters: int
    activations: int  # values that the layer puts out


class NetworkCost(NamedTuple):
    """Cost of all layers, in the order of the network."""

    layers: List[LayerCost]

    @property
    def macs(self) -> int:
        """Multiply-adds of one clip."""
        return sum(layer.macs for layer in self.layers)

    @property
    def convolution_macs(self) -> int:
        """Multiply-adds without those of the head and of attention."""
        return sum(layer.macs for layer in self.layers if layer.name.startswith('conv'))

    @property
    def parameters(self) -> int:
        """Weights and biases, normalisation folded away."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def norm_parameters(self) -> int:
        """Scales and shifts of normalisation, learnt but not shipped."""
        return sum(layer.norm_parameters for layer in self.layers)

    @property
    def activations(self) -> int:
        """Values that all layers put out for one clip."""
        return sum(layer.activations for layer in self.layers)


def count(settings: CS3DSettings) -> NetworkCost:
    """
    Return the cost of one clip through the network of the settings.

    Examples
    --------
    >>> count(C3D_SETTINGS).parameters
    78021383
    """
    layers = []
    channels, frames, side = 1, settings.frames, settings.size
    for index, stage in enumerate(scaled_plan(settings.width)):
        for letter, out in zip('ab', stage.channels):
            name = 'conv{}{}'.format(index + 1, letter)
            own_stem = not layers and settings.own_stem
            layers.append(_convolution(name, settings, channels, out, frames, side, own_stem))
            channels = out
            if own_stem:
                side = -(-side // settings.stem_stride)
        frames //= stage.pool.time
        side = (side + 2 * stage.pool.padding) // stage.pool.space
        if settings.attention:
            layers.append(_attention('attention{}'.format(index + 1), channels, frames, side))
    return NetworkCost(layers + _head(settings, channels))


def _convolution(name, settings, channels, out, frames, side, own_stem):
    voxels = frames * side * side
    if not settings.factorised:
        macs, parameters = 27 * channels * out * voxels, (27 * channels + 1) * out
    elif own_stem:
        filters = settings.stem_filters
        voxels = frames * (-(-side // settings.stem_stride)) ** 2
        macs = (9 * filters + 3 * filters + filters * out) * voxels
        parameters = (9 + 1) * filters + (3 + 1) * filters + (filters + 1) * out
    else:
        macs = (3 * channels + 9 * channels + channels * out) * voxels
        parameters = (3 + 1) * channels + (9 + 1) * channels + (channels + 1) * out
    return LayerCost(name, macs, parameters, 2 * out * settings.norm, out * voxels)


def _attention(name, channels, frames, side):
    hidden = max(4, channels // Attention.REDUCTION)
    voxels = frames * side * side
    shared = (3 * channels * hidden + hidden * channels) * frames
    parameters = (3 * channels + 1) * hidden + (hidden + 1) * channels + 2 * 49 + 1
    return LayerCost(name, 2 * shared + 2 * 49 * voxels, parameters, 0, channels * voxels)


def _head(settings, channels):
    if settings.head == 'gap':
        return [_linear('fc', channels, settings.outputs)]
    frames, side = pooled_shape(settings.frames, -(-settings.size // settings.stem_stride))
    hidden = int(FC_WIDTH * settings.width)
    return [
        _linear('fc6', channels * frames * side * side, hidden),
        _linear('fc7', hidden, hidden),
        _linear('fc8', hidden, settings.outputs),
    ]


def _linear(name, channels, out):
    return LayerCost(name, channels * out, (channels + 1) * out, 0, out)


ABLATION = (
    ('C3D', C3D_SETTINGS),
    ('+ SSN', CS3DSettings(factorised=False, attention=False)),
    ('+ factorised', CS3DSettings(attention=False)),
    ('+ attention = CS3D', CS3DSettings()),
    ('CS3D, pooled head', CS3DSettings(head='gap')),
)


def main():
    """Print the ablation, canonical widths, 1x16x112x112, seven outputs."""
    print(
        '{:<20} {:>10} {:>10} {:>10} {:>12}'.format(
            'network', 'GMAC conv', 'GMAC', 'params M', 'activ. M'
        )
    )
    for name, settings in ABLATION:
        cost = count(settings)
        print(
            '{:<20} {:>10.3f} {:>10.3f} {:>10.3f} {:>12.2f}'.format(
                name,
                cost.convolution_macs / 1e9,
                cost.macs / 1e9,
                cost.parameters / 1e6,
                cost.activations / 1e6,
            )
        )


if __name__ == '__main__':
    main()
