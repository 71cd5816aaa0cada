"""The numbers of a data set: what is measured of its clips, as charts and as a card."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros.face import Box, face_square
from training.data.clips import SPLITS, ClipSet, RecordedClip, write_whole
from training.data.world import ACTED, CONDITIONS

EYES = slice(36, 42), slice(42, 48)  # of the 68 landmarks
STEADY_AFTER_NS = 200_000_000  # of an offset, and before an onset: no expression moves


class Row(NamedTuple):
    """What is measured of a clip; NaN where there is nothing to measure."""

    entry: dict
    events: int
    rate_hz: float  # events per second of all pixels
    on_share: float
    onset_rate: float  # events of the face per s and per (distance of the eyes in px) squared
    steady_rate: float  # the same while no expression moves
    eyes_px: float
    visible: float


def measure(clip: RecordedClip) -> Row:
    """Return what is measured of a clip."""
    truth, events = clip.truth, clip.events
    span_s = (truth.t_ns[-1] - truth.t_ns[0]) * 1e-9
    eyes = truth.landmarks[:, EYES[0]].mean(axis=1) - truth.landmarks[:, EYES[1]].mean(axis=1)
    onsets, steady = _spans(clip)
    return Row(
        clip.entry,
        len(events),
        len(events) / span_s,
        events.on_count / len(events) if len(events) else np.nan,
        _face_rate(clip, onsets),
        _face_rate(clip, steady),
        float(np.hypot(*eyes.T).mean()),
        float(truth.visible.mean()),
    )


def _spans(clip):
    """Return two lists of (start, end) ns: onsets, and where no expression moves."""
    start, end = int(clip.truth.t_ns[0]), int(clip.truth.t_ns[-1])
    onsets, steady, free = [], [], start
    for segment in sorted(clip.entry['segments'], key=lambda s: s['onset_start_ns']):
        onset = max(start, segment['onset_start_ns']), min(end, segment['apex_start_ns'])
        if onset[1] > onset[0]:
            onsets.append(onset)
        steady.append((free, min(end, segment['onset_start_ns'] - STEADY_AFTER_NS)))
        free = max(free, segment['offset_end_ns'] + STEADY_AFTER_NS)
    steady.append((free, end))
    return onsets, [(a, b) for a, b in steady if b > a]


def _face_rate(clip, spans):
    """Return events in the face square per s and eye distance squared, over all spans."""
    count = weight = 0.0
    for start_ns, end_ns in spans:
        k = int(np.searchsorted(clip.truth.t_ns, (start_ns + end_ns) // 2))
        box, marks = clip.truth.box[k], clip.truth.landmarks[k]
        if not (np.isfinite(box).all() and np.isfinite(marks).all()):
            continue
        square = face_square(Box(*(float(v) for v in box)))
        part = clip.events.between(start_ns, end_ns)
        inside = (np.abs(part.x - square.cx) < square.side / 2) & (
            np.abs(part.y - square.cy) < square.side / 2
        )
        eyes = np.hypot(*(marks[EYES[0]].mean(axis=0) - marks[EYES[1]].mean(axis=0)))
        count += np.count_nonzero(inside)
        weight += float(eyes) ** 2 * (end_ns - start_ns) * 1e-9
    return count / weight if weight else np.nan


def draw_statistics(path: Path, rows: list[Row]):
    """Draw class balance, durations, and event rates per class and condition."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(13, 8.5), layout='constrained')
    _draw_balance(axes[0, 0], rows)
    axes[0, 1].hist([row.entry['duration_s'] for row in rows], 40, color='#4477aa')
    axes[0, 1].set(title='duration', xlabel='s', ylabel='clips')
    _draw_rates(axes[1, 0], _grouped(rows, 'label', ACTED), 'class')
    _draw_rates(axes[1, 1], _grouped(rows, 'condition', CONDITIONS), 'condition')
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=100)
    pyplot.close(figure)
    write_whole(path, content.getvalue())


def _draw_balance(axes, rows):
    labels = list(_grouped(rows, 'label', ACTED))
    bottom = np.zeros(len(labels))
    for split, colour in zip(SPLITS, ('#4477aa', '#ccbb44', '#aa3377')):
        count = Counter(row.entry['label'] for row in rows if row.entry['split'] == split)
        heights = np.array([count[label] for label in labels])
        axes.bar(labels, heights, bottom=bottom, label=split, color=colour)
        bottom += heights
    axes.set(title='classes', ylabel='clips')
    axes.tick_params(axis='x', rotation=40)
    axes.legend()


def _draw_rates(axes, groups, name):
    rates = [[1e-3 * max(1.0, row.rate_hz) for row in own] for own in groups.values()]
    axes.boxplot(rates, whis=(5, 95), showfliers=False)
    axes.set_xticks(range(1, len(groups) + 1), groups, rotation=40)
    axes.set_yscale('log')
    axes.set(title='events per {}, 5 to 95 %'.format(name), ylabel='1,000 events/s')


def _grouped(rows, key, order):
    """Return {value of the entry: its rows}, in a known order, others behind."""
    found = {row.entry[key] for row in rows}
    names = [n for n in order if n in found] + sorted(map(str, found.difference(order)))
    return {name: [row for row in rows if str(row.entry[key]) == name] for name in names}


def write_card(path: Path, clips: ClipSet, rows: list[Row]):
    """Write the card of a set, in Markdown."""
    parts = [
        '# Data set {}\n'.format(clips.folder.resolve().name),
        _origin(clips),
        '![onsets of every class, time runs right, the last picture is the whole onset]'
        '(montage.png)\n\n![statistics](statistics.png)\n',
        '## Splits\n\nNo identity and no skin is in two of them.\n' + _splits(rows),
        '## Classes\n\nBy the first expression of a clip. Rates of the face: events per second '
        'and per squared distance of the eyes, in its square.\n' + _classes(rows),
        '## Conditions\n' + _conditions(rows),
        '## Event rates\n\nMedian of 1,000 events/s, all pixels.\n' + _rates(rows),
    ]
    write_whole(path, '\n'.join(parts).encode())


def _origin(clips):
    size = sum(p.stat().st_size for p in clips.folder.glob('*.h5'))
    lines = ['{:,} clips, {:.2f} GB.'.format(len(clips), size * 1e-9)]
    path = clips.folder / 'set.json'
    if path.exists():
        made = json.loads(path.read_text())
        lines.append(
            '\n`training.synthesize --seed {} --size {}{}`, version {}, world {}.'.format(
                made['seed'],
                'x'.join(map(str, made['size'])),
                ' --without ' + ' '.join(made['without']) if made['without'] else '',
                made['version'],
                made['world'],
            )
        )
        lines += ['{}: {}.'.format(what, who) for what, who in made['licences'].items()]
    return '\n'.join(lines) + '\n'


def _table(head, rows):
    lines = ['| ' + ' | '.join(map(str, row)) + ' |' for row in [head] + rows]
    return '\n'.join(['', lines[0], '|' + '---|' * len(head)] + lines[1:]) + '\n'


def _splits(rows):
    out = []
    for split, own in _grouped(rows, 'split', SPLITS).items():
        seconds = sum(row.entry['duration_s'] for row in own)
        people, skins = ({row.entry[key] for row in own} for key in ('identity', 'skin'))
        out.append((split, len(own), len(people), len(skins), '{:.2f}'.format(seconds / 3600)))
    return _table(('split', 'clips', 'identities', 'skins', 'hours'), out)


def _classes(rows):
    out = []
    for label, own in _grouped(rows, 'label', ACTED).items():
        splits = Counter(row.entry['split'] for row in own)
        out.append(
            (label, *(splits[split] for split in SPLITS))
            + tuple(
                _spread([getattr(r, key) for r in own]) for key in ('onset_rate', 'steady_rate')
            )
            + (_spread([row.entry['duration_s'] for row in own]),)
        )
    head = ('class', *SPLITS, 'face rate in onsets', 'while steady', 'duration, s')
    return _table(head, out) + '\nMedian (5 to 95 %).\n'


def _conditions(rows):
    out = []
    for name, own in _grouped(rows, 'condition', CONDITIONS).items():
        splits = Counter(row.entry['split'] for row in own)
        presets = Counter(str(row.entry['sensor'].get('preset')) for row in own)
        out.append(
            (name, *(splits[split] for split in SPLITS))
            + tuple(_spread([getattr(row, key) for row in own]) for key in ('eyes_px', 'visible'))
            + (_spread([row.on_share for row in own]), ', '.join(sorted(presets)))
        )
    head = ('condition', *SPLITS, 'eye distance, px', 'landmarks seen', 'ON share', 'sensors')
    return _table(head, out) + '\nMedian (5 to 95 %).\n'


def _rates(rows):
    conditions = _grouped(rows, 'condition', CONDITIONS)
    out = []
    for label in list(_grouped(rows, 'label', ACTED)) + ['all']:
        cells = []
        for own in list(conditions.values()) + [rows]:
            rates = [row.rate_hz for row in own if label in ('all', row.entry['label'])]
            cells.append('{:.1f}'.format(1e-3 * np.median(rates)) if rates else '')
        out.append((label, *cells))
    return _table(('class', *conditions, 'all'), out)


def _spread(values):
    values = np.array(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return ''
    return '{:.3g} ({:.3g} to {:.3g})'.format(*np.percentile(values, (50, 5, 95)))
