/* seal.c: ownership of what a task hands over at a barrier. */
#include "state/seal.h"
#include <stdlib.h>

void task_seal_written(task_seal_t *s) {
    for (int i = 0; i < s->nstates; i++) buf_free(&s->states[i].bytes);
}

void task_seal_free(task_seal_t *s) {
    if (!s) return;
    for (int i = 0; i < s->nsources; i++) split_list_free(&s->sources[i].splits);
    for (int i = 0; i < s->nstates; i++) buf_free(&s->states[i].bytes);
    for (int i = 0; i < s->nsinks; i++) buf_free(&s->sinks[i].segment);
    free(s->sources);
    free(s->states);
    free(s->sinks);
    free(s);
}
