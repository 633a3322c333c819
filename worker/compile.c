/* compile.c: the plan of a submitted job, as every process of the cluster makes it from the job's spec. */
#include "sql/sql.h"
#include "worker/driver.h"

err_t *worker_compile(void *arg, const job_spec_t *spec, plan_t **ret) {
    sql_source_t src = {
        .text = spec->sql ? spec->sql : "",
        .len = spec->sql ? strlen(spec->sql) : 0,
        .file = spec->file,
        .set = {spec->nset, (const char **)spec->set_keys, (const char **)spec->set_values},
        .parallelism = spec->parallelism,
    };
    return sql_compile(&src, ret);
}
