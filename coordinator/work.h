/* work.h: a thread that does what may block, one task after the other. Completions go back by message, never by shared state. */
#pragma once
#include "common/mailbox.h"

typedef struct work_queue work_queue_t;
typedef struct work_task {
    void (*run)(struct work_task *t);  /* on the queue's thread; owns t */
    void (*drop)(struct work_task *t); /* instead of run, when the queue ends first; owns t */
} work_task_t;

work_queue_t *work_queue_new(const char *name);
void work_queue_add(work_queue_t *q, work_task_t *t); /* any thread; drops t when the queue has ended */
void work_queue_end(work_queue_t *q);                 /* finishes the task under way, joins; what is added from now on is dropped */
void work_queue_free(work_queue_t *q);                /* ends it, drops what is left */
