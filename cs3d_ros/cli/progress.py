"""How far a command is, on a terminal."""

import contextlib
import sys


@contextlib.contextmanager
def progress_bar():
    """Show a bar on a terminal; yields the function to call with the share that is done."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        BarColumn(),
        TextColumn('{task.percentage:>3.0f} %'),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        # else what goes to a file or a pipe would be printed over the bar, on stderr
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task('', total=1.0)
        yield lambda share: progress.update(task, completed=min(share, 1.0))
