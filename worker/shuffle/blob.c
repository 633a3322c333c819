/* blob.c: the endpoint's pool of frames; see endpoint_int.h. */
#include "worker/shuffle/endpoint_int.h"
#include <stdlib.h>

#define HEADER_MEMORY 64 /* what malloc adds, roughly: empty blobs count as well */

static size_t weight(const blob_t *b) { return sizeof *b + b->bytes.cap + HEADER_MEMORY; }

static void blob_free(blob_t *b) {
    buf_free(&b->bytes);
    free(b);
}

blob_t *blob_take(endpoint_t *ep) {
    pthread_mutex_lock(&ep->pool_lock);
    blob_t *b = ep->pool;
    if (b) {
        ep->pool = b->next;
        ep->pool_bytes -= weight(b);
    } else {
        ep->pool_made++;
    }
    pthread_mutex_unlock(&ep->pool_lock);
    if (!b) {
        b = xcalloc(1, sizeof *b);
        b->bytes = buf_make((size_t)FRAME_HEADER + FRAME_PAYLOAD_MAX);
    }
    return b;
}

void blob_give(endpoint_t *ep, blob_t *b) {
    if (!b) return;
    buf_clear(&b->bytes);
    b->cost = 0;
    size_t w = weight(b);
    pthread_mutex_lock(&ep->pool_lock);
    bool kept = w <= ENDPOINT_POOL_BYTES / 8 && ep->pool_bytes + w <= ENDPOINT_POOL_BYTES;
    if (kept) {
        b->next = ep->pool;
        ep->pool = b;
        ep->pool_bytes += w;
    }
    pthread_mutex_unlock(&ep->pool_lock);
    if (!kept) blob_free(b);
}

void blob_pool_free(endpoint_t *ep) {
    for (blob_t *b; (b = ep->pool) != NULL;) {
        ep->pool = b->next;
        blob_free(b);
    }
}
