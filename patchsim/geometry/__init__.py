"""Where windows, tiles and blocks lie: whole numbers alone.

It may use `types` and `errors`. Others use `tiles` (`Tile`, `split`, `map_shape`, `extent`),
`overlaps.overlapping`, `blocks.BLOCK` and what checks a region or a border in `area`.
"""
