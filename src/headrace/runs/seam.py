"""The seam of an answer that another attempt goes on with: what it repeats of the words already shown is left out.

    shown       … and the answer to this is for
    comes            the answer to this is forty-two.
    seam        … and the answer to this is forty-two.

A model that is given the beginning of its answer goes on behind it, as a rule. Some services repeat what they were
given (Mistral), some models the last line, and one that overlooks it begins anew. So the first characters are compared
with every ending of what was shown, and held back for as long as they may still become one: a few characters, where
nothing is repeated. An ending of 20 characters counts as repeated (L26), and so does the whole of what was shown where
that is shorter. What is shorter than that may be meant: "ha" may follow "ha".

White space at the end of what was shown is not given to the next attempt, since services refuse it or drop it; where it
comes again at the seam, it is left out as well. Pure.
"""

from __future__ import annotations

LEAST_REPEATED_CHARACTERS = 20


class Seam:
    """Holds the beginning of an attempt that goes on with `said` against it.

    Args:
        said: the text that was shown.
        least_whole: from how many characters on the whole of `said`, if it is repeated, is not meant.
    """

    __slots__ = ("_held", "_least", "_said", "_space", "passed")

    def __init__(self, said: str, *, least_whole: int = 8) -> None:
        self._said = said
        self._least = min(LEAST_REPEATED_CHARACTERS, max(least_whole, len(said)))
        self._space = said[len(said.rstrip()) :]
        self._held = ""
        self.passed = False
        """Whether nothing more can be repeated: all that follows is new."""

    def feed(self, text: str) -> str:
        """What of `text`, and of what was held before, is new; the rest is held, or was said before."""
        self._held += text
        while self._held and not self.passed:
            if self._undecided():
                return ""
            self._cut()
        new, self._held = self._held, ""
        return new

    def finish(self) -> str:
        """What is still held when nothing follows."""
        while self._held and not self.passed:
            self._cut()
        new, self._held = self._held, ""
        return new

    def _undecided(self) -> bool:
        """Whether what is held is the beginning of something that would be left out."""
        said, held = self._said, self._held
        if len(held) < len(self._space) and self._space.startswith(held):
            return True
        # Its first place in what was said begins the longest ending that it may still become.
        place = said.find(held)
        longest = len(said) - place if place >= 0 else 0
        return longest > len(held) and longest >= self._least

    def _cut(self) -> None:
        """Leaves out what is repeated at the beginning of what is held; where nothing is, the seam is passed."""
        said, held = self._said, self._held
        for length in range(min(len(said), len(held)), self._least - 1, -1):
            if said.endswith(held[:length]):
                self._held = held[length:]
                return
        common = 0
        while common < min(len(held), len(self._space)) and held[common] == self._space[common]:
            common += 1
        self._held, self._space = held[common:], ""
        self.passed = common == 0
