/* slot_task.c: engine/task.h as what a slot steps. In its own file so that the slot itself links without the engine. */
#include "worker/slot.h"

static task_status_t work_step(void *self, uint32_t budget, err_t **reterr) { return task_step(self, budget, reterr); }
static int64_t work_tick(void *self) { return task_next_tick_ms(self); }
static void work_inject(void *self, epoch_t epoch, uint32_t flags) { task_inject(self, epoch, flags); }
static err_t *work_complete(void *self, epoch_t epoch) { return task_complete(self, epoch); }
static err_t *work_splits(void *self, uint64_t fp, const split_list_t *more) { return task_add_splits(self, fp, more); }
static err_t *work_start(void *self) { return task_start(self); }
static void work_stats(void *self, task_stats_t *ret) { task_stats(self, ret); }
static void work_free(void *self) { task_free(self); }
const slot_work_vtable_t slot_work_task = {work_step, work_tick, work_inject, work_complete, work_splits, work_start, work_stats, work_free};
