import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('pytorch_lightning')
pytest.importorskip('h5py')

import torch
from fabricated import make_set, slow_clip, write_set

from training.data.clips import DataError, write_shard
from training.examination import examination_of
from training.settings import TrainSettings
from training.targets import AT_REST, LABELS, UNCHANGED
from training.train import data_of


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('sets') / 'dots', clips_per_expression=3)


def examined(folder, **settings):
    settings = TrainSettings(**settings)
    return examination_of(data_of([folder], 'test', settings, 32), settings)


class Knows(torch.nn.Module):
    """A network that answers what an examination wants to hear, window by window."""

    def __init__(self, truth):
        super().__init__()
        self.weight, self._left = torch.nn.Parameter(torch.zeros(1)), list(truth)

    def forward(self, clips):
        answers = [self._left.pop(0) for _ in range(len(clips))]
        return 9.0 * torch.nn.functional.one_hot(torch.tensor(answers), len(LABELS)).float()


def test_windows_and_sequences_are_compared_by_the_same_moves(folder):
    windows = examined(folder)
    sequences = examined(folder, learns='sequences', answers='states')
    # of 18 clips of six expressions an onset and an offset each; what is quiet is asked besides
    for examination in (windows, sequences):
        assert examination.is_move.sum() == 36
        assert not examination.is_move.all()
        np.testing.assert_array_equal(
            np.bincount(examination.truth[examination.is_move], minlength=7), [18] + [3] * 6
        )


def test_quiet_moments_do_not_count_as_moves(folder):
    sequences = examined(folder, learns='sequences', answers='states')
    network = torch.nn.Module()
    network.weight = torch.nn.Parameter(torch.zeros(1))
    network.forward = lambda clips: torch.zeros(len(clips), clips.shape[2], 7)
    assert sequences.judge(network)['expressions']['trials'] == 36
    assert sequences.judge(network)['all']['trials'] == len(sequences.truth)


def test_network_that_learnt_no_offsets_is_asked_for_none(folder):
    taught = examined(folder, explicit_offset=False)
    assert AT_REST not in taught.truth
    usual = examined(folder).truth
    np.testing.assert_array_equal(taught.truth, np.where(usual == AT_REST, UNCHANGED, usual))
    found = taught.judge(Knows(taught.truth))
    assert found['all']['accuracy'] == found['score'] == 1.0
    assert found['expressions']['trials'] == 18


@pytest.mark.parametrize('learns, answers', [('windows', 'transitions'), ('sequences', 'states')])
def test_split_whose_moves_are_all_too_slow_is_refused(tmp_path, learns, answers):
    write_shard(tmp_path / 'a.h5', [slow_clip(clip, 1190) for clip in make_set(1)])
    with pytest.raises(DataError, match='no window of split test shows a move: .* 1.1 s'):
        examined(tmp_path, learns=learns, answers=answers)
