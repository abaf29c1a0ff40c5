"""Where windows, tiles and blocks lie, in integer coordinates.

It may use `types` and `errors`. Other rooms use `tiles` (`Tile`, `split`, `map_shape`,
`extent`), `overlaps.overlapping`, `blocks.BLOCK`, and `area` (regions, padding and their checks).
"""
