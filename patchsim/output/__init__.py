"""What is told and drawn of a search: values and rows, lines of text, pictures, files.

It may use `events`, `matches` and what lies below. Others use `report` (`Match`, `Report`),
`targets.Outputs`, the drawings in `drawing` and the lines in `formats`.
"""
