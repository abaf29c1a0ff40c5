"""How kernels are found in an image, from pictures to a report: `matcher.Matcher`, `matcher.match`.

It uses `search`, `output` and what lies below; the command line and scripts use it. `inputs` opens
the pictures, `assemble` makes the report from the scores.
"""
