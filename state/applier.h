/* applier.h: brings complete epochs into the base and makes base checkpoints.
 *
 *   changelog_append ok --applier_add(e)--> PENDING --applier_complete(e)--> DUE --applier_apply--> in the base
 *
 * Invariants
 *  1. Only segments of complete epochs reach the base, in epoch order, each once (hazards A5).
 *  2. kstate_env_applied(e) is set after everything of epochs <= e is in the base.
 *  3. A checkpoint is of exactly the epoch asked for: nothing is applied while it is made.
 *  4. Several epochs are coalesced: of a key only the last change is written; what a later DROP covers is not written at all. More than a round of
 *     them go a part of the key groups at a time, or a few groups of a large one, where they lie so (state/parts.h), else in rounds, which share
 *     no keys' changes.
 * Pending segments are kept as they were written (compressed); applier_add_extent keeps only the pointer and reads again.
 *
 * Threads: add, complete and pending may be called from the worker's threads (one lock); apply and checkpoint by one thread, the
 * worker's base thread, and wait for disks. Nothing of it may be called by a slot thread but add. */
#pragma once
#include "state/base_meta.h"
#include "state/kstate_env.h"

typedef struct applier applier_t;
typedef struct applier_conf {
    kstate_env_t *env;           /* its base is opened at the first apply */
    disk_t *disk;                /* checkpoint storage */
    changelog_id_t id;           /* of this attempt */
    const char *dir;             /* local directory for checkpoints, on the base's file system; must exist */
    int nranges;
    const base_range_t *ranges;  /* what this worker's tasks own, per operator; exactly this is in the base */
    disk_t *kept;                /* this worker's own copies (state/kept.h), or NULL */
    size_t round_bytes;          /* memory for sorting changes before they are written; 0: 64 MB. A larger epoch goes in parts */
} applier_conf_t;

applier_t *applier_new(const applier_conf_t *conf); /* copies conf */
void applier_free(applier_t *a);
void applier_add(applier_t *a, epoch_t epoch, slice_t segment); /* copies; epochs ascending */
void applier_add_extent(applier_t *a, const extent_t *x);       /* instead: one segment, read again when due */
/* Restore: changes of an old epoch that the loaded base lacks, already cut down to the ranges owned. */
void applier_add_changes(applier_t *a, epoch_t epoch, uint64_t fingerprint, int slot, slice_t changes);
/* Restore: what add_changes holds counts as the hot tables' (kstate_env_used) until it is in the base; when that is too much, all of it
 * goes there now, complete or not known to be: it is of the manifest. `applied` stays, and whoever reads the base beside it must know. */
size_t applier_held(const applier_t *a);
err_t *applier_flush(applier_t *a);
size_t applier_round_bytes(const applier_t *a);
void applier_complete(applier_t *a, epoch_t epoch); /* cumulative */
size_t applier_pending(applier_t *a);               /* bytes due and not applied: apply from some 32 MB on, or when memory is short */
err_t *applier_apply(applier_t *a, epoch_t upto);   /* all due ones <= upto; after an error the same call may be repeated */
/* Applies up to `epoch` (it must be complete, and not be passed), makes a checkpoint, stores what storage does not have yet and
 * describes it. A table file that an earlier checkpoint of this applier stored is not stored again. ret: base_done when done with it.
 * An error leaves nothing half done: repeat the call for this or a later epoch. */
err_t *applier_checkpoint(applier_t *a, epoch_t epoch, base_t *ret);
/* Any thread: the attempt is over. Apply and checkpoint return ERR_CANCELLED before their next block or file, now and ever after. */
void applier_cancel(applier_t *a);
int64_t applier_alive_ms(const applier_t *a);       /* any thread: when it last went on to another piece of its work, by clock_mono_ms; 0: never */
uint64_t applier_stored_bytes(const applier_t *a);  /* by checkpoints so far; base thread */
