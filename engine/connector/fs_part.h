/* fs_part.h: one part file of the filesystem sink, from its hidden name to its visible one.
 *
 * Names: `.part-<incarnation>-<subtask>-<n>.inprogress` while written, `part-<incarnation>-<subtask>-<n>` when visible;
 * n never repeats within (incarnation, subtask). The incarnation here is that of one sink of the job (fs_sink.c). Life:
 *
 *   open --part_close--> closed --seal of epoch e--> closed in e --complete(e)--> visible
 *     \--seal of epoch e: committed length--> open            restore of e: open and closed in e -> visible, cut to the length
 *
 * On restore an open part's committed bytes are copied into a new file before they become visible: a writer of the dead
 * attempt that wakes up late still holds the old file and may append to it, never to what readers see. */
#pragma once
#include "engine/connector/connector.h"

typedef struct part {
    char *dir;             /* below the table's path: "" or "dt=../hm=.." */
    uint64_t incarnation, n;
    uint32_t subtask;
    int fd;                /* -1 when closed */
    buf_t buf;             /* not yet written */
    uint64_t length;       /* rows' bytes so far, buf included */
    int64_t opened_ms, used_ms;
    uint64_t used;         /* for least-recently-used */
    bool closed, dirty;    /* dirty: written or named since the last sync */
    epoch_t sealed;        /* closed: the epoch whose seal names it; 0 none yet */
} part_t;

part_t *part_new(const char *dir, uint64_t incarnation, uint32_t subtask, uint64_t n);
void part_free(part_t *p); /* closes the file; leaves it where it is */
err_t *part_open(part_t *p, const char *root);
err_t *part_flush(part_t *p);                   /* buf -> file */
err_t *part_sync(part_t *p, const char *root);  /* flush, fdatasync, directory of a new file */
err_t *part_close(part_t *p, const char *root); /* sync, then no more rows */
err_t *part_publish(part_t *p, const char *root);  /* closed -> visible; again is no error */
/* Of a dead attempt. Changes nothing: can part_recover make p->length bytes visible? More than these are ERR_EXISTS, unless `longer` */
err_t *part_check(const part_t *p, const char *root, bool longer);
/* After part_check: the bytes become visible; again is no error. `keep`: a hidden file that has more stays, till part_forget. */
err_t *part_recover(part_t *p, const char *root, bool keep);
err_t *part_forget(const part_t *p, const char *root);
err_t *fs_make_dirs(const char *path);
/* Removes hidden files of `incarnation` whose subtask is congruent to `subtask` modulo `parallelism`, and finds the
 * highest n in use by (incarnation, subtask). */
err_t *fs_clean(const char *root, uint64_t incarnation, uint32_t subtask, uint32_t parallelism, uint64_t *ret_next);
/* Of a savepoint: (incarnation, subtask) would write part `next` next. ERR_EXISTS names a visible one from there on. */
err_t *fs_none_behind(const char *root, uint64_t incarnation, uint32_t subtask, uint64_t next);
