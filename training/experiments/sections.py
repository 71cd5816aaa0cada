"""The parts of docs/results.md as Markdown, each made of the JSON that a run wrote."""

import shutil
from pathlib import Path

from training.data.world import CONDITIONS
from training.experiments import figures, real
from training.experiments.costs import NOT_MEASURABLE
from training.experiments.reported import C3D, CS3D, PAPER, REPORTED, SHIPPED, STREAM
from training.experiments.results import origin
from training.experiments.tables import finished, gains, percent, spread, table

UNEVEN = (
    ' Events were cut into sequences once, grey frames anew for every window, which favours these.'
)


def ladder(result: dict, pictures: Path) -> str:
    """Return the table of the networks, what the bars say, and what the paper says."""
    return '\n'.join([longer(result, pictures), PAPER + '\n'])


def longer(result: dict, pictures: Path) -> str:
    """Return the table of the networks, and what the bars say."""
    rows = [
        [cell(row, finished(row)) for cell in _LADDER_COLUMNS.values()] for row in result['rows']
    ]
    rates = (
        'Each network learns at the one of the rates {} after which, with the first seed, it knew '
        'validation best.\n'
    ).format(', '.join(map('{:g}'.format, result['rates'])))
    return '\n'.join([table(_LADDER_COLUMNS, rows), rates, _verdicts(result), _layers(result)])


def _share_of(kind, figure):
    """Return what makes a cell: a share over the runs that did not break off."""
    return lambda row, done: percent(_scored(done, kind, figure))


def _scored(runs, kind, figure):
    """Return a figure of runs; none of a condition that their set does not know."""
    return [run[kind][figure] for run in runs if run[kind]]


# Of a row and its runs that did not break off.
_LADDER_COLUMNS = {
    'network': lambda row, done: row['name'],
    'accuracy, standard, %': _share_of('standard', 'accuracy'),
    'mean recall, standard, %': _share_of('standard', 'mean_recall'),
    'macro-F1, standard': lambda row, done: spread(
        _scored(done, 'standard', 'macro_f1'), '{:.3f}'
    ),
    'accuracy, all conditions, %': _share_of('all', 'accuracy'),
    'mean recall, all conditions, %': _share_of('all', 'mean_recall'),
    'ECE, %': lambda row, done: percent([run.get('ece') for run in done]),
    'M MACs': lambda row, done: '{:.1f}'.format(row['macs'] / 1e6),
    'M parameters': lambda row, done: '{:.3f}'.format(row['parameters'] / 1e6),
    'silent neurons, %': lambda row, done: percent([_silent(run) for run in done]),
    'mJ if zeros were skipped': lambda row, done: spread(
        [run['sparse_energy_mj'] for run in done], '{:.2f}'
    ),
    'learning rate': lambda row, done: '{:g}'.format(row['learning_rate']),
    'examples seen': lambda row, done: ', '.join(
        '{:,}'.format(count) for count in sorted({run['windows_seen'] for run in done})
    ),
    'the paper reports (of its own data)': lambda row, done: REPORTED.get(row['name'], '–'),
    '': lambda row, done: (
        '{} of {} broke off'.format(len(row['runs']) - len(done), len(row['runs']))
        if len(done) < len(row['runs'])
        else ''
    ),
}


def _silent(run):
    """Return the share of zeros that activations put out, layers alike; None without any."""
    shares = list(run['silent'].values())
    return sum(shares) / len(shares) if shares else None


def _layers(result):
    """Return how many neurons of each layer are silent, by network."""
    lines = []
    for row in result['rows']:
        by_layer = zip(*(run['silent'].values() for run in finished(row)))
        shares = ['{:.0f}'.format(100 * sum(layer) / len(layer)) for layer in by_layer]
        if shares:
            line = '- Neurons of `{}` that are silent, layer by layer, %: {}.'
            lines.append(line.format(row['name'], ', '.join(shares)))
    return '\n'.join(lines) + '\n'


def _verdicts(result):
    """Return what the bars on accuracy say, as far as both sides were run."""
    runs = {row['name']: {run['seed']: run for run in finished(row)} for row in result['rows']}
    everyone = [run for row in result['rows'] for run in finished(row)]
    lines = [
        '- Always the most frequent answer, neutral, would be right in {:.1%}.'.format(chance)
        for chance in _scored(everyone, 'standard', 'chance')[:1]
    ]
    lines += [
        '- `{}`, seven expressions, standard condition: {} % (85 is asked for).'.format(
            name, percent(_scored(runs[name].values(), 'standard', 'accuracy'))
        )
        for name in (CS3D, STREAM)
        if runs.get(name)
    ]
    for name, other, bar in (
        (CS3D, C3D, 'at least equal'),
        (SHIPPED, C3D, 'at least equal'),
        (STREAM, CS3D, 'within 1 point'),
    ):
        pairs = [
            (run, runs[other][seed])
            for seed, run in runs.get(name, {}).items()
            if seed in runs.get(other, {})
        ]
        if pairs:
            both = [[run['standard'] for run in pair] for pair in pairs if pair[0]['standard']]
            gained = [a['accuracy'] - b['accuracy'] for a, b in both]
            known = [a['all']['mean_recall'] - b['all']['mean_recall'] for a, b in pairs]
            lines.append(
                '- `{}` less `{}`, same seeds: {} points ({} is asked for); of mean recall in all '
                'conditions {}.'.format(name, other, percent(gained), bar, percent(known))
            )
    return '\n'.join(lines) + '\n'


def costs(result: dict, pictures: Path) -> str:
    """Return the tables of costs with what the bars say."""
    machine = result['machine']
    lines = [
        'On {cpu}, {threads} threads, batch 1, ONNX Runtime {onnxruntime}, torch {torch}; the '
        'networks take turns in one run. A stream is one frame, everything else a clip of '
        '16.\n'.format(**machine)
    ]
    for width, rows in result['widths'].items():
        lines.append('### Widths × {}\n'.format(width))
        lines.append(table(_COST_HEAD, [_cost_row(name, rows) for name in rows]))
        lines.append(_cost_verdicts(rows))
    problems = {
        row['energy_problem'] for rows in result['widths'].values() for row in rows.values()
    }
    lines += ['Joules: {}.\n'.format(problem) for problem in sorted(filter(None, problems))]
    if result.get('energy_source'):
        lines.append('Energy is estimated: {}\n'.format(result['energy_source']))
    return '\n'.join(lines)


def _cost_verdicts(rows):
    """Return what the bars on cost say, as far as both sides were measured."""
    c3d, cs3d, stream = (rows.get(name) for name in (C3D, CS3D, STREAM))
    lines = []
    if c3d and cs3d:
        share = cs3d['macs'] / c3d['macs']
        lines.append('- MACs of CS3D: {:.1%} of those of C3D (bar: 6 %).'.format(share))
    if c3d and cs3d and c3d['onnx_ms'] and cs3d['onnx_ms']:
        reference = c3d['onnx_ms']['median']
        share = cs3d['onnx_ms']['median'] / reference
        lines.append(
            '- CS3D in ONNX Runtime: {:.1%} of the time of C3D (bar: 18 %).'.format(share)
        )
        if cs3d.get('int8_ms'):
            share = cs3d['int8_ms']['median'] / reference
            lines.append('- CS3D in 8 bits: {:.1%} of the time of C3D (bar: 12 %).'.format(share))
    if stream and stream['onnx_ms']:
        own = stream['onnx_ms']
        line = '- A frame of the stream: {:.2f} ms on average, {:.2f} ms at worst (bars: 2.5, 5)'
        line = line.format(own['mean'], own['worst'])
        if c3d and c3d['onnx_ms']:
            part = c3d['onnx_ms']['median'] / own['median']
            line += ', 1/{:.0f} of a clip of C3D (bar: 1/80)'.format(part)
        lines.append(line + '.')
    return '\n'.join(lines) + '\n'


_COST_HEAD = (
    'network',
    'M MACs (of C3D)',
    'M parameters',
    'activations, MB',
    'ONNX Runtime, ms: median; worst (of C3D)',
    'int8, ms',
    'torch, ms (of C3D)',
    'process at its peak, MB (the model)',
    'energy estimated, mJ',
    'measured, J above idling',
)


def _cost_row(name, rows):
    row, reference = rows[name], rows.get(C3D)
    energy, memory, onnx = row['energy'], row['memory_mb'], row['onnx_ms']
    return (
        name,
        '{:.1f}{}'.format(row['macs'] / 1e6, _of(row, reference, lambda r: r['macs'])),
        '{:.3f}'.format(row['parameters'] / 1e6),
        '{:.1f}'.format(row['activation_bytes'] / 1e6),
        '{:.2f}; {:.2f}{}'.format(
            onnx['median'], onnx['worst'], _of(row, reference, lambda r: r['onnx_ms']['median'])
        )
        if onnx
        else 'no ONNX form',
        '{:.2f}'.format(row['int8_ms']['median']) if row.get('int8_ms') else '–',
        '{:.2f}{}'.format(
            row['torch_ms']['median'], _of(row, reference, lambda r: r['torch_ms']['median'])
        )
        if row['torch_ms']
        else '–',
        '{:.0f} ({:.0f})'.format(memory['peak'], memory['peak'] - memory['before'])
        if memory
        else '–',
        '{:.2f}'.format(row['energy_mj']) if row.get('energy_mj') is not None else '–',
        '{:.3f}'.format(energy['joules']) if energy else NOT_MEASURABLE,
    )


def _of(row, reference, value):
    if not reference or not reference.get('onnx_ms') or not row.get('onnx_ms'):
        return ''
    share = value(row) / value(reference)
    return ' ({:.1%})'.format(share) if share > 0.02 else ' (1/{:.0f})'.format(1 / share)


def sensitivity(result: dict, pictures: Path) -> str:
    """Return the table over theta and beta; draw its heat map."""
    figures.draw_sensitivity(pictures / 'sensitivity.png', result)
    broken = [cell for cell in result['cells'] if cell.get('failed')]
    lines = [
        '`{}`, one seed; mean recall of seven expressions in all conditions, %. The slope of the '
        'surrogate, σ(β(x − θ)), lies between 0 and 1 whatever β is: gradients do not grow with '
        'it; those of a learnt θ would.\n'.format(result['network']),
        '![Mean recall over theta and beta]({}/sensitivity.png)\n'.format(pictures.name),
    ]
    rows = [
        ['θ \\ β'] + ['{:g}'.format(beta) for beta in result['betas']],
    ]
    found = {(cell['theta'], cell['beta']): cell for cell in result['cells']}
    for theta in result['thetas']:
        cells = [found.get((theta, beta)) for beta in result['betas']]
        rows.append(['{:g}'.format(theta)] + [_sensitivity_cell(cell) for cell in cells])
    lines.append(table(rows[0], rows[1:]))
    lines += [
        'θ {theta:g}, β {beta:g} broke off: {failed}\n'.format(**cell) for cell in broken
    ] or ['No training broke off.\n']
    signs = sorted({sign for cell in result['cells'] for sign in cell.get('signs', [])})
    lines += ['Signs of failure that training itself named:\n'] * bool(signs)
    lines += ['- {}'.format(sign) for sign in signs]
    return '\n'.join(lines)


def _sensitivity_cell(cell):
    if cell is None:
        return 'not run'
    return 'broke off' if cell.get('failed') else '{:.1f}'.format(100 * cell['mean_recall'])


def light(result: dict, pictures: Path) -> str:
    """Return the table over light; draw it."""
    figures.draw_light(pictures / 'light.png', result)
    rows = [
        (
            condition,
            '{:g}'.format(CONDITIONS[condition].light),
            result['events'][condition][0]['trials'],
            *(
                percent([run[figure] for run in result[kind].get(condition, [])])
                if result[kind]
                else 'not run'
                for kind in ('events', 'grey')
                for figure in ('accuracy', 'mean_recall')
            ),
        )
        for condition in result['levels']
    ]
    head = (
        'condition',
        'light',
        'answers',
        'events: accuracy, %',
        'mean recall, %',
        'grey frames of the same scenes: accuracy, %',
        'mean recall, %',
    )
    return '`{}`.{}\n\n{}\n![Mean recall over light]({}/light.png)\n'.format(
        result['network'],
        UNEVEN if result['is_uneven'] else '',
        table(head, rows),
        pictures.name,
    )


def cross(result: dict, pictures: Path) -> str:
    """Return the table of what learnt from one set and answered to another."""
    rows = [
        (
            pair['train'],
            pair['test'],
            percent([run['accuracy'] for run in finished(pair)]),
            percent([run['mean_recall'] for run in finished(pair)]),
            spread([run['macro_f1'] for run in finished(pair)], '{:.3f}'),
            pair['trials'],
        )
        for pair in result['pairs']
    ]
    return '`{}`.\n\n'.format(result['network']) + table(
        ('trained on', 'tested on', 'accuracy, %', 'mean recall, %', 'macro-F1', 'answers'), rows
    )


def folds(result: dict, pictures: Path) -> str:
    """Return the table of folds."""
    rows = [
        (
            k,
            len(fold['identities']),
            '{:.1f}'.format(100 * fold['accuracy']),
            '{:.1f}'.format(100 * fold['mean_recall']),
            fold['trials'],
        )
        for k, fold in enumerate(result['folds'], 1)
    ]
    every, left_out = result['together'], result.get('left_out')
    rarely = ', '.join('{} ({})'.format(*found) for found in (left_out or {}).items())
    return (
        '`{}`.{}\n\n{}\nAll folds together: {:.1%} of {} right (95 % {:.1%} to {:.1%}), mean '
        'recall {:.1%}, macro-F1 {:.3f}.\n'.format(
            result['network'],
            ' Left out, as too few people show it: {}.'.format(rarely) if left_out else '',
            table(('fold', 'people', 'accuracy, %', 'mean recall, %', 'answers'), rows),
            every['accuracy'],
            every['trials'],
            *every['accuracy_95'],
            every['mean_recall'],
            every['macro_f1'],
        )
    )


def ablation(result: dict, pictures: Path) -> str:
    """Return the table of variants."""
    by_name = {row['name']: row for row in result['rows']}
    rows = [
        (
            row['name'],
            row['changes'],
            percent([run['standard'] for run in finished(row)]),
            percent([run['hard'] for run in finished(row)]),
            percent(gains(row, by_name.get(row['base']), 'hard')),
            _counted(row, 'settled', 'found_right', 'onsets'),
            _counted(row, 'settled', 'loud', 'neutral'),
            spread([r['real']['auc'] for r in finished(row) if _has(r, 'auc')], '{:.2f}'),
            _counted(row, 'real', 'found_right', 'onsets'),
            _counted(row, 'real', 'returned_right', 'returns'),
            percent([r['real']['loud_share'] for r in finished(row) if _has(r, 'loud_share')]),
            spread([run['score'] for run in finished(row) if run['score'] is not None], '{:.3f}'),
        )
        for row in result['rows']
    ]
    head = (
        'variant',
        'differs by',
        'strangers, standard: mean recall, %',
        'hardest: mean recall, %',
        'gained by it, same seeds, points',
        'the same, settled: onsets right',
        'neutral ones, loudly wrong',
        'real: AUC',
        'real: onsets right',
        'real: back to neutral',
        'real talkers: loudly wrong, %',
        'score',
    )
    return '{}\n\n{}\n'.format(result['rule'], table(head, rows))


def _has(run, name):
    return run.get('real') and run['real'].get(name) is not None


def _counted(row, kind, part, whole):
    runs = [run[kind] for run in finished(row) if run.get(kind)]
    count, of = sum(run[part] for run in runs), sum(run[whole] for run in runs)
    return '{:.0%} of {}'.format(count / of, of) if of else '–'


def real_people(result: dict, pictures: Path) -> str:
    """Return the timelines of real people, which are copied, and what was said of them."""
    parts = []
    for folder, report in result['bundles']:
        parts += ['### {}\n'.format(report['bundle']), origin(report), real.described(report)]
        for row in {row['clip']: row for row in report['clips']}.values():
            name = '{}-{}'.format(folder.name, row['picture'])
            shutil.copyfile(folder / row['picture'], pictures / name)
            parts.append('![{}]({}/{})'.format(row['clip'], pictures.name, name))
    return '\n'.join(parts) + '\n'
