"""The page of Markdown beside a bundle: what it is, what it learnt from, how good it is."""

from training.metrics import described
from training.provenance import is_rendered, learnt_sources, listed

READS = {
    'clip': '16 event frames of a face in, every second frame',
    'stream': 'One event frame of a face in, an answer after every frame, with a memory',
}
ANSWERS = {
    True: 'the expression that the face moves to, or that its expression does not change '
    '(stillness, a held apex, a blink, speech, a head in motion)',
    False: 'the expression that the face wears now',
}
# What a card says of the faces that were learnt from, where all of them were rendered.
LEARNT = {
    'people': 'rendered people (morphable face with skins;\n`python -m training.synthesize`), '
    'watched by the pixel model of `cs3d_ros.simulator`, around the\ntrue face box with jitter',
    'faces': 'No real face was seen in training.',
    'limit': 'Trained on rendered faces only; a good score there says little about people.',
}


def card_of(
    file: str, metadata: dict, report: dict, temperature: float, int8: bool = False, real: str = ''
) -> str:
    """
    Return the card of a bundle.

    Parameters
    ----------
    file : str
        Name of the bundle.
    metadata : dict
        As ``training.export.metadata_of`` returns it.
    report : dict
        Of the training.
    temperature : float
        That logits are divided by.
    int8 : bool
        Whether it computes in 8 bits.
    real : str
        What was found on real faces.
    """
    expressions, every = report['test']['expressions'], report['test']['all']
    learnt = learnt_sources(report)
    return CARD.format(
        file=file,
        reads=READS[metadata['kind']],
        answers=ANSWERS[metadata['unchanged']],
        model=report.get('model', 'cs3d'),
        settings=_listed(report['network']),
        precision='int8 where it pays, else float32' if int8 else 'float32',
        macs=report['macs'] / 1e6,
        per='frame' if metadata['kind'] == 'stream' else 'clip',
        parameters=report['parameters'] / 1e3,
        train_clips=report['train_clips'],
        train_identities=report['train_identities'],
        test_clips=report['test_clips'],
        windows=report['windows_seen'],
        minutes=report['elapsed_min'],
        epoch=report['epoch'],
        seed=report['training']['seed'],
        training=_listed(metadata['training']['settings']),
        **(LEARNT if is_rendered(learnt) else _of_corpora(learnt)),
        chosen_on=_chosen_on(report),
        tested=_tested(report),
        began=_began(metadata['training']['began_with']),
        accuracy=100 * expressions['accuracy'],
        low=100 * expressions['accuracy_95'][0],
        high=100 * expressions['accuracy_95'][1],
        trials=expressions['trials'],
        f1=expressions['macro_f1'],
        recall=100 * every['mean_recall'],
        table=described(report['test']),
        calibration=_calibration(metadata, report, temperature),
        real=real or 'Not measured for this version.',
        unproven=_unproven(metadata['unproven']),
    )


def _of_corpora(sources):
    return {
        'people': 'people, around their face boxes with jitter',
        'faces': 'Clips by source, with those that had taught the weights it began with: '
        '{}.'.format(listed(sources)),
        'limit': 'Trained on the faces of these sources; a good score there says little about '
        'others.',
    }


def _chosen_on(report):
    if 'val_clips' not in report:  # older versions told none
        return ''
    return ' ({val_clips} clips of {val_identities} people)'.format(**report)


def _tested(report):
    sources = report.get('test_sources', {})
    if is_rendered(sources):
        return '{} rendered people'.format(report['test_identities'])
    return '{} people, by source {},'.format(report['test_identities'], listed(sources))


def _listed(settings):
    return ', '.join('{} {}'.format(name, value) for name, value in settings.items())


def _began(found):
    if not found:
        return 'It began with random weights.'
    return 'It began with weights that {windows_seen} examples{clips} had taught.'.format(
        clips=' of {train_clips} clips of {train_identities} people'.format(**found)
        if 'train_clips' in found
        else '',
        **found,
    )


def _calibration(metadata, report, temperature):
    found = metadata['accuracy']['validation']
    lines = ['Logits are divided by {:.3f}, found on validation identities.'.format(temperature)]
    if report['test'].get('ece') is not None:
        lines.append(
            'Expected calibration error on the test identities as the training measured it: '
            '{:.1f} %.'.format(100 * report['test']['ece'])
        )
    if 'calibration' in found:
        lines.append(
            'Over {frames} clear frames of {clips} validation clips it is {now:.1f} %, with the '
            "training's temperature {before:.1f} %.".format(
                frames=found['calibration']['frames'],
                clips=found['clips'],
                now=100 * found['calibration']['ece'],
                before=100 * found['calibration']['ece_before'],
            )
        )
    if 'settled' in found:
        lines.append(
            'Settling ({}) was fitted on the same clips: where every expression is named, the '
            'settled answer is right in {:.1f} % of {} frames, and loudly wrong (above 0.5) in '
            '{:.2f} % of the neutral ones.'.format(
                _listed(metadata['settling']),
                100 * found['settled']['accuracy'],
                found['settled']['frames'],
                100 * found['settled']['loud_wrong'],
            )
        )
    else:
        lines.append('Settling was not fitted: the defaults of cs3d_ros hold.')
    reach_ms = report['training'].get('background_activity_ms')
    if reach_ms:
        lines.append(
            'It learnt from events without background activity: give it the same, by '
            '`--background-activity {0:g}` of `cs3d run` or `background_activity_ms` {0:g} of the '
            'node.'.format(reach_ms)
        )
    return '\n'.join(lines)


def _unproven(names):
    if not names:
        return 'No expression is held back by the robot.'
    return (
        'Not shown to work on real people: **{}**. The robot does not name these (parameter '
        '`name_unproven`); they stand in `emotion/distribution` all the same.'.format(
            ', '.join(names)
        )
    )


CARD = """# {file}

{reads}; out comes {answers}. Written by `python -m training.export`.

## What it is
Network `{model}`, {precision}: {macs:.0f} M multiply-adds a {per}, {parameters:.0f} k parameters
({settings}). Input and classes stand in the metadata of the file
(`cs3d_ros.inference.read_bundle`).

## What it learnt from
{train_clips} clips of {train_identities} {people}; \
{windows} examples seen in {minutes:.0f} minutes, seed {seed}, epoch
{epoch} chosen on validation identities{chosen_on}. {began} Settings: {training}.
{faces}

## How good it is
On {test_clips} clips of {tested} that neither training nor choice saw,
at the end of each transition: **{accuracy:.1f} % of {trials} right among seven expressions** (95 %
Wilson interval {low:.1f} to {high:.1f}; chance 14.3), macro-F1 {f1:.2f}; mean recall over all
answers {recall:.1f} %.

```
{table}
```

## Calibration and settling
{calibration}

## On real faces
{real}

{unproven}

## Limits
- {limit}
- It sees changes: an expression that was there before the camera looked is missed.
- Posed, prototypical expressions. What a face shows is not what a person feels.
- The boxes were true ones with jitter; a worse tracker costs accuracy.
"""
