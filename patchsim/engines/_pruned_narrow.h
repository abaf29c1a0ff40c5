/* Bounds of all windows of a picture by `sad` in one call, as fine as pays; a part of `_pruned.c`,
 * which says what `narrow` takes.
 *
 * The channels are summed together in the cells of the first level, and apart in the others.
 */

#define LEVEL 4 /* numbers that describe a level */
#define GROUP 64 /* windows side by side whose bounds are raised together, or half as many */
#define FAR 64 /* a mean difference of a value from here on is as good as any */

typedef struct {
    const int64_t *levels; /* [count, LEVEL]: height, width of a cell, cells down, across */
    const uint32_t *sums;
    const double *costs; /* [count, 2] */
    ptrdiff_t count, channels, width, kernel_width;
    uint64_t slack;
    ptrdiff_t most; /* rows that may be compared afterwards */
    Look look;
    void (*boxes)(const Boxes *);
    void (*bounds)(Bounds *);
    void *scratch;
    Boxes level; /* the boxes of a level */
    Bounds own; /* and its bounds */
    int64_t *offsets;
    uint16_t *below, *above;
    /* Found: */
    double unit; /* a bound of 1 is a difference of so much */
    ptrdiff_t left;
} Narrow;

static ptrdiff_t picture_height(const Narrow *t)
{
    return t->look.rows + t->look.height - 1;
}

/* Memory for the boxes of any level, and for what they are made of. */
static int narrow_scratch(Narrow *t)
{
    const size_t width = (size_t)t->width, channels = (size_t)t->channels;
    size_t most = 0, widest = 0;
    for (ptrdiff_t number = 0; number < t->count; number++) {
        const int64_t *level = t->levels + number * LEVEL;
        size_t cells = (size_t)(level[2] * level[3]) * channels;
        most = cells > most ? cells : most;
        widest = (size_t)level[1] > widest ? (size_t)level[1] : widest;
    }
    const size_t boxes = channels * (size_t)picture_height(t) * width + PADDING;
    const size_t blocks = (size_t)((t->look.rows / LARGEST_BLOCK + 1) *
                                   (t->look.cols / LARGEST_BLOCK + 1));
    const size_t reach = width + widest, words = 2 * most + boxes + width * (channels + 1) + blocks;
    t->scratch = malloc(most * sizeof *t->offsets + 2 * reach * sizeof(uint32_t) +
                        words * sizeof(uint16_t));
    if (!t->scratch)
        return 0;
    t->offsets = t->scratch;
    t->level.runs = (uint32_t *)(t->offsets + most);
    t->level.sums = t->level.runs + reach;
    t->level.columns = (uint16_t *)(t->level.sums + reach);
    t->level.out = t->level.columns + width * channels;
    t->below = t->level.out + boxes;
    t->above = t->below + most;
    t->own.lines = t->above + most;
    t->own.least = t->own.lines + width;
    return 1;
}

/* As `Grid.of` in grids.py, whose units these are for bounds that Python reads: the boxes of a level
 * for the picture and the kernel, with the most digits whose bounds reach a difference `most`; a bound
 * of 1 is a difference of what is returned. */
static double take_level(Narrow *t, ptrdiff_t number, double most)
{
    const int64_t *level = t->levels + number * LEVEL;
    const ptrdiff_t tall = (ptrdiff_t)level[0], wide = (ptrdiff_t)level[1];
    const ptrdiff_t down = (ptrdiff_t)level[2], across = (ptrdiff_t)level[3];
    const ptrdiff_t planes = number ? t->channels : 1, together = t->channels / planes;
    const double far = (double)(tall * wide * down * across) * (double)(t->channels * FAR);
    const double least_unit = (most < far ? most : far) / (GONE - 1);
    int shift = 0;
    while (tall * wide * together * 255 >> shift > 65535 || (double)(1 << shift) < least_unit)
        shift++;
    Boxes *boxes = &t->level;
    boxes->image = t->look.image, boxes->pitch = t->look.pitch;
    boxes->channels = t->channels, boxes->width = t->width, boxes->planes = planes;
    boxes->cell_height = tall, boxes->cell_width = wide;
    boxes->rows = picture_height(t) - tall + 1;
    boxes->stride_x = 1, boxes->up = 0, boxes->down = shift;
    boxes->row_pitch = boxes->phase_pitch = t->width;
    memset(boxes->columns, 0, (size_t)(t->width * t->channels) * sizeof *boxes->columns);
    t->boxes(boxes);
    const uint32_t *sums = t->sums;
    for (ptrdiff_t before = 0; before < number; before++)
        sums += t->levels[before * LEVEL + 2] * t->levels[before * LEVEL + 3] * t->channels;
    ptrdiff_t at = 0;
    for (ptrdiff_t plane = 0; plane < planes; plane++)
        for (ptrdiff_t cell = 0; cell < down * across; cell++, at++) {
            const uint32_t *first = sums + cell * t->channels + plane;
            uint64_t exact = 0;
            for (ptrdiff_t c = 0; c < together; c++)
                exact += first[c];
            const uint64_t floor = exact >> shift;
            const uint64_t ceiling = (exact + ((uint64_t)1 << shift) - 1) >> shift;
            /* The picture's boxes are rounded down themselves. */
            t->below[at] = (uint16_t)(shift && floor ? floor - 1 : floor);
            t->above[at] = (uint16_t)(ceiling < 65535 ? ceiling : 65535);
            const ptrdiff_t row = plane * boxes->rows + cell / across * tall;
            t->offsets[at] = row * t->width + cell % across * wide;
        }
    Bounds *own = &t->own;
    own->boxes = boxes->out, own->offsets = t->offsets;
    own->below = t->below, own->above = t->above, own->cells = at;
    own->row_step = t->width, own->rows = t->look.rows, own->cols = t->look.cols;
    own->out = t->look.bounds, own->out_pitch = t->look.bounds_pitch;
    own->block = LARGEST_BLOCK;
    return (double)(1 << shift);
}

/* Counts the windows whose bounds allow a limit, and the groups that have some. */
INLINE ptrdiff_t count_open(const Look *t, uint16_t limit, ptrdiff_t *groups)
{
    ptrdiff_t open = 0;
    *groups = 0;
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        const uint16_t *bounds = t->bounds + row * t->bounds_pitch;
        for (ptrdiff_t first = 0; first < t->cols; first += GROUP) {
            ptrdiff_t n = t->cols - first < GROUP ? t->cols - first : GROUP;
            uint16_t some = 0;
            for (ptrdiff_t i = 0; i < n; i++)
                some = (uint16_t)(some + (bounds[first + i] <= limit));
            open += some;
            *groups += some > 0;
        }
    }
    return open;
}

#define SAVED 0.5 /* the share of the windows left that a finer level is expected to exclude */

/* Whether the windows left are too many, if each level to come leaves the share that the last did. */
static int is_hopeless(const Narrow *t, ptrdiff_t left_before, ptrdiff_t levels)
{
    const double share = (double)t->left / (double)left_before;
    double rows = (double)t->left * (double)t->look.height * SAVED;
    for (; levels > 0; levels--)
        rows *= share;
    return rows > (double)t->most;
}

INLINE void narrow_body(Narrow *t)
{
    Look *look = &t->look;
    ptrdiff_t left_before = 0;
    t->unit = take_level(t, 0, 1e300);
    t->bounds(&t->own);
    look->scale = (1 - 1e-12) / t->unit;
    look->best = UINT64_MAX;
    for (ptrdiff_t number = 1;; number++) {
        /* The window of the least bound is mostly about the best one. */
        uint16_t least;
        ptrdiff_t first = least_window(look, &least), groups;
        uint64_t sum = evaluate(look, first / look->cols, first % look->cols, look->best);
        look->best = sum < look->best ? sum : look->best;
        const uint64_t limit = look->best + t->slack;
        left_before = t->left;
        t->left = count_open(look, reach(look, limit), &groups);
        const double rows = (double)t->left * (double)look->height * SAVED;
        while (number < t->count &&
               t->costs[2 * number] + t->costs[2 * number + 1] * (double)groups >= rows)
            number++;
        if (number == t->count || (left_before && is_hopeless(t, left_before, t->count - number)))
            return;
        double unit = take_level(t, number, 1.05 * (double)limit);
        t->own.raises = 1, t->own.limit = reach(look, limit);
        t->own.ratio = unit / t->unit * (1 - 1e-12);
        t->bounds(&t->own);
    }
}

enum { NARROWED, NARROW_KERNEL, LEVELS, LEVEL_SUMS, COSTS, NARROW_BOUNDS, NARROW_BUFFERS };

static const char *narrow_misfit(const Narrow *t, const Py_buffer *b)
{
    const Look *look = &t->look;
    if (!ENTRY_ARE_SIZES(look->pitch, t->channels, t->width, look->rows, look->height,
                         t->kernel_width) ||
        t->kernel_width > t->width || t->slack > (uint64_t)1 << 62)
        return "a size is out of range";
    ptrdiff_t run = entry_times(t->width, t->channels);
    ptrdiff_t lines = entry_plus(look->rows, look->height) - 1;
    if (run > look->pitch || entry_extent(lines, look->pitch, run) > b[NARROWED].len)
        return "the image is smaller than its windows";
    if (b[NARROW_KERNEL].len !=
        entry_times(look->height, entry_times(t->kernel_width, t->channels)))
        return "the kernel has another size than its rows";
    if (b[NARROW_BOUNDS].len / 2 != entry_times(look->rows, t->width - t->kernel_width + 1))
        return "the bounds are fewer or more than the windows";
    if (!t->count || b[LEVELS].len != t->count * LEVEL * 8 || b[COSTS].len != t->count * 2 * 8)
        return "the levels have another size than their costs";
    for (int i = 0; i < NARROW_BUFFERS; i++)
        if (!entry_is_aligned(b[i].buf, i == LEVELS || i == COSTS ? 8
                                        : i == LEVEL_SUMS         ? 4
                                        : i == NARROW_BOUNDS      ? 2
                                                                  : 1))
            return NOT_ALIGNED;
    for (int i = 0; i < NARROW_BOUNDS; i++)
        if (entry_overlap(&b[NARROW_BOUNDS], &b[i]))
            return "the bounds lie where other values do";
    ptrdiff_t sums = 0;
    for (ptrdiff_t number = 0; number < t->count; number++) {
        const int64_t *level = t->levels + number * LEVEL;
        if (!ENTRY_ARE_SIZES((ptrdiff_t)level[0], (ptrdiff_t)level[1], (ptrdiff_t)level[2],
                             (ptrdiff_t)level[3]) ||
            level[0] > TALLEST || level[1] > WIDEST / t->channels ||
            entry_times(level[0], level[2]) > look->height ||
            entry_times(level[1], level[3]) > t->kernel_width)
            return "the size of a level is larger than the kernel";
        sums = entry_plus(sums, entry_times(entry_times(level[2], level[3]), t->channels));
    }
    if (b[LEVEL_SUMS].len != entry_times(sums, 4))
        return "the sums are fewer or more than the cells";
    return NULL;
}
