#include "common/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(buf_t *out, slice_t in) {
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = MIN(in.len - i, (size_t)3);
        uint32_t v = (uint32_t)in.p[i] << 16 | (n > 1 ? (uint32_t)in.p[i + 1] << 8 : 0) | (n > 2 ? in.p[i + 2] : 0u);
        char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], n > 1 ? alphabet[v >> 6 & 63] : '=', n > 2 ? alphabet[v & 63] : '='};
        buf_put(out, four, sizeof four);
    }
}

static int digit(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_read(buf_t *out, slice_t text) {
    if (text.len % 4) return false;
    for (size_t i = 0; i < text.len; i += 4) {
        const uint8_t *q = text.p + i;
        size_t n = 3;
        if (i + 4 == text.len && q[3] == '=') n = q[2] == '=' ? 1 : 2;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k <= n ? digit(q[k]) : 0;
            if (d < 0) return false;
            v = v << 6 | (uint32_t)d;
        }
        uint8_t three[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        buf_put(out, three, n);
    }
    return true;
}
