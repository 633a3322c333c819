/* connector.h: the connectors of this folder and helpers they share. */
#pragma once
#include "engine/connector/format.h"
#include "engine/operator.h"

extern const source_vtable_t filesystem_source, datagen_source;
extern const sink_vtable_t filesystem_sink, print_sink, blackhole_sink;

/* ERR_INVALID when the table lacks the option. */
err_t *option_required(const table_t *t, const char *key, const char **ret);
/* Columns of the file or message: physical without PARTITIONED BY columns; ret has room for physical->n. */
int table_data_columns(const table_t *t, int *ret);
bool table_is_partition(const table_t *t, int column);

/* ---- Flink's external text of a value, as print writes it (print_text.c) */
void external_print(buf_t *out, const column_t *c, uint32_t i);

/* ---- paths of the filesystem connector (fs_path.c) */
/* 'path' as a local path without trailing slash; other schemes than file: are ERR_UNSUPPORTED. malloc'ed. */
err_t *fs_local_path(const table_t *t, char **ret);
void fs_escape(buf_t *out, const char *p, size_t n); /* of a value in a directory name, as Hive and Flink */
/* The value of `name` in ".../name=value/..": decoded, malloc'ed; NULL when the path has none. */
char *fs_partition_value(const char *path, const char *name);
const char *fs_default_partition(const table_t *t);
