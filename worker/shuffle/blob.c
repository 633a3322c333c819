/* blob.c: the endpoint's pool of frames; see endpoint_int.h. */
#include "worker/shuffle/endpoint_int.h"
#include <stdlib.h>

#define HEADER_MEMORY 64 /* what malloc adds, roughly */
#define SIZE(k) ((size_t)512 << (k))

static size_t weight(const blob_t *b) { return sizeof *b + b->bytes.cap + HEADER_MEMORY; }

/* The smallest size that holds n bytes; BLOB_SIZES: none. */
static int size_for(size_t n) {
    int k = 0;
    while (k < BLOB_SIZES && SIZE(k) < n) k++;
    return k;
}

static void blob_free(blob_t *b) {
    buf_free(&b->bytes);
    free(b);
}

blob_t *blob_take(endpoint_t *ep, size_t most) {
    int k = size_for(most);
    pthread_mutex_lock(&ep->pool_lock);
    blob_t *b = k < BLOB_SIZES ? ep->pool[k] : NULL;
    if (b) {
        ep->pool[k] = b->next;
        ep->pool_bytes -= weight(b);
    } else {
        ep->pool_made++;
    }
    pthread_mutex_unlock(&ep->pool_lock);
    if (!b) {
        b = xcalloc(1, sizeof *b);
        b->bytes = buf_make((size_t)FRAME_HEADER + FRAME_PAYLOAD_MAX);
        ASSERT(buf_reserve(&b->bytes, k < BLOB_SIZES ? SIZE(k) : most));
    }
    return b;
}

void blob_give(endpoint_t *ep, blob_t *b) {
    if (!b) return;
    buf_clear(&b->bytes);
    b->cost = 0;
    size_t w = weight(b);
    int k = size_for(b->bytes.cap + 1) - 1; /* the largest it can be taken for: its encoder may have let it grow */
    pthread_mutex_lock(&ep->pool_lock);
    bool kept = k >= 0 && b->bytes.cap <= SIZE(BLOB_SIZES - 1) && ep->pool_bytes + w <= ENDPOINT_POOL_BYTES;
    if (kept) {
        b->next = ep->pool[k];
        ep->pool[k] = b;
        ep->pool_bytes += w;
    }
    pthread_mutex_unlock(&ep->pool_lock);
    if (!kept) blob_free(b);
}

blob_t *blob_fit(endpoint_t *ep, blob_t *b) {
    if (b->bytes.cap <= SIZE(size_for(b->bytes.len) + 1)) return b;
    blob_t *small = blob_take(ep, b->bytes.len);
    buf_put(&small->bytes, b->bytes.data, b->bytes.len);
    blob_give(ep, b);
    return small;
}

void blob_pool_free(endpoint_t *ep) {
    for (int k = 0; k < BLOB_SIZES; k++)
        for (blob_t *b; (b = ep->pool[k]) != NULL;) {
            ep->pool[k] = b->next;
            blob_free(b);
        }
}
