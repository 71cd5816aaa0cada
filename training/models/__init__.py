"""The networks, by name: ``build('stream', width=0.5)``."""

from training.models.baselines import CNNLSTM, R2Plus1D, Transformer
from training.models.c3d import C3D, C3DSettings
from training.models.cs3d import C3D_SETTINGS, CS3D, CS3DSettings
from training.models.network import Network, NetworkSettings
from training.models.stream import CS3DStream, StreamSettings

NAMES = ('c3d', 'cs3d', 'stream', 'r2plus1d', 'cnn_lstm', 'transformer', 'spiking')

# The ablation of the paper, each step a setting of one code; the head is C3D's, and batch
# normalisation stands in all of them, so that a step shows what its name says and nothing else.
LADDER = {
    'C3D': ('cs3d', {'ssn': False, 'factorised': False, 'attention': False}),
    '+ SSN': ('cs3d', {'factorised': False, 'attention': False}),
    '+ factorised': ('cs3d', {'attention': False}),
    '+ attention': ('cs3d', {}),
    'stream': ('stream', {}),
}

__all__ = [
    'C3D',
    'C3D_SETTINGS',
    'CS3D',
    'CS3DSettings',
    'CS3DStream',
    'C3DSettings',
    'LADDER',
    'NAMES',
    'Network',
    'NetworkSettings',
    'StreamSettings',
    'build',
]


def build(name: str, **settings) -> Network:
    """
    Return a new network.

    Raises
    ------
    ValueError
        If no network has the name, or the settings are none of its.

    Examples
    --------
    >>> build('cs3d', width=0.25, head='gap').settings.outputs
    7
    """
    network = _class_of(name)
    known = network.Settings.__dataclass_fields__
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(
            '{} has no setting {}; it has {}'.format(name, ', '.join(unknown), ', '.join(known))
        )
    return network(network.Settings(**settings))


def _class_of(name):
    if name == 'spiking':  # brings a library along that nothing else needs
        from training.models.spiking import SpikingFER

        return SpikingFER
    for network in (C3D, CS3D, CS3DStream, R2Plus1D, CNNLSTM, Transformer):
        if network.name == name:
            return network
    raise ValueError('no network {!r}; there are {}'.format(name, ', '.join(NAMES)))
