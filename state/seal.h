/* seal.h: what one task hands over at a barrier: plain data, made by engine/task.c, written by state/changelog.c. */
#pragma once
#include "common/buf.h"
#include "common/split.h"

typedef struct source_seal { int op; uint64_t fingerprint; split_list_t splits; } source_seal_t;
typedef struct state_seal { int op; uint64_t fingerprint; int slot; buf_t bytes; } state_seal_t; /* kstate changes; slot -1: op->seal bytes */
typedef struct sink_seal { int op; uint64_t fingerprint; int lane; uint64_t rows; buf_t segment; } sink_seal_t;
typedef struct task_seal {
    epoch_t epoch;
    uint32_t flags;
    int stage, subtask;
    int nsources; source_seal_t *sources;
    int nstates; state_seal_t *states;
    int nsinks; sink_seal_t *sinks;     /* lane segments; empty segments are left out */
    int64_t watermark;                  /* of the task's inputs at the barrier, ms */
    uint64_t rows_since;                /* rows in since the last barrier: 0 everywhere = an idle epoch */
    bool ended;
} task_seal_t;
void task_seal_free(task_seal_t *s);
void task_seal_written(task_seal_t *s); /* the changelog has it: changes of states are freed */
