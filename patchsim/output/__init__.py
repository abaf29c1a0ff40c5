"""The result of a search, and how it is printed, drawn and written to files.

It may use `events` and what lies below. Others use `report` (`Report`) and `report_parts` (`Match`
and the other values in a report), `columns` (what is told of a match under which name), `targets`
(the files of a search, checked before it), `contract` and `text` (printed formats), `match_records`
(a report as rows and objects) and `cosine_matrix`. The modules of `exporters` each write one kind
of file; `targets` loads them.
"""
