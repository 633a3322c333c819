/* metrics.h: Prometheus text (version 0.0.4). Samples may come in any order; they are written family by family, each with its HELP
 * and TYPE, in the order in which families were first named. */
#pragma once
#include "common/buf.h"

typedef struct metrics metrics_t;
metrics_t *metrics_new(void);
void metrics_free(metrics_t *m);

typedef enum metric_type { METRIC_COUNTER, METRIC_GAUGE } metric_type_t;
/* labels: pairs of name and value, neither NULL; the list ends with NULL. Names are letters, digits and '_'; values and help are escaped
 * here. A counter's name ends in _total. */
void metric(metrics_t *m, metric_type_t type, const char *name, const char *help, double value, const char *const *labels);
#define METRIC(m, type, name, help, value, ...) metric(m, type, name, help, value, (const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL})
void metrics_print(const metrics_t *m, buf_t *out);
