"""What a search tells those who watch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchsim.planning.planner import Plan
    from patchsim.ranking.contract import Windows


class Observer:
    """Told what happens during a search; does nothing itself."""

    def notice(self, text: str) -> None:
        """Something about the pictures that the user should know."""

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        """How some kernels will be searched for."""

    def swept(self, text: str) -> None:
        """How poses will be searched for."""

    def resolved(self, fields: Sequence[Windows], plan: Plan, kernels: Sequence[str]) -> None:
        """The matches are settled; `fields` say how many scores had to be exact for them."""

    def progress(self, done: int, total: int) -> None:
        """Windows scored, of all kernels'."""

    def wrote(self, text: str) -> None:
        """A file was written; `text` says which and what is in it."""
