"""What tests of training share: a small set, and a short training on it."""

import pytest


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a set of one clip of each expression in each split."""
    from fabricated import write_set

    return write_set(tmp_path_factory.mktemp('set') / 'set', clips_per_expression=1)


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    """Return what a short training leaves, and its report."""
    from tiny import SHORT, tiny

    from training.train import train

    out = tmp_path_factory.mktemp('run')
    return out, train([folder], out, tiny(), SHORT, say=lambda line: None)
