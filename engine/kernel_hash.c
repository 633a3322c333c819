/* kernel_hash.c: digests, BASE64, URL coding and parsing, bytes and texts. */
#include "engine/func_int.h"
#include "engine/number.h"
#include "engine/rules.h"
#include "engine/text.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <strings.h>

#define EACH(c, i)                                                                                 \
    for (uint32_t i = 0; i < (c)->n; i++)                                                          \
        if (!row_null((c), i))

static err_t *digest(call_t *c, const EVP_MD *fixed) {
    static const char hex[] = "0123456789abcdef";
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EACH(c, i) {
        const EVP_MD *md = fixed;
        if (!md) switch (arg_i32(c, 1, i)) { /* SHA2(text, bits) */
        case 224: md = EVP_sha224(); break;
        case 256: md = EVP_sha256(); break;
        case 384: md = EVP_sha384(); break;
        case 512: md = EVP_sha512(); break;
        default:
            EVP_MD_CTX_free(ctx);
            return err_new(ERR_DATA, "SHA2: %d bits are not possible, use 224, 256, 384 or 512", arg_i32(c, 1, i));
        }
        uint8_t d[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        str_t s = arg_str(c, 0, i);
        bool ok = EVP_DigestInit_ex(ctx, md, NULL) && EVP_DigestUpdate(ctx, s.p, s.len) && EVP_DigestFinal_ex(ctx, d, &n);
        if (!ok) {
            EVP_MD_CTX_free(ctx);
            return err_new(ERR_UNSUPPORTED, "%s: this system's OpenSSL refuses the digest", func_name(c->expr->func));
        }
        char *p = mem_alloc(c->m, 2u * n);
        for (unsigned k = 0; k < n; k++) {
            p[2 * k] = hex[d[k] >> 4];
            p[2 * k + 1] = hex[d[k] & 15];
        }
        out_str(c, i, p, 2u * n);
    }
    EVP_MD_CTX_free(ctx);
    return NULL;
}
/* hexadecimal digits of so many bits: CHAR of that length; SHA2 has VARCHAR(128) */
err_t *rule_digest(binding_t *b) {
    const char *n = b->func->name;
    int bits = strcmp(n, "MD5") == 0 ? 128 : strcmp(n, "SHA1") == 0 ? 160 : (int)strtol(n + 3, NULL, 10);
    if (bits == 2) b->type = type_of(b, type_scalar(b->a, TYPE_VARCHAR, 128, true));
    else b->type = type_of(b, type_scalar(b->a, TYPE_CHAR, bits / 4, true));
    return NULL;
}

err_t *kernel_md5(call_t *c) { return digest(c, EVP_md5()); }
err_t *kernel_sha1(call_t *c) { return digest(c, EVP_sha1()); }
err_t *kernel_sha224(call_t *c) { return digest(c, EVP_sha224()); }
err_t *kernel_sha256(call_t *c) { return digest(c, EVP_sha256()); }
err_t *kernel_sha384(call_t *c) { return digest(c, EVP_sha384()); }
err_t *kernel_sha512(call_t *c) { return digest(c, EVP_sha512()); }
err_t *kernel_sha2(call_t *c) { return digest(c, NULL); }

err_t *kernel_to_base64(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, (size_t)s.len / 3 * 4 + 5);
        int n = EVP_EncodeBlock((uint8_t *)p, (const uint8_t *)s.p, (int)s.len);
        out_str(c, i, p, (size_t)n);
    }
    return NULL;
}

static int base64_digit(char ch) {
    if (ch >= 'A' && ch <= 'Z') return ch - 'A';
    if (ch >= 'a' && ch <= 'z') return ch - 'a' + 26;
    if (ch >= '0' && ch <= '9') return ch - '0' + 52;
    return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

err_t *kernel_from_base64(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), full = s;
        while (s.len && s.p[s.len - 1] == '=' && full.len - s.len < 2) s.len--;
        char *p = mem_alloc(c->m, (size_t)s.len * 3 / 4 + 4);
        uint32_t n = 0, bits = 0, have = 0;
        bool ok = s.len % 4 != 1 && (full.len == s.len || full.len % 4 == 0);
        for (uint32_t k = 0; k < s.len && ok; k++) {
            int d = base64_digit(s.p[k]);
            ok = d >= 0;
            bits = bits << 6 | (uint32_t)(d & 63);
            have += 6;
            if (have >= 8) p[n++] = (char)(bits >> (have -= 8));
        }
        if (!ok) return call_error(c, ERR_DATA, "not BASE64:", full);
        c->out->str[i] = utf8_repair((str_t){.p = p, .len = n}, c->m);
    }
    return NULL;
}

/* ---- URL coding: application/x-www-form-urlencoded, UTF-8 */
err_t *kernel_url_encode(call_t *c) {
    static const char hex[] = "0123456789ABCDEF";
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, (size_t)s.len * 3);
        size_t n = 0;
        for (uint32_t k = 0; k < s.len; k++) {
            unsigned char ch = (unsigned char)s.p[k];
            bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                         ch == '.' || ch == '-' || ch == '*' || ch == '_';
            if (plain) p[n++] = (char)ch;
            else if (ch == ' ') p[n++] = '+';
            else {
                p[n++] = '%';
                p[n++] = hex[ch >> 4];
                p[n++] = hex[ch & 15];
            }
        }
        out_str(c, i, p, n);
    }
    return NULL;
}

static int hex_digit(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch |= 32;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

err_t *kernel_url_decode(call_t *c) { /* malformed: NULL */
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, s.len);
        size_t n = 0;
        bool ok = true;
        for (uint32_t k = 0; k < s.len && ok; k++) {
            if (s.p[k] != '%') {
                p[n++] = s.p[k] == '+' ? ' ' : s.p[k];
                continue;
            }
            int a = k + 2 < s.len ? hex_digit(s.p[k + 1]) : -1, b = k + 2 < s.len ? hex_digit(s.p[k + 2]) : -1;
            ok = a >= 0 && b >= 0;
            p[n++] = (char)((unsigned)a << 4 | (unsigned)b);
            k += 2;
        }
        if (ok) c->out->str[i] = utf8_repair((str_t){.p = p, .len = (uint32_t)n}, c->m);
        else out_null(c, i);
    }
    return NULL;
}

err_t *kernel_unhex(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, (size_t)s.len / 2 + 1);
        size_t n = 0;
        bool ok = true;
        if (s.len % 2) { /* the digit without a partner must be one, but Flink writes a zero byte for it */
            ok = hex_digit(s.p[0]) >= 0;
            p[n++] = 0;
        }
        for (uint32_t k = s.len % 2; k < s.len && ok;) {
            int a = hex_digit(s.p[k++]), b = hex_digit(s.p[k++]);
            ok = a >= 0 && b >= 0;
            p[n++] = (char)((unsigned)a << 4 | (unsigned)b);
        }
        if (ok) out_str(c, i, p, n);
        else out_null(c, i);
    }
    return NULL;
}

/* ---- INET_ATON(text), INET_NTOA(number): one to four decimal parts, of which the last is the last byte; one alone is the number */
err_t *kernel_inet_aton(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        uint64_t v = 0, part = 0;
        int parts = 0, digits = 0;
        bool ok = s.len > 0;
        for (uint32_t k = 0; k <= s.len && ok; k++) {
            char ch = '.';
            if (k < s.len) ch = s.p[k];
            if (ch >= '0' && ch <= '9' && digits < 10) {
                part = part * 10 + (uint64_t)(ch - '0');
                digits++;
                continue;
            }
            uint64_t most = k < s.len || parts ? 255 : UINT32_MAX;
            ok = ch == '.' && digits && part <= most && ++parts <= 4;
            v = v << (k < s.len ? 8 : 8 * (5 - MIN(parts, 4))) | part;
            part = 0;
            digits = 0;
        }
        if (ok) c->out->i64[i] = (int64_t)v;
        else out_null(c, i);
    }
    return NULL;
}

err_t *kernel_inet_ntoa(call_t *c) {
    EACH(c, i) {
        int64_t v = arg_int(c, 0, i);
        char t[64];
        size_t n = 0;
        for (int shift = 24; shift >= 0; shift -= 8) {
            n += u64_print(t + n, (uint64_t)v >> shift & 255);
            if (shift) t[n++] = '.';
        }
        if (v >= 0 && v <= UINT32_MAX) out_copy(c, i, t, n);
        else out_null(c, i);
    }
    return NULL;
}

/* ---- PARSE_URL(url, part[, key]): as java.net.URL splits */
typedef struct url {
    str_t protocol, authority, userinfo, host, path, query, ref;
    bool has_query, has_ref, has_user;
} url_t;

static bool url_split(str_t s, url_t *u) {
    *u = (url_t){0};
    const char *p = s.p, *end = s.p + s.len, *colon = s.len ? memchr(p, ':', s.len) : NULL;
    if (!colon || colon == p) return false;
    u->protocol = (str_t){.p = p, .len = (uint32_t)(colon - p)};
    static const char *const known[] = {"http", "https", "ftp", "file", "jar", "mailto"};
    bool ok = false;
    for (size_t k = 0; k < ARRAY_LEN(known); k++)
        ok |= u->protocol.len == strlen(known[k]) && strncasecmp(p, known[k], u->protocol.len) == 0;
    if (!ok) return false;
    p = colon + 1;
    const char *hash = memchr(p, '#', (size_t)(end - p));
    if (hash) {
        u->has_ref = true;
        u->ref = (str_t){.p = hash + 1, .len = (uint32_t)(end - hash - 1)};
        end = hash;
    }
    const char *mark = memchr(p, '?', (size_t)(end - p));
    if (mark) {
        u->has_query = true;
        u->query = (str_t){.p = mark + 1, .len = (uint32_t)(end - mark - 1)};
        end = mark;
    }
    if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
        p += 2;
        const char *slash = memchr(p, '/', (size_t)(end - p));
        if (!slash) slash = end;
        u->authority = u->host = (str_t){.p = p, .len = (uint32_t)(slash - p)};
        const char *at = memrchr(p, '@', u->host.len);
        if (at) {
            u->has_user = true;
            u->userinfo = (str_t){.p = p, .len = (uint32_t)(at - p)};
            u->host = (str_t){.p = at + 1, .len = (uint32_t)(slash - at - 1)};
        }
        const char *bracket = u->host.len ? memrchr(u->host.p, ']', u->host.len) : NULL;
        const char *from = bracket ? bracket : u->host.p;
        const char *port = u->host.len ? memchr(from, ':', (size_t)(u->host.p + u->host.len - from)) : NULL;
        if (port) {
            for (const char *d = port + 1; d < u->host.p + u->host.len; d++)
                if (*d < '0' || *d > '9') return false;
            u->host.len = (uint32_t)(port - u->host.p);
        }
        p = slash;
    }
    u->path = (str_t){.p = p, .len = (uint32_t)(end - p)};
    return true;
}

/* Value of key in "a=1&b=2": the first whose name is key and which has '='. */
static bool query_value(str_t q, str_t key, str_t *ret) {
    const char *p = q.p, *end = q.p + q.len;
    while (p <= end && q.len) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *stop = amp ? amp : end;
        if ((size_t)(stop - p) > key.len && (key.len == 0 || memcmp(p, key.p, key.len) == 0) && p[key.len] == '=') {
            *ret = (str_t){.p = p + key.len + 1, .len = (uint32_t)(stop - p - key.len - 1)};
            return true;
        }
        if (!amp) break;
        p = amp + 1;
    }
    return false;
}

static bool is(str_t s, const char *word) { return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0; }

static bool url_part(const url_t *u, str_t part, str_t *ret, mem_t *m) {
    if (is(part, "HOST")) *ret = u->host;
    else if (is(part, "PATH")) *ret = u->path;
    else if (is(part, "QUERY")) *ret = u->query;
    else if (is(part, "REF")) *ret = u->ref;
    else if (is(part, "PROTOCOL")) *ret = u->protocol;
    else if (is(part, "AUTHORITY")) *ret = u->authority;
    else if (is(part, "USERINFO")) *ret = u->userinfo;
    else if (is(part, "FILE")) {
        uint32_t n = u->path.len + (u->has_query ? 1 + u->query.len : 0);
        char *p = mem_alloc(m, n);
        if (u->path.len) memcpy(p, u->path.p, u->path.len);
        if (u->has_query) {
            p[u->path.len] = '?';
            if (u->query.len) memcpy(p + u->path.len + 1, u->query.p, u->query.len);
        }
        *ret = (str_t){.p = p, .len = n};
        return true;
    } else return false;
    if (is(part, "QUERY")) return u->has_query;
    if (is(part, "REF")) return u->has_ref;
    if (is(part, "USERINFO")) return u->has_user;
    if (is(part, "HOST") || is(part, "AUTHORITY")) return u->authority.p != NULL;
    return true;
}

err_t *kernel_parse_url(call_t *c) {
    EACH(c, i) {
        url_t u;
        str_t v;
        bool ok = url_split(arg_str(c, 0, i), &u);
        if (ok && c->nargs > 2) ok = is(arg_str(c, 1, i), "QUERY") && u.has_query && query_value(u.query, arg_str(c, 2, i), &v);
        else if (ok) ok = url_part(&u, arg_str(c, 1, i), &v, c->m);
        if (!ok) out_null(c, i);
        else c->out->str[i] = v;
    }
    return NULL;
}
