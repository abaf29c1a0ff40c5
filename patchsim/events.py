"""The observer of a search, which is told of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from patchsim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchsim.planning.planner import Plan
    from patchsim.ranking.contract import Windows


class Observer:
    """Base class of what watches a search; its methods are called during `match` and do nothing.

    A subclass overrides the methods for the events that it wants. An exception that a method raises
    ends the search.

    Attributes
    ----------
    command : str or None
        The command that asks for the search, quoted for a shell, which a report page shows.
    """

    command: str | None = None

    def notice(self, text: str) -> None:
        """Tell something that the user should know about the pictures or the search.

        Parameters
        ----------
        text : str
            The notice, as plain text.
        """

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        """Tell how some kernels will be searched for, before they are.

        Parameters
        ----------
        plan : Plan
            The plan that these kernels share: engine, device, tiles, time and memory; ``str(plan)``
            is text for the user.
        kernels : sequence of str
            The names of the kernels, each with its pose in brackets if the kernel is posed.
        """

    def swept(self, text: str) -> None:
        """Tell which poses will be searched for, before they are, if that is coarse to fine.

        Parameters
        ----------
        text : str
            The scales, angles and flips.
        """

    def resolved(self, fields: Sequence[Windows], plan: Plan, kernels: Sequence[str]) -> None:
        """Tell that the matches are settled, and how many windows had to be scored exactly.

        Parameters
        ----------
        fields : sequence of Windows
            The windows of each kernel, in the order of `kernels`. ``windows_evaluated`` is the
            number of windows that were scored exactly one by one, ``blocks_evaluated`` the number
            of blocks of windows that were scored exactly as a whole, of ``block_count`` blocks.
        plan : Plan
            The plan that these kernels share.
        kernels : sequence of str
            The names of the kernels, each with its pose in brackets if the kernel is posed.
        """

    def progress(self, done: int, total: int) -> None:
        """Tell how much of the search is done.

        Parameters
        ----------
        done : int
            Units of work that are done, above 0 and up to `total`. It never falls.
        total : int
            All units of work: the windows of all kernels, or thousandths of a search for poses
            that are fitted.
        """

    def wrote(self, text: str) -> None:
        """Tell that a file was written.

        Parameters
        ----------
        text : str
            The path of the file and what is in it.
        """


def check_observer(observer: object) -> Observer:
    """Return an observer, which does nothing if none was given.

    Raises
    ------
    InputError
        If an object that is no `Observer` lacks one of its methods, or is a class.
    """
    if observer is None:
        return Observer()
    if isinstance(observer, Observer):
        return observer
    if isinstance(observer, type):
        raise InputError(f"observer {observer!r} is a class; give an instance of it")
    methods = [
        name
        for name, value in vars(Observer).items()
        if callable(value) and not name.startswith("_")
    ]
    lacking = [name for name in methods if not callable(getattr(observer, name, None))]
    if lacking:
        raise InputError(
            f"observer {observer!r} has no method {', '.join(lacking)};"
            " give an instance of a subclass of patchsim.Observer"
        )
    return cast("Observer", observer)
