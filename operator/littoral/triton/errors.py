"""Why a variant cannot be served on a profile at all."""


class Unservable(ValueError):  # noqa: N818 (named as the condition it becomes; it is an answer, not a defect)
    """A revision cannot be built from this spec and this catalogue; only another of either heals it.

    `reason` is the CamelCase word for conditions; the text is one sentence for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
