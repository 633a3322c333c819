/* log.h: levelled key=value lines on stderr. Called by process code only (drivers, main), never by cores
 * or libraries. One line per call, written whole; text after `msg=` is quoted. */
#pragma once
#include "common/err.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level_t;
void log_init(log_level_t level, const char *component);
bool log_on(log_level_t level);
/* log_line(LOG_INFO, "worker registered", "worker=%s slots=%d", name, slots) */
void log_line(log_level_t level, const char *msg, const char *fmt, ...) PRINTF(3, 4);
void log_err(const char *msg, const err_t *e); /* does not take e */
