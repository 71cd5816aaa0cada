"""Small untrained networks whose every part counts, and what stands in a training's report."""

import numpy as np
import torch

from training.metrics import judge
from training.models import build
from training.targets import LABELS

# Threshold 0, where the neuron is continuous and every rounding gives the same answer.
SMALL_CLIP = {
    'outputs': 8,
    'width': 0.125,
    'head': 'gap',
    'stem_filters': 4,
    'stem_stride': 2,
    'theta': 0.0,
}
SMALL_STREAM = {'width': 0.125, 'cell': 16}


def frames_of(rng, count, size=112):
    """Return uint8 event frames, as sparse as of a face that moves."""
    events = rng.integers(-2, 3, (count, size, size)) * (rng.random((count, size, size)) < 0.2)
    return np.clip(128 + 32 * events, 0, 255).astype(np.uint8)


def network_of(name, **settings):
    """Return a network whose normalisation has seen clips, so that there is something to fold."""
    torch.manual_seed(2)
    network = build(name, **settings).train()
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            # two clips are two values of a linear layer, too few to divide by their deviation
            module.momentum = 1.0 if isinstance(module, torch.nn.BatchNorm2d) else 0.1
        elif isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.uniform_(module.bias, -0.1, 0.1)
    length = max(16, network.settings.frames)  # a stream reads one frame, or any number
    clips = [
        (frames_of(np.random.default_rng(k), length).astype(np.float32) - 128) / 128
        for k in (0, 1)
    ]
    with torch.no_grad():
        network(torch.from_numpy(np.stack(clips)[:, None]))
    return network.eval()


def report_of(network, **training):
    """Return the report of a training that never was."""
    rng = np.random.default_rng(0)
    labels = LABELS[: network.settings.outputs]
    truth = rng.integers(0, len(labels), 64)
    result = judge(truth, rng.dirichlet(np.ones(len(labels)), 64), labels)
    return {
        'model': network.name,
        'network': network.settings.as_dict(),
        'training': {'seed': 1, **training},
        'epoch': 3,
        'elapsed_min': 1.5,
        'windows_seen': 640,
        'macs': 10**8,
        'parameters': 10**5,
        'temperature': 0.8,
        'train_clips': 10,
        'train_identities': 5,
        'test_clips': 4,
        'test_identities': 2,
        'validation': result,
        'test': result,
    }
