#include "common/split.h"
#include <stdlib.h>

void split_list_free(split_list_t *l) {
    for (int i = 0; i < l->n; i++) free(l->items[i].id);
    free(l->items);
    *l = (split_list_t){0};
}

void split_list_add(split_list_t *l, const split_t *s) {
    if ((l->n & (l->n - 1)) == 0) /* capacity is the next power of two */
        l->items = xrealloc(l->items, sizeof *l->items * (size_t)(l->n ? l->n * 2 : 1));
    l->items[l->n] = *s;
    l->items[l->n++].id = xstrdup(s->id);
}
