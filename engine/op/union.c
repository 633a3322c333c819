/* union.c: n inputs of one schema; the task aligns their barriers and takes the minimum of their watermarks. */
#include "engine/op/op_int.h"

static op_status_t union_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    out_batch(out, batch_share(b));
    return OP_DONE;
}

const op_vtable_t op_union = {.name = "UNION", .process = union_process};
