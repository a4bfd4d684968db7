"""Text with one pair a line → its pairs: which separator, which quotes mean something, is line 1 a header.

All three are told from the text as a whole, and where that does not tell, the reader has to.
"""

import csv
import re
import warnings
from collections.abc import Iterator
from io import BytesIO, StringIO
from itertools import islice

import pandas as pd

from .columns import Places, Wanted
from .errors import DataError
from .ratings import Pairs

SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".txt": None, ".dat": None, ".data": None}
UNIT = "\x1f"  # stands for separators of several characters
CANDIDATES = (",", "\t", ";", "|", "::", " ")
TIME = re.compile(r"\s*(\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?|\d\d?[/.]\d\d?[/.]\d{4}( \d\d?:\d\d.*)?)\s*")
VALUE = re.compile(rf"\s*-?\d+([.,]\d+)?([eE][+-]?\d+)?\s*|{TIME.pattern}|.*://.*|\S+@\S+\.\S+")
HINT = " (with header=False the first line is data too, and user and item come first)"


class Text:
    """A file's text in lines without "\\r", and its separator. ``start``: how many lines on top are not the data."""

    def __init__(self, label: str, data: bytes, expected: str | None, sep: str | None):
        self.label, self.data = label, _decoded(label, data)
        first = BytesIO(self.data).readline().decode().strip('\n "')
        if "\0" in first:
            raise DataError(f"{label} holds no text")
        self.start = 0
        if match := re.fullmatch("sep=(.)", first):  # Excel's own
            self.start, sep = 1, sep or match[1]
        if not self.data.strip():
            raise DataError(f"{label} is empty")
        self.shown = sep or self._separator(expected)
        if self.shown.isspace() and self.shown != "\t":
            self.data = re.sub(rb"[ \t]+", UNIT.encode(), re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", self.data))
        elif len(self.shown) > 1:
            self.data = self.data.replace(self.shown.encode(), UNIT.encode())
        self.sep = self.shown if len(self.shown) == 1 and self.shown != " " else UNIT
        self.quoted = b'"' in self.data
        self._skip_comments()

    def _separator(self, expected: str | None) -> str:
        """What divides line 1 into names that we know; else what the file's ending promises, if line 1 has it; else
        what divides all lines alike."""
        lines = [line for _, line in islice(self._raw_lines(), 200) if not line.startswith("#")]
        lines = lines or [line for _, line in islice(self._raw_lines(), 1)]
        named = [sep for sep in CANDIDATES if Wanted().fits(split(lines[0], sep))]
        if named:  # of tabs and spaces the tabs
            return expected if expected in named else named[0]
        widths = {sep: [len(split(line, sep)) for line in lines] for sep in CANDIDATES}
        alike = {sep: found[0] for sep, found in widths.items() if found[0] > 1 and len(set(found)) == 1}
        if widths.get(expected, [1])[0] > 1:  # but "1;10;3,5" has commas inside its numbers
            rivals = [sep for sep in ("\t", ";") if alike.get(sep, 0) > widths[expected][0]]
            return rivals[0] if expected == "," and rivals else expected
        if " " in alike and (len(alike) > 1 or not self._is_spaced(lines)):
            del alike[" "]
        if len(alike) > 1:
            raise DataError(f"{self.label}: each of {', '.join(map(repr, alike))} may be what separates the fields: "
                            "say which by sep=")
        if not alike and expected is None:
            raise DataError(f"{self.label}: neither commas, tabs, ';', '|', '::' nor spaces divide all lines alike: "
                            "name what does by sep= (in lists of items, user item item …, each user has one line, of "
                            "whole numbers)")
        return next(iter(alike), expected)

    @staticmethod
    def _is_spaced(lines: list[str]) -> bool:
        """Whether spaces stand between numbers, rather than between words."""
        return all(VALUE.fullmatch(field) for line in lines for field in line.split()[:2])

    def _skip_comments(self) -> None:
        """Lines on top that begin with # or % and do not divide as the others do."""
        lines = [(number, split(line, self.sep)) for number, line in islice(self._raw_lines(), 100)]
        top = [fields for _, fields in lines if not fields[0].startswith(("#", "%"))]
        for number, fields in lines:
            if not fields[0].startswith(("#", "%")) or not top or len(fields) == len(top[0]):
                break
            self.start = number

    def _raw_lines(self) -> Iterator[tuple[int, str]]:
        """(number, line) of every line that is not blank, from ``start`` on."""
        for number, line in enumerate(BytesIO(self.data), 1):
            if number > self.start and line != b"\n":
                yield number, line.rstrip(b"\n").decode()

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        for number, line in self._raw_lines():
            yield number, split(line, self.sep)

    def columns(self, places: list[int], width: int, skip: int) -> pd.DataFrame:
        """The columns at ``places`` below line ``skip`` as strings, NaN where they are empty, by their lines."""
        s = re.escape(self.sep)
        field = rf'(?:"(?:[^"\n]|"")*+"|[^"{s}\n][^{s}\n]*+|)'
        odd = rf"(?m)^(?!{field}(?:{s}{field})*+$)".encode()
        if self.quoted and re.search(odd, self.data):
            return self._with_odd_quotes(places, width, skip)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # raised for a first row with too many fields
                frame = pd.read_csv(BytesIO(self.data), sep=self.sep, header=None, names=range(width), index_col=False,
                                    dtype=str, skiprows=skip, skip_blank_lines=False, keep_default_na=False,
                                    na_values=[""], quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE)
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            self._check_widths(width, skip)
            raise
        except pd.errors.EmptyDataError:
            frame = pd.DataFrame(columns=range(width), dtype=str)
        frame.index = pd.RangeIndex(1 + skip, 1 + skip + len(frame), name="line")
        if frame[[*places, width - 1]].isna().to_numpy().any():
            self._check_widths(width, skip)
            lines = self.data.split(b"\n")
            frame = frame[[bool(lines[line - 1]) for line in frame.index]]
        return frame[places]

    def _check_widths(self, width: int, skip: int) -> None:
        for number, fields in self.rows():
            if number > skip and len(fields) != width:
                raise DataError(f"{self.label}, line {number}: expected {width} fields, found {len(fields)}")

    def _with_odd_quotes(self, places: list[int], width: int, skip: int) -> pd.DataFrame:
        """Where some line's quotes are not in pairs: they are characters, if every line divides alike that way; else
        they hold line breaks, if every record divides alike that way."""
        rows = [(number, fields) for number, fields in self.rows() if number > skip]
        if wrong := next((row for row in rows if len(row[1]) != width), None):
            rows = self._records(width, skip)
            if not rows:
                raise DataError(f"{self.label}, line {wrong[0]}: expected {width} fields, found {len(wrong[1])} (some "
                                'lines have a lone ")')
        index = pd.Index([number for number, _ in rows], name="line")
        return pd.DataFrame({place: [fields[place] or None for _, fields in rows] for place in places}, index=index,
                            dtype="object")

    def _records(self, width: int, skip: int) -> list[tuple[int, list[str]]]:
        """The records with line breaks inside quotes; empty where they do not divide alike."""
        lines = self.data.decode().split("\n")[skip:]
        reader, rows, begin = csv.reader(StringIO("\n".join(lines)), delimiter=self.sep, strict=True), [], 0
        try:
            for fields in reader:
                if fields and len(fields) != width:
                    return []
                inner = lines[begin + 1:reader.line_num - 1]
                if any(len(split(line, self.sep)) == width for line in inner):
                    raise DataError(f"{self.label}, line {skip + begin + 1}: a quote opens here and closes in line "
                                    f"{skip + reader.line_num}, around lines that look like rows of their own: remove "
                                    "or double it")
                if fields:
                    rows.append((skip + begin + 1, fields))
                begin = reader.line_num
        except csv.Error:
            return []
        return rows


def _decoded(label: str, data: bytes) -> bytes:
    """As UTF-8 without byte order mark, lines ended by "\\n"."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        what = "UTF-16" if encoding == "utf-16" else "UTF-8"
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{label}, line {line}: not {what} text; save the file as UTF-8") from None
    data = text.encode() if encoding == "utf-16" else data.removeprefix(b"\xef\xbb\xbf")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def split(line: str, sep: str) -> list[str]:
    """A line's fields. A quote counts only where it opens a field and another closes it before the next separator."""
    if sep == " ":
        return line.split()
    if '"' not in line:
        return line.split(sep)
    if len(sep) > 1:
        line, sep = line.replace(sep, UNIT), UNIT
    s = re.escape(sep)
    fields = re.finditer(rf'(?:^|{s})(?:"((?:[^"]|"")*)"(?={s}|$)|([^{s}]*))', line)
    return [field[2] if field[1] is None else field[1].replace('""', '"') for field in fields]


def read_text(text: Text, wanted: Wanted, header: bool | None, notes: list[str]) -> Pairs:
    """A table's pairs. ``header``: whether line 1 names the columns; None for what the text tells."""
    label = text.label
    first, names = next(text.rows(), (0, []))
    where, width = f"{label}, line {first}", len(names)
    if not names:
        raise DataError(f"{label}: no pairs in it")
    stripped = [names[0].lstrip("#% "), *names[1:]]
    if names[0].startswith(("#", "%")) and Wanted().fits(stripped):
        names = stripped
    if width < 2:
        raise DataError(f"{where}: expected 2 fields or more with {text.shown!r} between them, found 1: name what "
                        "separates them by sep=, or remove what stands above the data (a header needs columns 'user' "
                        "and 'item')")
    if header is None:
        header = _is_header(text, names, wanted, where)
    places = wanted.among(names, where, HINT) if header else wanted.without_names(width, where)
    used = {"user": places.user, "item": places.item, "rating": places.rating, "time": places.time}
    used = {role: place for role, place in used.items() if place is not None}
    frame = text.columns(sorted({*used.values()}), width, first if header else first - 1)
    if text.sep == UNIT and text.quoted:  # the separator inside quotes
        frame = frame.apply(lambda column: column.str.replace(UNIT, text.shown))
    if header:
        again = (frame[places.user] == names[places.user]) & (frame[places.item] == names[places.item])
        if again.any():
            line = frame.index[again.to_numpy(dtype=bool, na_value=False)][0]
            raise DataError(f"{label}, line {line}: the header stands here again: remove it")
    else:
        _doubt(text, frame, places, width, wanted, notes)
    pairs = frame[[*used.values()]].set_axis([*used], axis=1)
    rating, time = ("" if place is None else names[place] if header else f"column {place}"
                    for place in (places.rating, places.time))
    return Pairs(pairs, rating, tuple(names[place] for place in places.others), time)


def _is_header(text: Text, names: list[str], wanted: Wanted, where: str) -> bool:
    """Whether line 1 names the columns. It does where it has the names that we know or the caller gave. It does not
    where it has a number, date or address above more of its kind, or a user or item that comes again, or one that is
    written as those below. Raises DataError where none of this is so."""
    if wanted.fits(names):
        return True
    places = wanted.without_names(len(names), where)
    two = places.user, places.item
    rows = (fields for _, fields in text.rows() if len(fields) == len(names))
    next(rows)
    sample = list(islice(rows, 1000))
    numbered = names == [str(place) for place in range(len(names))] and len(names) > 2
    if names[0] and not numbered:
        if any(VALUE.fullmatch(name) and (not sample or any(VALUE.fullmatch(row[place]) for row in sample))
               for place, name in enumerate(names)):
            return False
        if any(_of_a_kind(names[place], [row[place] for row in sample]) for place in two):
            return False
        user, item = two
        if any((row[user] == names[user]) != (row[item] == names[item]) for part in (sample, rows) for row in part):
            return False
    if wanted.user is None or wanted.item is None:
        Wanted().among(names, where, HINT)  # raises, since it has no such names
    raise DataError(f"{where}: names or the first pair? It reads {', '.join(names)}: say so by header=True or "
                    "header=False")


def _of_a_kind(first: str, below: list[str]) -> bool:
    """Whether ids with digits look like one series: the same letters before the first digit, or one length."""
    below = below[:100]
    if not below or not all(re.search(r"\d", name) for name in [first, *below]):
        return False
    heads = [re.match(r"\D*", name)[0] for name in below]
    head = re.match(r"\D*", first)[0]
    return 2 * heads.count(head) > len(below) or len(first) >= 8 and all(len(name) == len(first) for name in below)


def _doubt(text: Text, frame: pd.DataFrame, places: Places, width: int, wanted: Wanted, notes: list[str]) -> None:
    """Say what was done with a table without header where it has more than two columns."""
    for role, place in (("user", places.user), ("item", places.item)):
        head = frame[place].head(100).dropna()
        if getattr(wanted, role) is None and len(head) and head.map(lambda x: bool(TIME.fullmatch(x))).all():
            raise DataError(f"{text.label}: has no header, and its column {place} holds dates, so it cannot be the "
                            f"{role}: say which is by {role}_col= (0 is the first)")
    if width > 2 and wanted.user is None:
        numbers = pd.to_numeric(frame[places.user], errors="coerce")
        if len(numbers) > 2 and (numbers.diff().iloc[1:] == 1).all():
            notes.append(f"{text.label}: column 0, taken as the user, counts the rows: if it is none, name the "
                         "columns, as by user_col=1, item_col=2")
    if width > 2 and wanted.rating is None:
        notes.append(f"{text.label}: has no header: column {places.user} is the user, {places.item} the item, and the "
                     "others are ignored, ratings too, so that every row is a positive; rating_col=2 with threshold= "
                     "keeps the rows with a rating in column 2 of so much or more")
