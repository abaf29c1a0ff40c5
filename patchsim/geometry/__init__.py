"""Where windows, tiles and blocks lie, and how much boxes and turned frames overlap.

It may use `types` and `errors`. Other rooms use `tiles` (`Tile`, `split`, `map_shape`,
`extent`), `overlaps.overlapping`, `polygons.intersection_area`, `blocks.BLOCK`, and `area`
(regions, padding and their checks).
"""
