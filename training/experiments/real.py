"""How a bundle does on videos of real people, through the robot's own chain."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from cs3d_ros.events import CleaningSettings
from cs3d_ros.inference import OnnxRuntimeEngine
from cs3d_ros.inference.emotion import NEUTRAL
from training.data.clips import write_whole
from training.experiments.chain import answers_to, boxed_frames, found_frames
from training.experiments.figures import draw_real
from training.experiments.judgement import (
    FOUND_S,
    LOUD,
    LOUD_SHARE,
    RETURN_S,
    heard_of,
    judge_clip,
    judge_heard,
    together,
)
from training.experiments.real_clips import read_clips, watch
from training.experiments.results import write_result

CONDITIONS = ('clean', 'noisy', 'low_light')  # presets of the pixel model
FINDER, BOXES = 'finder', 'true boxes'


class Setting(NamedTuple):
    """How the clips are watched, and where the faces come from."""

    preset: str
    faces: str  # FINDER or BOXES


def run_real(
    bundle_path, videos: Path, out: Path, presets=CONDITIONS, background_ms=0.0, say=print
) -> dict:
    """
    Let a bundle watch all clips of a folder; write ``real.json``, ``real.md`` and the timelines.

    Parameters
    ----------
    bundle_path : path
    videos : Path
        As :func:`training.experiments.real_clips.read_clips` takes it.
    out : Path
        Made if it is not there.
    presets : sequence of str
        Of the pixel model.
    background_ms : float
        Reach of the filter against background activity, before anything looks at the events; 0:
        none, as on a robot that was told nothing.
    say : callable
        Told a line per clip.

    Returns
    -------
    dict
        What ``real.json`` holds.
    """
    engine, clips = OnnxRuntimeEngine(str(bundle_path)), read_clips(videos)
    out.mkdir(parents=True, exist_ok=True)
    settings = settings_for(clips, presets)
    cleaning = CleaningSettings(background_activity_ns=round(1e6 * background_ms))
    rows, heard = [], {setting: [] for setting in settings}
    pictures = pictures_of([clip.name for clip in clips])
    for clip in clips:
        panels, picture = {}, pictures[clip.name]
        for setting, frames in watched(clip, engine.bundle, settings, cleaning):
            answers = panels[setting] = answers_to(frames, engine)
            verdict = judge_clip(clip, answers, engine.bundle.classes)
            heard[setting].append(heard_of(clip, answers, engine.bundle))
            row = row_of(clip, frames, verdict)
            rows.append({**setting._asdict(), 'picture': picture, **row})
        draw_real(out / picture, clip, panels, engine.bundle.classes)
        say('{}: {}'.format(clip.name, picture))
    report = {
        'bundle': Path(bundle_path).name,
        'name': engine.bundle.name,
        'kind': engine.bundle.kind,
        'background_ms': background_ms,
        'clips': rows,
        'settings': [
            {**s._asdict(), **summary_of(rows, s), 'network': judge_heard(together(heard[s]))}
            for s in settings
        ],
    }
    report = write_result(out, 'real', report)
    write_whole(out / 'real.md', described(report).encode())
    return report


def pictures_of(names) -> dict:
    """Return the name of each clip's picture; those alike but for their suffix keep it."""
    flat = {name: name.replace('/', '-') for name in names}
    stems = {name: own.rsplit('.', 1)[0] for name, own in flat.items()}
    counts = Counter(stems.values())
    return {n: (stems[n] if counts[stems[n]] == 1 else flat[n]) + '.png' for n in names}


def settings_for(clips, presets) -> list:
    """Return every setting: true boxes only where all clips have some."""
    faces = [FINDER] + [BOXES] * all(clip.boxes is not None for clip in clips)
    return [Setting(preset, kind) for preset in presets for kind in faces]


def watched(clip, bundle, settings, cleaning):
    """Yield (setting, face frames) of a clip under each setting."""
    for preset in dict.fromkeys(setting.preset for setting in settings):
        events = watch(clip, preset, cleaning)
        for setting in settings:
            if setting.preset != preset:
                continue
            if setting.faces == FINDER:
                yield setting, found_frames(events, clip.end_ns, bundle)
            else:
                yield setting, boxed_frames(events, clip.end_ns, bundle, clip.box)


def row_of(clip, frames, verdict) -> dict:
    """Return the figures of a clip in JSON's types."""
    seen = [frame.track is not None for frame in frames if frame.t_ns <= clip.duration_s * 1e9]
    return {
        'clip': clip.name,
        'face_share': sum(seen) / max(1, len(seen)),
        **verdict._asdict(),
        'onsets': [{**o._asdict(), 'is_right': o.is_right} for o in verdict.onsets],
        'returns': [{**r._asdict(), 'is_right': r.is_right} for r in verdict.returns],
    }


def summary_of(rows: list, setting: Setting) -> dict:
    """Return what all clips together say under a setting."""
    own = [row for row in rows if (row['preset'], row['faces']) == setting]
    onsets = [onset for row in own for onset in row['onsets']]
    returns = [back for row in own for back in row['returns']]
    neutral = sum(row['neutral'] for row in own)
    loud = sum(sum(row['loud'].values()) for row in own)
    return {
        'onsets': len(onsets),
        'found': sum(onset['found_s'] is not None for onset in onsets),
        'found_right': sum(onset['is_right'] for onset in onsets),
        'held': sum(onset['held'] for onset in onsets) / len(onsets) if onsets else None,
        'returns': len(returns),
        'returned_right': sum(back['is_right'] for back in returns),
        'neutral': neutral,
        'loud': loud,
        'loud_share': loud / neutral if neutral else None,
    }


def described(report: dict) -> str:
    """Return a report as Markdown: the text of model cards and of docs/results.md."""
    lines = [
        'What `{}` ({}) said of {} videos of real people, none of them trained on '
        '(`python -m training.experiments real`).'.format(
            report['bundle'], report['kind'], len({row['clip'] for row in report['clips']})
        ),
        'Right is an expression named within {:.1f} s of its onset, no other emotion believed in '
        'above {:.1f} before; neutral named within {:.0f} s after it has gone; loudly wrong an '
        'emotion named with a confidence above {:.1f} while the face is neutral, at most '
        '{:.0%} of the answers. {}'.format(
            FOUND_S, LOUD, RETURN_S, LOUD, LOUD_SHARE, _cleaning_of(report)
        ),
        '',
        '| events | face | onsets right | named at all | held | back to neutral | loudly wrong '
        '| network alone: onsets or states, loudly wrong |',
        '|---|---|---|---|---|---|---|---|',
    ]
    lines += [_summary_line(entry) for entry in report['settings']]
    faces = list(dict.fromkeys(row['faces'] for row in report['clips']))
    lines += [
        '',
        '| clip | events | {} |'.format(' | '.join(faces)),
        '|---|---|' + '---|' * len(faces),
    ]
    cells = {}
    for row in report['clips']:
        cells.setdefault((row['clip'], row['preset']), []).append(_cell(row))
    lines += ['| {} | {} | {} |'.format(*key, ' | '.join(own)) for key, own in cells.items()]
    return '\n'.join(lines) + '\n'


def _cleaning_of(report):
    if not report['background_ms']:
        return 'Events were not cleaned.'
    return 'Events without a neighbour within {:g} ms were left out.'.format(
        report['background_ms']
    )


def _summary_line(entry):
    network = entry['network']
    right = ', '.join(
        '{} {} of {}'.format(name, network['right'][name], network['of'][name])
        for name in network['of']
        if name not in (NEUTRAL, 'unchanged')
    )
    return '| {} | {} | {} of {} | {} | {} | {} of {} | {} | {}; {} of {} |'.format(
        entry['preset'],
        entry['faces'],
        entry['found_right'],
        entry['onsets'],
        entry['found'],
        '–' if entry['held'] is None else '{:.0%}'.format(entry['held']),
        entry['returned_right'],
        entry['returns'],
        share(entry['loud'], entry['neutral']),
        right or 'none shown',
        network['loud'],
        network['calm'],
    )


def _cell(row):
    """Return what was answered to a clip."""
    parts = ['face seen {:.0%}'.format(row['face_share'])]
    for onset in row['onsets']:
        text = '{expression} never named'
        if onset['found_s'] is not None:
            text = '{expression} after {found_s:.2f} s, held {held:.0%}'
        parts.append((text + ', others up to {other:.2f}').format(**onset))
    for back in row['returns']:
        if back['was_named']:
            parts.append('neutral ' + seconds(back['back_s']))
    loud = ', '.join('{} {}'.format(name, count) for name, count in row['loud'].items())
    parts.append('loudly wrong {} of {}'.format(loud or 0, row['neutral']))
    return '; '.join(parts)


def seconds(value) -> str:
    """Return how long after its time something came, or that it never did."""
    return 'never again' if value is None else 'again after {:.2f} s'.format(value)


def share(part: int, whole: int) -> str:
    """Return a share with its counts."""
    return '{:.1%} ({} of {})'.format(part / whole, part, whole) if whole else 'none to judge'
