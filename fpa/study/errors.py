"""The study's two errors: what its user got wrong, and a run that went wrong."""


class StudyError(ValueError):
    """Bad input: an unknown name, a file that is not there. Its message is one sentence; nothing was written."""


class RunFailed(RuntimeError):
    """A run that did not end well. Its message is one sentence; nothing of it was published."""
