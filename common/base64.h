/* base64.h: RFC 4648 base64 with padding: etcd's bytes, checksums of object stores. */
#pragma once
#include "common/buf.h"

void base64_put(buf_t *out, slice_t bytes);
bool base64_read(buf_t *out, slice_t text); /* false: not base64; `out` may hold a part */
