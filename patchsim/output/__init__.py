"""The outputs of a search: its report, the text that is printed, the files that are written.

It uses `events`, `files`, `pictures`, `planning` and what lies below. Others use `report` (`Match`,
`Report`), `targets` for files, `text` with `match_records` for what is printed, and
`cosine_matrix`. `contract` says what a new format defines.
"""
