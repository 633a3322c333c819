/* manifest.h: one complete epoch of one job. "Manifest durable = the epoch happened."
 *
 * It names bytes, never numbers: changelog extents by file and byte, base files by path and checksum. JSON (versioned, with a checksum
 * over the canonical text), so that people and tools can read it. It stays O(workers + splits + lanes): neighbouring
 * extents of one file coalesce. */
#pragma once
#include "common/arena.h"
#include "common/json.h"
#include "common/split.h"

#define MANIFEST_VERSION 4 /* with `root`; 3: with `had` of a lane; 2: with `older`, `family` or `fell_back`; else 1, as all builds read it */

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
    bool started;      /* the ledger is known to hold a record of this incarnation, its start record at least */
    uint64_t had;      /* the last incarnation before this one of which it was known to hold one; 0: none */
    epoch_t had_upto;  /* with `had`: up to which epoch that one's output is of this history */
} lane_pos_t;

/* An epoch before this one, of the same incarnation, that is kept restorable: its manifest lies where manifest_body_path says, and what that
 * names is not garbage. Which are kept, and when one is restored instead of this: coordinator/core/older.c. */
typedef struct older { uint64_t leader; attempt_t attempt; epoch_t epoch; } older_t;

typedef struct manifest {
    job_id_t job;
    char *name;
    uint64_t incarnation, leader;
    attempt_t attempt;
    epoch_t epoch, previous; /* previous manifest's epoch; 0's is 0 */
    epoch_t started;         /* first epoch of this incarnation: 0, or that of the savepoint it began from. A lane has a
                              * lower bound (lane_new) only if lane_pos.published > started, and else only the start record's if
                              * lane_pos.started: without either the ledger rightly has no record of this incarnation */
    uint64_t origin;         /* incarnation that published up to `started`, or 0; what its ledger shows is not published again, and where it shows
                              * more than that, nothing is published (engine/lane.h, invariant 8) */
    job_id_t family;         /* the job that the first savepoint was taken of, of all that led here; 0: it began from none */
    uint64_t root;           /* the incarnation from scratch that all this began from, over savepoints and resumes; 0: none, or not known */
    bool forced;             /* output up to `started` is published even where the ledger does not say that it was not: the operator's word */
    uint64_t plan_hash;
    int parallelism;
    int64_t processing_ms; /* highest processing time seen (hazards A9) */
    bool final;            /* stop or end of input: nothing comes after */
    int nsources; source_pos_t *sources;
    int nstages; stage_pos_t *stages;
    int nlanes; lane_pos_t *lanes;
    int nextents; extent_t *extents; /* in replay order: attempts ascending, epochs ascending per file */
    int nbases; base_t *bases;
    int nolder; older_t *older; /* newest first */
    struct { uint64_t times; epoch_t from, to; } fell; /* how often a damaged file made the job go back; last from which epoch to which older one */
} manifest_t;

manifest_t *manifest_new(void);
manifest_t *manifest_copy(const manifest_t *m);
void manifest_free(manifest_t *m);
void manifest_print(buf_t *out, const manifest_t *m);           /* canonical JSON with checksum */
err_t *manifest_parse(slice_t text, manifest_t **ret);          /* ERR_CORRUPT, ERR_VERSION */
void manifest_add_extent(manifest_t *m, const extent_t *e);     /* coalesces */
void manifest_add_older(manifest_t *m, const manifest_t *kept);
bool older_is(const older_t *o, const manifest_t *m);
void manifest_alone(manifest_t *m); /* forgets which older epochs are kept and how often it fell back: nobody's but the coordinator's affair */
/* Replaces the base of the same maker (worker and attempt), or adds; an older one than is there is ignored. Copies. */
void manifest_set_base(manifest_t *m, const base_t *b);
void base_copy(base_t *to, const base_t *b);
void base_done(base_t *b);            /* content */
#define BASE_META_NAME "BASE"         /* the file of a base that says what it holds: state/base_meta.h */
/* Drops whole extents and bases that no restore and no lane needs. `A` is the newest attempt among the extents. Kept are:
 *  - of A: an extent with an epoch after its worker's newest base of A; and the newest extent of each worker, always: it holds the
 *    latest operator bytes, and its file may still be written to (what is in the manifest is not garbage);
 *  - of attempts before A, and bases made before A: all, until every worker of A has a base made in A; then none. (Key groups
 *    have moved between the attempts: only all bases of A together replace what came before.)
 *  - besides, every extent that reaches an epoch some lane has rows in and has not published (min over lanes of published + 1).
 * An extent is dropped as a whole: readers skip epochs they do not need. Requires that in its first epoch of an attempt every
 * worker writes a segment, even if nothing happened. */
void manifest_trim(manifest_t *m);
void manifest_set_source(manifest_t *m, uint64_t fingerprint, const split_list_t *splits); /* replaces those split ids, adds new */
source_pos_t *manifest_source(const manifest_t *m, uint64_t fingerprint);
lane_pos_t *manifest_lane(manifest_t *m, uint64_t fingerprint, int lane, bool create);
/* Before another incarnation begins from it: this one's records are those of the past, and no lane of the new one has any. */
void manifest_lanes_anew(manifest_t *m);
/* Of what goes on from m: the same for all that do. Where a build before `root` wrote it, the earliest incarnation it knows. */
uint64_t manifest_root(const manifest_t *m);
int64_t manifest_watermark(const manifest_t *m, int stage);
/* "jobs/<job>/manifest/i<incarnation>.l<leader>.a<attempt>.e<epoch>.json": where its text lies in storage; malloc'ed. */
char *manifest_body_path(const manifest_t *m);
char *manifest_older_path(const manifest_t *m, int i);
/* Paths that `old` names and `now` does not: what may be deleted once `now` is durable (hazards A14). */
void manifest_garbage(const manifest_t *old, const manifest_t *now, void (*fn)(void *arg, const char *path), void *arg);
