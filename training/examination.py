"""The same questions to every network: fixed windows, or whole clips, of one split."""

import numpy as np
import torch
from torch.nn import functional as F

from cs3d_ros.inference.emotion import EXPRESSIONS
from training.batches import to_input
from training.dataset import DataSet
from training.fingerprint import digest
from training.metrics import judge, judge_frames
from training.sequences import SequenceSet
from training.settings import TrainSettings
from training.targets import AT_REST, LABELS, UNCHANGED

VALIDATION_CLIPS = 150  # whole clips that a streaming network is judged on after every epoch
BATCH = 32  # windows
BATCH_FRAMES = 768  # of sequences, the longest counted for each
SEED = 0  # of the unchanged windows, which are drawn


class WindowExamination:
    """
    Fixed windows of a split, cut once.

    Attributes
    ----------
    labels : tuple of str
        What is asked for.
    truth : np.ndarray [shape=(n,)]
    is_move : np.ndarray of bool [shape=(n,)]
        Whether a face just moved to an expression, which is what networks are compared by.
    """

    def __init__(self, data: DataSet, labels=LABELS, explicit_offset: bool = True):
        windows = data.fixed_windows(np.random.default_rng(SEED))
        self.labels = labels
        self.frames = np.stack([data.cut(window) for window in windows])
        # At the end of a transition a face wears what it moved to; where nothing changed, what
        # it wears was not seen, so that windows of networks that answer states leave those out.
        self.truth = np.array([window.label for window in windows])
        self._conditions = np.array([window.clip.condition for window in windows])
        self.is_move = self.truth != UNCHANGED
        if labels != LABELS:
            keep = self.is_move
            self.frames, self.truth = self.frames[keep], self.truth[keep]
            self._conditions, self.is_move = self._conditions[keep], keep[keep]
        elif not explicit_offset:
            self.truth = _without_offsets(self.truth)

    def some(self, count: int) -> torch.Tensor:
        """Return some of the windows, as a network reads them."""
        return to_input(self.frames[:: -(-len(self.frames) // count)])

    def logits(self, network) -> torch.Tensor:
        """Return logits (n, outputs) float32 of a network that is made ready to answer."""
        network.eval()
        device = next(network.parameters()).device
        with torch.inference_mode():
            rows = [
                last_answer(network(to_input(self.frames[i : i + BATCH]).to(device)))
                for i in range(0, len(self.frames), BATCH)
            ]
        return torch.cat(rows).float().cpu()

    def judge(self, network, temperature: float = 1.0) -> dict:
        """Return the scores of a network; ``score``, macro-F1 over labels, chooses the best."""
        probabilities = torch.softmax(self.logits(network) / temperature, 1).numpy()
        result = judge(self.truth, probabilities, self.labels, self._conditions, self.is_move)
        return {**result, 'score': result['all']['macro_f1']}


class SequenceExamination:
    """
    Whole clips of a split, from their first period on, and moments of them.

    A moment is the first period after a transition, as where windows are judged. All frames whose
    answer is clear are judged as well: whether a network holds an expression and lets it go.
    """

    def __init__(
        self,
        data: SequenceSet,
        labels=EXPRESSIONS,
        most: int | None = None,
        explicit_offset: bool = True,
    ):
        sequences = data.fixed_sequences()
        if most and len(sequences) > most:
            sequences = [sequences[i * len(sequences) // most] for i in range(most)]
        sequences.sort(key=lambda sequence: sequence.frames)
        self.labels, self._data, self._sequences = labels, data, sequences
        targets = [s.targets(data.settings.period_ns, 0.0) for s in sequences]
        first = 0 if labels == EXPRESSIONS else 2
        truths = [columns[first] for columns in targets]
        if labels == LABELS and not explicit_offset:
            truths = list(map(_without_offsets, truths))
        clear = [columns[first + 1] > 0 for columns in targets]
        starts = np.concatenate([[0], np.cumsum([len(t) for t in truths])])
        self._all_truth, self._clear = np.concatenate(truths), np.concatenate(clear)
        rng = np.random.default_rng(SEED)
        found = [(starts[n] + k, sequences[n].clip) for n, k in data.moments(sequences, rng)]
        found = [(place, clip) for place, clip in found if self._clear[place]]
        self._places = np.array([place for place, _ in found], int)
        self._conditions = np.array([clip.condition for _, clip in found])
        self.truth = self._all_truth[self._places]
        changing = np.concatenate([columns[2] for columns in targets])
        self.is_move = changing[self._places] != UNCHANGED

    def some(self, count: int) -> torch.Tensor:
        """Return the longest of the clips, as far as all of them go, as a network reads them."""
        longest = [self._data.cut(sequence) for sequence in self._sequences[-count:]]
        return to_input(np.stack([frames[: len(longest[0])] for frames in longest]))

    def logits(self, network) -> torch.Tensor:
        """Return logits (n, outputs) float32 at the moments."""
        return self._frame_logits(network)[self._places]

    def judge(self, network, temperature: float = 1.0) -> dict:
        """Return the scores of a network; ``score``, macro-F1 over frames, chooses the best."""
        frames = torch.softmax(self._frame_logits(network) / temperature, 1).numpy()
        result = judge(
            self.truth, frames[self._places], self.labels, self._conditions, self.is_move
        )
        clear = self._clear
        result['frames'] = judge_frames(self._all_truth[clear], frames[clear], self.labels)
        return {**result, 'score': result['frames']['macro_f1']}

    def _frame_logits(self, network):
        network.eval()
        device = next(network.parameters()).device
        rows = []
        with torch.inference_mode():
            for group in _grouped(self._sequences):
                frames = [self._data.cut(sequence) for sequence in group]
                padded = np.full((len(group), *frames[-1].shape), 128, np.uint8)
                for row, one in zip(padded, frames):
                    row[: len(one)] = one
                answers = network(to_input(padded).to(device)).float().cpu()
                rows += [answer[: len(one)] for answer, one in zip(answers, frames)]
        return torch.cat(rows)


def _without_offsets(truth):
    """Return truths of networks that were taught to call the way back to neutral unchanged."""
    return np.where(truth == AT_REST, UNCHANGED, truth)


def last_answer(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits (n, outputs) at the end of clips, of any kind of network."""
    return logits[:, -1] if logits.ndim == 3 else logits


def _grouped(sequences):
    """Yield sequences, sorted by length, in groups of about as many frames."""
    group = []
    for sequence in sequences:
        if group and (len(group) + 1) * sequence.frames > BATCH_FRAMES:
            yield group
            group = []
        group.append(sequence)
    yield group


def temperature_of(logits: torch.Tensor, truth: np.ndarray) -> float:
    """
    Return the temperature that makes probabilities of the logits likeliest.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    truth = torch.from_numpy(truth)
    temperatures = np.exp(np.linspace(np.log(0.25), np.log(4), 97))
    losses = [F.cross_entropy(logits / t, truth).item() for t in temperatures]
    return float(temperatures[int(np.argmin(losses))])


def labels_of(settings: TrainSettings) -> tuple:
    """Return the names of a network's outputs."""
    return LABELS if settings.answers == 'transitions' else EXPRESSIONS


def examination_of(data: DataSet, settings: TrainSettings, most: int | None = None):
    """Return the examination of a split; of at most so many sequences."""
    labels = labels_of(settings)
    if settings.learns == 'windows':
        return WindowExamination(data, labels, settings.explicit_offset)
    return SequenceExamination(data, labels, most, settings.explicit_offset)


class Validation:
    """The examination of the validation identities, made anew where their folder has grown."""

    def __init__(self, folders, settings: TrainSettings, size: int, open_data):
        self._data = open_data(folders, 'val', settings, size)
        self._settings, self._made = settings, None

    def __call__(self):
        """Return the examination, and a digest of its clips, in their order, as a str."""
        if self._data.take_in() or self._made is None:
            examination = examination_of(self._data, self._settings, VALIDATION_CLIPS)
            self._made = examination, digest([clip.digest for clip in self._data.clips])
        return self._made
