"""
Puts docs/results.md together from the JSONs of the runs.

Runs are made one after the other, on several machines: a section whose run the folder does not
hold stays as it stands in the document, and what was never run is named as such.
"""

import re
from pathlib import Path
from typing import Callable, NamedTuple

from training.data.clips import DataError, write_whole
from training.experiments import sections
from training.experiments.results import origin, read_result

COMMAND = 'python -m training.experiments '
PAPER = COMMAND + 'paper DATA --out DIR --parts '
MISSING = '*Not run yet: `{}`.*\n'


class Part(NamedTuple):
    """One question."""

    title: str
    command: str  # that answers it
    render: Callable  # takes the result and the folder for figures, returns Markdown


PARTS = {
    'ladder': Part(
        'The ladder, and what else reads the same input', PAPER + 'ladder', sections.ladder
    ),
    'longer': Part(
        'C3D, CS3D and what ships of it, taught for longer',
        PAPER + 'longer --epochs N',
        sections.longer,
    ),
    'costs': Part('What it costs', PAPER + 'costs', sections.costs),
    'sensitivity': Part(
        'Threshold and steepness of the neuron', PAPER + 'sensitivity', sections.sensitivity
    ),
    'light': Part('In poor light', PAPER + 'light --grey-clips N', sections.light),
    'cross': Part('Across sets', COMMAND + 'cross A B --out DIR', sections.cross),
    'folds': Part(
        'Small corpora, every person tested once',
        COMMAND + 'folds CORPUS --out DIR',
        sections.folds,
    ),
    'ablation': Part(
        'What each ingredient brings', COMMAND + 'ablate DATA --out DIR', sections.ablation
    ),
    'real': Part(
        'On real people',
        COMMAND + 'real BUNDLE --videos FOLDER -o DIR/real/NAME',
        sections.real_people,
    ),
}


def read_results(out: Path) -> dict:
    """
    Return the results that a folder holds, by part.

    Raises
    ------
    DataError
        If a file in it is none of ours.
    """
    out = Path(out)
    results = {name: read_result(out, name) for name in PARTS if name != 'real'}
    reports = sorted(out.glob('real/*/real.json'))
    bundles = [(path.parent, read_result(path.parent, 'real')) for path in reports]
    results['real'] = {'bundles': bundles} if bundles else None
    return {name: result for name, result in results.items() if result}


def write_document(out: Path, document: Path) -> None:
    """Write the document and its figures, which lie beside it in a folder of its name."""
    results, known = read_results(out), _sections(document)
    pictures = document.with_suffix('')
    try:
        pictures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError('{} cannot be made: {}'.format(pictures, error)) from error
    lines = [HEAD]
    for name, part in PARTS.items():
        lines.append('## {}\n'.format(part.title))
        if name in results:
            lines += filter(None, (origin(results[name]), part.render(results[name], pictures)))
        else:
            lines.append(known.get(part.title, MISSING.format(part.command)))
    write_whole(document, '\n'.join(lines).encode())


def _sections(document):
    """Return the sections that a document has, by their titles."""
    try:
        text = document.read_text(encoding='utf-8')
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(
            '{} cannot be read ({}): take another --document'.format(document, error)
        ) from error
    _, *parts = re.split(r'^## (.*)\n\n', text, flags=re.M)
    return {title: body.strip('\n') + '\n' for title, body in zip(parts[::2], parts[1::2])}


HEAD = """# What was measured

Written by `python -m training.experiments paper` from the JSONs of its runs; no figure in it was
typed; each part names its command and scale. Means are over seeds, ± half of the 95 % interval
(Student). Accuracy is that of seven expressions on clips of rendered people whom neither training
nor choice saw: one answer per transition, the clip networks to the window that shows it, the
streaming one after the same frame. More than half of these answers are neutral, as every face goes
back to it; mean recall counts each expression alike, and guessing brings 14.3 %.
"""
