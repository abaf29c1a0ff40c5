"""Drop-ins: the calls of other libraries, answered by patchsim's search.

Each module has the names, arguments, values and types of one library, so that a program changes
only its import: `opencv`, `skimage`, `pyscreeze`, `mtm` (Multi-Template-Matching). None of these
libraries is needed. The modules may use every room but the command.
"""
