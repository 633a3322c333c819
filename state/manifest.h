/* manifest.h: one complete epoch of one job. "Manifest durable = the epoch happened."
 *
 * It names bytes, never numbers: changelog extents by file and byte, base files by path and checksum. JSON (versioned, with a checksum
 * over the canonical text), so that people and tools can read it. It stays O(workers + splits + lanes): neighbouring
 * extents of one file coalesce. */
#pragma once
#include "common/arena.h"
#include "common/json.h"
#include "common/split.h"

#define MANIFEST_VERSION 1

typedef struct extent {
    char *path;          /* relative to checkpoint storage */
    uint64_t from, to;   /* bytes */
    epoch_t first, last; /* epochs whose segments lie in it, contiguous for one worker and attempt */
    uint32_t crc;        /* of the last segment's stored payload */
} extent_t;

typedef struct base_file {
    char *path; /* in storage */
    char *name; /* in the RocksDB directory: "000012.sst" */
    uint64_t size;
    uint32_t crc;
} base_file_t;
typedef struct base {
    char *worker;
    epoch_t epoch; /* holds exactly the state as of this epoch for the key groups the worker had */
    int nfiles;
    base_file_t *files;
} base_t;

typedef struct source_pos {
    uint64_t fingerprint;
    split_list_t splits;
} source_pos_t;
typedef struct stage_pos {
    int stage;
    int64_t watermark; /* minimum over its subtasks */
} stage_pos_t;
typedef struct lane_pos {
    uint64_t fingerprint; /* of the sink */
    int lane;
    epoch_t published; /* known published (lower bound) */
    epoch_t last_rows; /* last epoch in which this lane had rows; 0 none */
} lane_pos_t;

typedef struct manifest {
    job_id_t job;
    char *name;
    uint64_t incarnation, leader;
    attempt_t attempt;
    epoch_t epoch, previous; /* previous manifest's epoch; 0's is 0 */
    uint64_t plan_hash;
    int parallelism;
    int64_t processing_ms; /* highest processing time seen (hazards A9) */
    bool final;            /* stop or end of input: nothing comes after */
    int nsources; source_pos_t *sources;
    int nstages; stage_pos_t *stages;
    int nlanes; lane_pos_t *lanes;
    int nextents; extent_t *extents; /* in replay order: attempts ascending, epochs ascending per file */
    int nbases; base_t *bases;
} manifest_t;

manifest_t *manifest_new(void);
manifest_t *manifest_copy(const manifest_t *m);
void manifest_free(manifest_t *m);
void manifest_print(buf_t *out, const manifest_t *m);           /* canonical JSON with checksum */
err_t *manifest_parse(slice_t text, manifest_t **ret);          /* ERR_CORRUPT, ERR_VERSION */
void manifest_add_extent(manifest_t *m, const extent_t *e);     /* coalesces */
/* Drops the part of the extents that neither a base nor an unpublished lane needs: epochs < keep_from per attempt chain. */
void manifest_set_source(manifest_t *m, uint64_t fingerprint, const split_list_t *splits); /* replaces those split ids, adds new */
source_pos_t *manifest_source(const manifest_t *m, uint64_t fingerprint);
lane_pos_t *manifest_lane(manifest_t *m, uint64_t fingerprint, int lane, bool create);
int64_t manifest_watermark(const manifest_t *m, int stage);
/* Paths that `old` names and `now` does not: what may be deleted once `now` is durable (hazards A14). */
void manifest_garbage(const manifest_t *old, const manifest_t *now, void (*fn)(void *arg, const char *path), void *arg);
