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

/* A thread for each task: for what may never return (a file system that hangs), so that nothing else waits for it. Any thread. */
typedef struct work_crowd work_crowd_t;
work_crowd_t *work_crowd_new(void);
/* `what`: for people, copied. False: there are too many, or no thread could be had; t is the caller's still. */
bool work_crowd_add(work_crowd_t *c, work_task_t *t, const char *what);
/* Waits for those under way. What has not ended within wait_ms, malloc'ed: nothing that it uses may be freed, c neither. NULL: all have ended. */
char *work_crowd_end(work_crowd_t *c, int64_t wait_ms);
void work_crowd_free(work_crowd_t *c); /* all have ended */
