"""The options of a search: what a user gives by keywords, checked and with its defaults.

It may use `poses` and the rooms below it. Others use `Given`, which says what keywords there are
and what they take, and `Options`, the checked values: one frozen object that all that follows gets.
`table` has a row for each option, `checks` what its rows check.
"""

from patchsim.options.checks import ALL, AUTO
from patchsim.options.keywords import Given, check_keywords
from patchsim.options.table import Options, with_signature_of_options

__all__ = ["ALL", "AUTO", "Given", "Options", "check_keywords", "with_signature_of_options"]
