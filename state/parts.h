/* parts.h: the changes of many epochs, a part of the key groups at a time. A key that changed in ten epochs is met ten times within one part, whose
 * changes fit into memory, so that its last value is written once. Each segment is read twice: as a whole, when it is checked and seen where its
 * parts lie (changelog.h, version 2), then part by part, a large part several times.
 * Thread: one; waits for disks. */
#pragma once
#include "state/changelog.h"

typedef struct parts parts_t;
parts_t *parts_new(disk_t *disk, disk_t *kept /* or NULL */, job_id_t job, size_t loose_max);
void parts_free(parts_t *p);
/* In order of epochs: one segment, in storage, or in memory (x NULL). Both stay until parts_free. *ret_fit false: more than loose_max
 * bytes of all that came lie in no part, so that this is not the way to read them. */
err_t *parts_add(parts_t *p, const extent_t *x, slice_t segment, bool *ret_fit);
/* Operators, from 0 on, one after the other: what is written of each ascends then. Its parts, from 0 to CHANGE_PARTS - 1; all in "part" 0 where
 * none of its changes lies in one. Each in order of epochs; what a DROP says of other key groups than the part's is left out. r is as after
 * change_begin and valid during the call. A part that is too much at once is read in several passes, at most one for each of its key groups:
 * the one of number `pass` takes as many consecutive groups as every other. */
int parts_ops(const parts_t *p);
bool parts_parted(const parts_t *p, int op);
uint64_t parts_bytes(const parts_t *p, int op, int part); /* without what lies in no part */
err_t *parts_read(parts_t *p, int op, int part, int pass, int passes, err_t *(*fn)(void *arg, uint64_t fingerprint, int slot, reader_t *r), void *arg);
