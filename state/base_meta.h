/* base_meta.h: the file BASE beside the files of a base: whose state it holds and as of when. A restore needs the key groups: after
 * a rescale bases of two attempts stand side by side in a manifest, and for each key group the youngest that had it counts. */
#pragma once
#include "state/disk.h"
#include "state/manifest.h"

typedef struct base_range { uint64_t fingerprint; int kg_lo, kg_hi; } base_range_t; /* key groups [lo, hi) of one operator */
typedef struct base_meta {
    job_id_t job;
    attempt_t attempt;
    epoch_t epoch;
    char *worker;
    int nranges;
    base_range_t *ranges;
} base_meta_t;
void base_meta_done(base_meta_t *m); /* content */
void base_meta_encode(buf_t *out, const base_meta_t *m);
err_t *base_meta_decode(slice_t bytes, base_meta_t *ret); /* ERR_CORRUPT, ERR_VERSION */
const base_file_t *base_meta_file(const base_t *b);       /* NULL: the base has none */
err_t *base_meta_read(disk_t *disk, job_id_t job, const base_t *b, base_meta_t *ret);
