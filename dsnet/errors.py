"""The one exception that a user is meant to read."""


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
        self.private = private
