"""A network in training, as Lightning runs it: loss, schedule, averaged weights, validation."""

import copy
import math
import time
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from training.batches import Batches, Examples, to_input
from training.checkpoints import SCHEMA, DivergedError, save
from training.dataset import DataSet
from training.models import Network
from training.models.network import channels_last
from training.provenance import known_of
from training.settings import TrainSettings
from training.signs import CLIP_NORM, GradientWatch, costs_differ, silence
from training.targets import AT_REST, LABELS, UNCHANGED

LEAST_RATE = 1e-3  # of the learning rate, at the schedule's ends
SIGN_CLIPS = 16  # examples by which SSN layers are looked at
LINE = (
    'epoch {epoch:3d}  loss {loss:.3f}  accuracy {accuracy:.3f}  gradient {gradient:.2g}  | '
    'val loss {val_loss:.3f}  accuracy {val_accuracy:.3f}  score {val_score:.3f}  | '
    '{ms_per_example:.1f} ms each, waiting {waiting:.0%}'
)


class SecondHead(nn.Module):
    """A linear layer beside a network's last one, on the same features; training alone has it."""

    def __init__(self, network: Network, outputs: int):
        super().__init__()
        last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
        self.answer = nn.Linear(last.in_features, outputs)
        last.register_forward_pre_hook(self._note)

    def _note(self, _, inputs):
        self._features = inputs[0]

    def forward(self) -> torch.Tensor:
        """Return logits for what the network has just seen."""
        return self.answer(self._features)


class Learner(pl.LightningModule):
    """
    A network in training, with all that resuming it takes.

    Parameters
    ----------
    network : Network
    settings : TrainSettings
    data : DataSet
        Of the training split.
    examine : callable
        Returns an examination of the validation identities, made anew where their folder has
        grown, and what tells its clips from others; only the first process calls it.
    out : Path
        Folder of ``best.pt``.
    say : callable
        Takes a line for people.
    began_with : dict, optional
        What the network's weights have learnt from before; kept for the report.
    """

    def __init__(
        self,
        network: Network,
        settings: TrainSettings,
        data: DataSet,
        examine,
        out: Path,
        say,
        began_with: dict | None = None,
    ):
        super().__init__()
        self.settings, self._data, self._examine = settings, data, examine
        self._out, self._say, self.began_with = out, say, began_with
        self.network = channels_last(network)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.second = None
        # a stream brings its own second head
        self._own_second = getattr(network.settings, 'transitions', 0) > 0
        if settings.second_head and not self._own_second:
            others = UNCHANGED if settings.answers == 'transitions' else len(LABELS)
            self.second = SecondHead(self.network, others)
        self.elapsed_s, self.best, self.since_best = 0.0, -1.0, 0
        self.judged_on = None  # what tells the clips of the best score from others
        self.learnt_from = {}  # what is known of the training clips of the present epoch
        self._part = 0.0  # of the present epoch that is done
        self.history, self.warnings = [], {}  # kind of a warning -> its first words
        self._watch = GradientWatch()

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-self.settings.examples_per_epoch // self.settings.batch)

    @property
    def progress(self) -> float:
        """Share of the training that is done, by steps or by time, whichever is further."""
        s = self.settings
        done = (len(self.history) + self._part) / s.epochs
        if s.time_limit_min:
            done = max(done, self.elapsed_s / (60 * s.time_limit_min))
        return min(1.0, done)

    def configure_optimizers(self):
        learnt = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            learnt, self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )

    def train_dataloader(self) -> Batches:
        """Return the next epoch's batches, decided by the seed, their numbers and the process."""
        if self.history:
            self._data.take_in()
        self.learnt_from = known_of(self._data.clips)
        s, rank = self.settings, self.global_rank
        share = s.batch // self.trainer.world_size
        numbers = range(self.global_step, self.global_step + self.steps_per_epoch)

        def make(number):
            return self._data.batch(share, np.random.default_rng([s.seed, number, rank]))

        self._batches = Batches(make, numbers, s.loaders)
        return self._batches

    def on_train_epoch_start(self):
        # dropout, so that a resumed training goes on as an unbroken one
        torch.manual_seed(self.settings.seed + 1000 * self.global_step + self.global_rank)
        self.network.train()
        self._began, self._losses, self._hits = time.monotonic(), [], []

    def on_train_batch_start(self, batch, batch_idx):
        self._part = batch_idx / self.steps_per_epoch
        warmup, done = self.settings.warmup, self.progress
        rise = min(1.0, done / warmup) if warmup else 1.0
        rate = max(LEAST_RATE, rise * 0.5 * (1 + math.cos(math.pi * done)))
        for group in self.optimizers().param_groups:
            group['lr'] = self.settings.learning_rate * rate

    def training_step(self, batch: Examples, batch_idx):
        s, clips = self.settings, to_input(batch.frames)
        changing = batch.changing
        if not s.explicit_offset:
            changing = torch.where(changing == AT_REST, UNCHANGED, changing)
        is_moment = (changing < UNCHANGED) & (batch.changing_weight > 0)
        state_weight = torch.where(is_moment, s.moment_weight, 1.0) * batch.worn_weight
        targets = {
            'transitions': (changing, batch.changing_weight),
            'states': (batch.worn, state_weight),
        }
        target, weight = targets.pop(s.answers)
        (others,) = targets.values()
        logits, second = self._answers(clips)
        loss = self._loss(logits, target, weight)
        if second is not None:
            loss = loss + s.second_head * self._loss(second, *others)
        if not torch.isfinite(loss):
            raise DivergedError(
                'the loss became {} in step {}: lower --learning-rate (now {}) or --beta, or '
                'train with --precision fp32'.format(
                    loss.item(), self.global_step, s.learning_rate
                )
            )
        hits = (logits.argmax(2) == target) * weight
        self._losses.append(loss.detach())
        self._hits.append(hits.sum().detach() / weight.sum().clamp(min=1))
        self.log('loss', loss.detach())
        return loss

    def _answers(self, clips):
        """Return logits (n, K, outputs) and those of the second head, None without one."""
        second = None
        if self._own_second and self.settings.second_head:
            logits, second = self.network(clips, transitions=True)
        else:
            logits = self.network(clips)
            second = self.second() if self.second else None
        return self._per_target(logits), None if second is None else self._per_target(second)

    def _per_target(self, logits):
        if logits.ndim == 2:
            return logits.unsqueeze(1)
        return logits[:, -1:] if self.settings.learns == 'windows' else logits

    def _loss(self, logits, target, weight):
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(),
            target.flatten(),
            label_smoothing=self.settings.label_smoothing,
            reduction='none',
        )
        weight = weight.flatten()
        return (losses * weight).sum() / weight.sum().clamp(min=1)

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ):
        learnt = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not self._watch.note(float(nn.utils.clip_grad_norm_(learnt, CLIP_NORM))):
            # one such step would leave no number in any weight; without gradients it is none
            self.zero_grad(set_to_none=True)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        # A young average would remember the random start: let its memory grow with the steps.
        step = self.global_step - 1
        decay = min(self.settings.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(
                self.averaged.state_dict().values(), self.network.state_dict().values()
            ):
                if kept.dtype.is_floating_point:
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)

    def on_train_epoch_end(self):
        took = time.monotonic() - self._began
        examples = len(self._losses) * self.settings.batch
        row = {
            'epoch': len(self.history) + 1,
            'loss': float(torch.stack(self._losses).mean()),
            'accuracy': float(torch.stack(self._hits).mean()),
            'ms_per_example': 1e3 * took / examples,
            'waiting': self._batches.waited_s / took,
        }
        beta = getattr(self.network.settings, 'beta', None)
        row['gradient'], loud = self._watch.end_epoch(beta, self.settings.learning_rate)
        judged_on = None
        if self.trainer.is_global_zero:
            self._warn('gradients', loud)
            judged_on = self._validate(row)
        spent_s = time.monotonic() - self._began  # with validation, which a time limit is to hold
        # one process judges, all go on alike
        row, spent_s, judged_on = self.trainer.strategy.broadcast((row, spent_s, judged_on))
        self.elapsed_s += spent_s
        self._conclude_epoch(row, judged_on)

    def _validate(self, row) -> str:
        """Judge the averaged weights into a row; return what tells the clips from others."""
        examination, judged_on = self._examine()
        result = examination.judge(self.averaged)
        row.update(
            val_loss=result['loss'],
            val_score=result['score'],
            val_accuracy=result['expressions']['accuracy'],
        )
        examples = self._data.batch(SIGN_CLIPS, np.random.default_rng(0))
        self._warn('silence', silence(self.averaged, to_input(examples.frames).to(self.device)))
        if not self.history:
            self._warn('costs', costs_differ(self.averaged))
        return judged_on

    def _conclude_epoch(self, row, judged_on):
        # None: nothing was judged so far, or by an older version, which did not note on what
        if self.judged_on not in (None, judged_on):
            self.best, self.since_best = -1.0, 0  # on other clips, a score does not compare
        self.judged_on = judged_on
        self.history.append(row)
        self._part = 0.0
        self.since_best += 1
        if row['val_score'] > self.best:
            self.best, self.since_best = row['val_score'], 0
            if self.trainer.is_global_zero:
                save(self.checkpoint(), self._out / 'best.pt')
        for name in ('gradient', 'waiting', 'val_loss', 'val_score', 'val_accuracy'):
            self.log(name, row[name], rank_zero_only=True)
        if self.trainer.is_global_zero:
            self._say(LINE.format(**row))
        if self.is_over:
            self.trainer.should_stop = True

    @property
    def is_over(self) -> bool:
        """Whether the schedule has ended, or validation has not become better for too long."""
        s = self.settings
        return self.progress >= 1 or 0 < s.patience <= self.since_best

    def _warn(self, kind, text):
        if text:
            self.warnings.setdefault(kind, text)
            self._say('warning: ' + text)

    def checkpoint(self) -> dict:
        """Return what exporting the network takes."""
        return {
            'schema': SCHEMA,
            'model': self.network.name,
            'network_settings': self.network.settings.as_dict(),
            'averaged': self.averaged.state_dict(),
            'train_settings': self.settings.as_dict(),
            'epoch': len(self.history),
            'step': self.global_step,
            'elapsed_s': self.elapsed_s,
            'learnt_from': self.learnt_from,
            'began_with': self.began_with,
            'warnings': self.warnings,
        }

    def on_save_checkpoint(self, checkpoint):
        checkpoint['learner'] = {
            'model': self.network.name,
            'network_settings': self.network.settings.as_dict(),
            'train_settings': self.settings.as_dict(),
            'elapsed_s': self.elapsed_s,
            'best': self.best,
            'since_best': self.since_best,
            'judged_on': self.judged_on,
            'learnt_from': self.learnt_from,
            'began_with': self.began_with,
            'history': self.history,
            'warnings': self.warnings,
            'first_gradient': self._watch.first,
        }

    def on_load_checkpoint(self, checkpoint):
        kept = checkpoint['learner']
        for name in ('elapsed_s', 'best', 'since_best', 'history', 'warnings'):
            setattr(self, name, kept[name])
        self.judged_on = kept.get('judged_on')
        self.began_with = kept.get('began_with', self.began_with)  # older versions kept none
        self._watch.first = kept['first_gradient']
