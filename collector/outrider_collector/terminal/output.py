"""Where the lines of ``outrider logs`` go: a file, a pipe, a terminal, a pager."""

from __future__ import annotations

import os
import shutil
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, TextIO

from outrider.visible import visible
from outrider_collector.store.reading.export import csv_header, csv_line, json_line
from outrider_collector.terminal import pager
from outrider_collector.terminal.render import DIM, coloured, line, lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider_collector.store.reading.types import LogRow
    from outrider_collector.terminal.around import Group

Form = Literal["text", "json", "csv"]

_BETWEEN_GROUPS: Final = "--"


class Output:
    """Writes records in one form. What is not a record goes to the other file.

    With ``paged``, text for a terminal is kept until ``end``, which shows it in a pager where it is
    longer than the screen.
    """

    def __init__(self, form: Form, out: TextIO, notes: TextIO, *, paged: bool = False) -> None:
        self.form = form
        self._out = out
        self._notes = notes
        self._terminal = out.isatty()
        self._kept: list[str] | None = [] if paged and self._terminal and form == "text" else None
        self._kept_notes: list[str] = []

    def begin(self) -> None:
        """Write what comes before the first record."""
        if self.form == "csv":
            self._out.write(csv_header())

    def write(self, rows: Iterable[LogRow]) -> None:
        """Write records, and see that they are out."""
        self._put(chain.from_iterable(map(self._record, rows)))

    def write_groups(self, groups: Sequence[Group]) -> None:
        """Write hits among their neighbours: marked, in groups with ``--`` between them."""
        for number, group in enumerate(groups):
            shown = chain.from_iterable(self._neighbour(row, hit=hit) for row, hit in group)
            self._put([f"{_BETWEEN_GROUPS}\n", *shown] if number else shown)

    def note(self, text: str) -> None:
        """Say something about the records, beside them."""
        text = visible(text) + "\n"
        if self._kept is not None:
            self._kept_notes.append(text)
            return
        self._notes.write(text)
        self._notes.flush()

    def end(self) -> None:
        """Show what was kept, then the notes."""
        if self._kept is None:
            return
        lines, self._kept = self._kept, None
        size = shutil.get_terminal_size()
        long = pager.exceeds(lines, size.columns, size.lines)
        if not (long and pager.show("".join(lines), os.environ)):
            self._put(lines)
        for text in self._kept_notes:
            self._notes.write(text)
        self._notes.flush()

    def _put(self, lines: Iterable[str]) -> None:
        if self._kept is not None:
            self._kept.extend(lines)
            return
        self._out.writelines(lines)
        self._out.flush()

    def _record(self, row: LogRow) -> list[str]:
        if self.form == "text":
            return [f"{text}\n" for text in self._text(row, colours=self._terminal)]
        if self.form == "json":
            return [json_line(row)]
        # CSV is exact for files and pipes; a terminal would obey what is in it.
        return [visible(csv_line(row)[:-2]) + "\n" if self._terminal else csv_line(row)]

    def _neighbour(self, row: LogRow, *, hit: bool) -> list[str]:
        if hit:
            first, *rest = self._text(row, colours=self._terminal)
            return [f"> {first}\n", *(f"  {text}\n" for text in rest)]
        texts = self._text(row, colours=False)
        return [f"  {coloured(text, DIM, colours=self._terminal)}\n" for text in texts]

    def _text(self, row: LogRow, *, colours: bool) -> list[str]:
        # Programs that read it count on a record a line.
        return lines(row, colours=colours) if self._terminal else [line(row, colours=colours)]
