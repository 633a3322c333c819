/* operator.c: the one table of operators. Sources are driven by the task itself, exchanges are the task's ends. */
#include "engine/op/op_int.h"

const op_vtable_t *op_vtable_of(op_kind_t kind) {
    static const op_vtable_t *const table[OP_KINDS] = {
        [OP_VALUES] = &op_values,
        [OP_CALC] = &op_calc,
        [OP_WATERMARK] = &op_watermark,
        [OP_UNION] = &op_union,
        [OP_WINDOW_ASSIGN] = &op_window_assign,
        [OP_WINDOW_LOCAL] = &op_window_local,
        [OP_WINDOW_AGG] = &op_window_agg,
        [OP_GROUP_LOCAL] = &op_group_local,
        [OP_GROUP_AGG] = &op_group_agg,
        [OP_UPSERT_KEYS] = &op_upsert_keys,
        [OP_SINK] = &op_sink,
    };
    return (unsigned)kind < OP_KINDS ? table[kind] : NULL;
}
