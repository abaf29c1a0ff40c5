"""How kernels are found in an image, from pictures to a report: `matcher.Matcher`, `match.match`.

It uses `search`, `output` and what lies below; the command line and scripts use it. `inputs` and
`opened_image` open the pictures, `image_search` is the way of one image, `select_matches` takes the
matches from the scores, and `assemble` makes the report.
"""
