/* crash.h: lets a test kill a process exactly where it hurts. TIDEGATE_CRASH="point" or "point:n" in the environment: the n-th time (first when
 * absent) the process passes the point it ends by SIGKILL, as if the machine had died. Without the variable: one predictable branch.
 *
 *   manifest-durable   coordinator: the manifest is in the metadata store, nobody has heard of it
 *   in-transaction     worker: a lane's records are with the broker, the commit is not asked for yet
 *   in-base            worker: table files of a base checkpoint are in storage, the description without which they are no base is not
 *   sealed             worker: the segment of an epoch is durable, its ack was not sent */
#pragma once
#include <stdint.h>

void crash_point(const char *name); /* any thread */

/* TIDEGATE_STALL="point:n:ms": the n-th time a thread passes the point it stays there for good, and the limit that watches over it is ms.
 *
 *   step   worker: inside a step of a task
 *   free   worker: an attempt is over, and its memory and local base are being freed
 *   base   worker: something is brought into a local base, or a base checkpoint made of it */
void stall_point(const char *name);     /* any thread */
int64_t stall_limit_ms(int64_t usual);  /* ms of the variable; without it `usual` */

/* TIDEGATE_VERSION_SHIFT=n: this process takes itself for a build whose control messages, data frames and files have versions
 * higher by n. 0 without it. */
int version_shift(void);
