/* Memory that a call of a C extension works in, kept for the next call.
 *
 * The allocator gives memory back to the system when much of it is free, as after a large array of
 * the program around. Its pages then come anew at the next call, zeroed, one fault each: searches of
 * 512x512 pixels take up to twice as long. A block is kept here instead, of no more than
 * SCRATCH_KEPT bytes together, and taken by the next call that it is large enough for; where none is,
 * the oldest one leaves, so that no more are kept than were in use at once. Blocks below
 * SCRATCH_LEAST are not: the allocator rarely gives their pages back, and memory that the program
 * around used last is in the processor's cache, which saves 6 % in pictures of 256x256.
 *
 * Linux is asked for large pages where a block has room for some. A transform steps through its values
 * by addresses far apart, and there are more pages of 4 KiB than the processor knows the places of at
 * once: those of 1024x1024 take 1.5 times as long with these.
 *
 * Included once in an extension. A thread that finds another one at the list allocates and releases
 * as if there were none, so that nobody waits, even in a process that was forked meanwhile.
 */
#ifndef PATCHSIM_SCRATCH_H
#define PATCHSIM_SCRATCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define SCRATCH_BLOCKS 8 /* kept at once */
#define SCRATCH_LEAST ((size_t)2 << 20)
#define LARGE_PAGE ((size_t)2 << 20) /* of x86-64, and of ARM with pages of 4 KiB */
#ifdef __has_feature
#define SCRATCH_HAS(feature) __has_feature(feature)
#else
#define SCRATCH_HAS(feature) 0
#endif
#if !defined(__GNUC__) || defined(__SANITIZE_ADDRESS__) || SCRATCH_HAS(address_sanitizer)
#define SCRATCH_KEPT ((size_t)0) /* a sanitizer sees what is read past a block of the right size */
#else
#define SCRATCH_KEPT ((size_t)128 << 20)
#endif

typedef struct {
    void *base;
    size_t bytes;
} ScratchBlock;

static ScratchBlock scratch_kept[SCRATCH_BLOCKS]; /* the oldest first */
static int scratch_count;
static char scratch_is_busy;

#ifdef __GNUC__
static int scratch_enter(void)
{
    return !__atomic_test_and_set(&scratch_is_busy, __ATOMIC_ACQUIRE);
}

static void scratch_leave(void)
{
    __atomic_clear(&scratch_is_busy, __ATOMIC_RELEASE);
}
#else
static int scratch_enter(void)
{
    return 0;
}

static void scratch_leave(void)
{
}
#endif

static ScratchBlock scratch_remove(int number)
{
    const ScratchBlock removed = scratch_kept[number];
    scratch_count--;
    memmove(scratch_kept + number, scratch_kept + number + 1,
            (size_t)(scratch_count - number) * sizeof *scratch_kept);
    return removed;
}

/* Gives back what is kept. */
static void scratch_release(void)
{
    if (!scratch_enter())
        return;
    while (scratch_count > 0)
        free(scratch_remove(0).base);
    scratch_leave();
}

/* Asks for large pages inside a block, so that no more memory than its own becomes resident. Where the
 * system has none, it stays as it is. */
static void scratch_advise(const ScratchBlock *block)
{
#ifdef MADV_HUGEPAGE
    const size_t before = (LARGE_PAGE - (uintptr_t)block->base % LARGE_PAGE) % LARGE_PAGE;
    if (block->base && block->bytes >= before + LARGE_PAGE)
        madvise((char *)block->base + before, (block->bytes - before) / LARGE_PAGE * LARGE_PAGE,
                MADV_HUGEPAGE);
#else
    (void)block;
#endif
}

/* A block of so many bytes or more, aligned as by malloc. Its base is NULL without memory. */
static ScratchBlock scratch_take(size_t bytes)
{
    int best = -1;
    ScratchBlock taken = {NULL, bytes};
    if (bytes >= SCRATCH_LEAST && scratch_enter()) {
        for (int i = 0; i < scratch_count; i++)
            if (scratch_kept[i].bytes >= bytes &&
                (best < 0 || scratch_kept[i].bytes < scratch_kept[best].bytes))
                best = i;
        if (best >= 0)
            taken = scratch_remove(best);
        /* One that will not be kept itself has the memory alone. */
        for (int left = bytes > SCRATCH_KEPT ? scratch_count : best < 0 && scratch_count; left > 0; left--)
            free(scratch_remove(0).base);
        scratch_leave();
    }
    if (taken.base)
        return taken;
    taken.base = malloc(bytes);
    if (!taken.base) {
        scratch_release(); /* what is kept may be what is missing */
        taken.base = malloc(bytes);
    }
    scratch_advise(&taken);
    return taken;
}

/* Ends the use of a block, which may have no base. The oldest ones leave for it. */
static void scratch_give(ScratchBlock block)
{
    if (block.base && block.bytes >= SCRATCH_LEAST && block.bytes <= SCRATCH_KEPT &&
        scratch_enter()) {
        size_t kept = block.bytes;
        for (int i = 0; i < scratch_count; i++)
            kept += scratch_kept[i].bytes;
        while (scratch_count == SCRATCH_BLOCKS || kept > SCRATCH_KEPT) {
            const ScratchBlock oldest = scratch_remove(0);
            kept -= oldest.bytes;
            free(oldest.base);
        }
        scratch_kept[scratch_count++] = block;
        scratch_leave();
        return;
    }
    free(block.base);
}

#endif
