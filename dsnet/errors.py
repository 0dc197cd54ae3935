"""The one exception that a user is meant to read, and how several are collected."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class UserError(Exception):
    """Something the user can put right; its text is one sentence.

    Parameters
    ----------
    where : str
        Table and row (``dxa.csv row 7``), ``file_key`` or config key. Never a path inside the
        cohort, a hospital ID or a name: those are identifying.
    expected : str
        What should have been there.
    came : str
        What was there instead. Free text from a cell may be a name, so describe it
        (``text of 6 characters``) and put the value itself into `private`.
    remedy : str
        What to do, as an imperative.
    private : str, optional
        Identifying detail, printed on the terminal only, and only with ``--show-private``.
    """

    def __init__(
        self, where: str, *, expected: str, came: str, remedy: str, private: str = ""
    ) -> None:
        super().__init__(f"{where}: expected {expected}, but found {came}; {remedy}.")
        self.where, self.expected, self.came, self.remedy = where, expected, came, remedy
        self.private = private


_collected: ContextVar[list[UserError] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_errors() -> Iterator[list[UserError]]:
    """Yield a list that receives the errors of all `collectable` blocks within.

    For ``dsnet check``, which shows every fault of a cohort at once. What readers return meanwhile
    lacks the faulty rows.
    """
    errors: list[UserError] = []
    token = _collected.set(errors)
    try:
        yield errors
    finally:
        _collected.reset(token)


@contextmanager
def collectable() -> Iterator[None]:
    """Mark the reading of one row or file, without which the rest can be read.

    A `UserError` in it ends the block. Within `collect_errors` it is collected, and what follows
    the block goes on; elsewhere it is raised as ever.
    """
    try:
        yield
    except UserError as error:
        errors = _collected.get()
        if errors is None:
            raise
        errors.append(error)
