"""Tables of Markdown, and what stands in them: means over seeds, gains over a base."""

from training.experiments.statistics import mean_95


def table(head, rows) -> str:
    """Return a table of Markdown."""
    lines = ['| {} |'.format(' | '.join(head)), '|' + '---|' * len(head)]
    lines += ['| {} |'.format(' | '.join(map(str, row))) for row in rows]
    return '\n'.join(lines) + '\n'


def percent(values) -> str:
    """Return the mean of shares in percent with its interval."""
    values = [value for value in values if value is not None]
    return spread([100 * value for value in values], '{:.1f}')


def spread(values, form: str) -> str:
    """Return a mean with its interval, a dash where there is nothing."""
    if not values:
        return '–'
    mean = mean_95(values)
    if mean.half_width is None:
        return form.format(mean.value) + ' (1 seed)'
    return '{} ± {}'.format(form.format(mean.value), form.format(mean.half_width))


def finished(row: dict) -> list:
    """Return the runs of a row that did not break off."""
    return [run for run in row['runs'] if 'failed' not in run]


def gains(row: dict, base: dict | None, figure: str) -> list:
    """Return by how much a figure of each run differs from the base's with the same seed."""
    known = {run['seed']: run[figure] for run in finished(base)} if base and base != row else {}
    return [
        run[figure] - known[run['seed']]
        for run in finished(row)
        if None not in (run[figure], known.get(run['seed']))
    ]
