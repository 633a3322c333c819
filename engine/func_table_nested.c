/* func_table_nested.c: functions on rows, arrays and maps. */
#include "engine/func_tables.h"
#include "engine/rules.h"

const func_t func_table_nested[] = {
    {"ROW", "a*>r", rule_row, kernel_row, FUNC_NULLS | FUNC_SAFE, "ROW(x, y, ..)", "A row."},
    {"ARRAY", "a*>r", rule_array, kernel_array, FUNC_NULLS | FUNC_SAFE, "ARRAY[x, y, ..]", "An array."},
    {"MAP", "a*>r", rule_map, kernel_map, FUNC_NULLS | FUNC_SAFE, "MAP[k, v, ..]", "A map."},
    {"FIELD", "ws>r", rule_field, kernel_field, FUNC_NULLS | FUNC_SAFE, "row.field", "A field of a row."},
    {"ITEM", "aa>r", rule_item, kernel_item, FUNC_NULLS | FUNC_SAFE, "array[index] or map[key]", "An element counted from 1, or the value of a key; NULL when there is none."},
    {"CARDINALITY", "r>i|m>i", NULL, kernel_cardinality, FUNC_SAFE, "CARDINALITY(array or map)", "Number of elements."},
    {"ELEMENT", "r>r", rule_element, kernel_element, FUNC_NULLS, "ELEMENT(array)", "The only element."},
    {"MAP_KEYS", "m>r", rule_map_part, kernel_map_part, FUNC_NULLS | FUNC_SAFE, "MAP_KEYS(map)", "The keys."},
    {"MAP_VALUES", "m>r", rule_map_part, kernel_map_part, FUNC_NULLS | FUNC_SAFE, "MAP_VALUES(map)", "The values."},
    {"MAP_ENTRIES", "m>r", rule_map_part, kernel_map_part, FUNC_NULLS | FUNC_SAFE, "MAP_ENTRIES(map)", "Rows of key and value."},
    {"MAP_FROM_ARRAYS", "rr>r", rule_map_from_arrays, kernel_map_from_arrays, 0, "MAP_FROM_ARRAYS(keys, values)", "A map of two arrays."},
    {"ARRAY_CONTAINS", "ra>r", rule_array_element, kernel_array_contains, FUNC_NULLS, "ARRAY_CONTAINS(array, x)", "Is it there?"},
    {"ARRAY_POSITION", "ra>r", rule_array_element, kernel_array_position, 0, "ARRAY_POSITION(array, x)", "Where it is, 0 when it is not there."},
    {"ARRAY_APPEND", "ra>r", rule_array_element, kernel_array_append, FUNC_NULLS, "ARRAY_APPEND(array, x)", "With x behind."},
    {"ARRAY_PREPEND", "ra>r", rule_array_element, kernel_array_prepend, FUNC_NULLS, "ARRAY_PREPEND(array, x)", "With x before."},
    {"ARRAY_REMOVE", "ra>r", rule_array_element, kernel_array_remove, FUNC_NULLS, "ARRAY_REMOVE(array, x)", "Without the elements equal to x."},
    {"ARRAY_DISTINCT", "r>r", rule_array_same, kernel_array_distinct, 0, "ARRAY_DISTINCT(array)", "Each value once."},
    {"ARRAY_REVERSE", "r>r", rule_array_same, kernel_array_reverse, 0, "ARRAY_REVERSE(array)", "Backwards."},
    {"ARRAY_SORT", "rb?b?>r", rule_array_same, kernel_array_sort, 0, "ARRAY_SORT(array[, ascending[, nulls first]])", "Sorted."},
    {"ARRAY_SLICE", "rii?>r", rule_array_same, kernel_array_slice, 0, "ARRAY_SLICE(array, from[, to])", "The elements from .. to, counted from 1, negative from the end."},
    {"ARRAY_UNION", "rr>r", rule_arrays, kernel_array_distinct, 0, "ARRAY_UNION(a, b)", "The elements of both, each once."},
    {"ARRAY_INTERSECT", "rr>r", rule_arrays, kernel_array_intersect, 0, "ARRAY_INTERSECT(a, b)", "The elements that are in both, each once."},
    {"ARRAY_EXCEPT", "rr>r", rule_arrays, kernel_array_except, 0, "ARRAY_EXCEPT(a, b)", "The elements of a that are not in b, each once."},
    {"ARRAY_CONCAT", "r+>r", rule_arrays, kernel_array_concat, 0, "ARRAY_CONCAT(a, b, ..)", "One behind the other."},
    {"ARRAY_MAX", "r>r", rule_array_extreme, kernel_array_max, 0, "ARRAY_MAX(array)", "The greatest element."},
    {"ARRAY_MIN", "r>r", rule_array_extreme, kernel_array_min, 0, "ARRAY_MIN(array)", "The least element."},
    {"ARRAY_JOIN", "rtt?>r", rule_array_join, kernel_array_join, 0, "ARRAY_JOIN(array, separator[, for NULL])", "The texts joined, NULLs left out or replaced."},
    {0},
};
