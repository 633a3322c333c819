/* func_tables.h: the tables func_table.c puts together. */
#pragma once
#include "engine/func_int.h"
extern const func_t func_table_math[], func_table_text[], func_table_time[], func_table_nested[];
