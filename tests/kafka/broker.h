/* broker.h: the table of a test against a real broker. integration/test_broker.py starts the broker, makes the topic and names them in the
 * environment: BOOTSTRAP, TOPIC; it sets CK_FORK=no, so that the time limit is its own. */
#pragma once
#include "engine/connector/kafka_client.h"
#include <stdlib.h>

static const char *topic;
static table_t table;

__attribute__((constructor)) static void name_the_table(void) {
    static const char *const keys[] = {"connector", "topic", "properties.bootstrap.servers"};
    static const char *values[] = {"kafka", NULL, NULL};
    topic = values[1] = getenv("TOPIC");
    values[2] = getenv("BOOTSTRAP");
    if (!values[1] || !values[2]) abort();
    table = (table_t){.name = "t", .connector = "kafka", .options = {3, (const char **)keys, values}};
}
