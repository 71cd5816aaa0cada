"""Tables that come with corpora: CSV, and workbooks of Excel."""

import csv
import zipfile
from pathlib import Path
from typing import Iterator

from training.data.corpora.samples import CURE, CorpusError

LARGEST = 256 << 20  # bytes of a table, unpacked
MOST_ROWS, MOST_COLUMNS = 1_000_000, 64


def read_csv(path: Path) -> Iterator[list[str]]:
    """
    Yield the rows of a CSV file in UTF-8, with or without a byte-order mark.

    Raises
    ------
    CorpusError
        If it cannot be read, or is larger than any list of clips.
    """
    try:
        _check_size(path, path.stat().st_size)
        with open(path, newline='', encoding='utf-8-sig') as file:
            yield from csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError('{} cannot be read as CSV in UTF-8: {}'.format(path, error)) from error


def read_xlsx(path: Path, columns: tuple) -> list[dict]:
    """
    Return the rows of a workbook's first sheet, by the names in its first row.

    Raises
    ------
    CorpusError
        If it cannot be read, or lacks one of the columns.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise CorpusError('reading {} needs openpyxl: {}'.format(path.name, CURE)) from error
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(path, sum(member.file_size for member in archive.infolist()))
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(
            max_row=MOST_ROWS, max_col=MOST_COLUMNS, values_only=True
        )
        header = [str(cell or '').strip() for cell in next(rows, ())]
        table = [dict(zip(header, row)) for row in rows if any(cell is not None for cell in row)]
        book.close()
    except CorpusError:
        raise
    except Exception as error:  # a damaged workbook raises whatever zipfile, XML or openpyxl do
        raise CorpusError('{} cannot be read as a workbook: {}'.format(path, error)) from error
    missing = [name for name in columns if name not in header]
    if missing:
        raise CorpusError(
            '{} must have the columns {}, missing: {}'.format(
                path, ', '.join(columns), ', '.join(missing)
            )
        )
    return table


def _check_size(path, size):
    if size > LARGEST:
        raise CorpusError(
            '{} unpacks to {} bytes, more than any such table: is it the right file?'.format(
                path, size
            )
        )
