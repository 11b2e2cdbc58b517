"""What stops a measurement, with the sentence that says what to do and the exit code for it."""


class CannotMeasure(Exception):
    """Something that is needed is missing or does not start; its text names the remedy."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code
