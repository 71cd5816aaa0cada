"""The JSONs that runs write and docs/results.md is made of."""

import json
import shlex
import sys
from pathlib import Path

from training.data.clips import DataError, write_whole


def command() -> str:
    """Return the command that is running as one would type it; of absolute paths the end."""
    name = Path(sys.argv[0])
    words = ['python', '-m', 'training.experiments'] if name.stem == '__main__' else [name.name]
    words += [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(words)


def write_result(out: Path, part: str, result: dict, note: str = '') -> dict:
    """Write the result of a part with the command that made it; return it."""
    result = {'about': {'command': command(), 'note': note}, **result}
    Path(out).mkdir(parents=True, exist_ok=True)
    write_whole(Path(out) / (part + '.json'), (json.dumps(result, indent=1) + '\n').encode())
    return result


def read_result(out: Path, part: str) -> dict | None:
    """
    Return the result of a part, None if it was not run.

    Raises
    ------
    DataError
        If the file is no JSON.
    """
    path = Path(out) / (part + '.json')
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            '{} is no result of an experiment ({}): delete it and run the part again'.format(
                path, error
            )
        ) from error


def origin(result: dict) -> str:
    """Return the command that made a result; nothing where the result is made of several."""
    about = result.get('about')
    if not about:
        return ''
    note = ': ' + about['note'] if about.get('note') else ''
    return '`{}`{}\n'.format(about['command'], note)
