"""Where windows, tiles and blocks lie, in integer coordinates.

This room uses `types` and `errors`. Other rooms use `tiles` (`Tile`, `split`, `map_shape`,
`extent`), `overlaps.overlapping`, `blocks.BLOCK`, and `area` (regions, padding and their checks).
"""
