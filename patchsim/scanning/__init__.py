"""How kernels are found in many pictures, one after the other: `scanner.scan`.

It uses `matching` and what lies below. `requests` says what is asked of one picture, `listing`
which pictures there are, `lines` reads lists; `records` are the results as they are printed, and
`journal` is the file that a scan goes on from.
"""
