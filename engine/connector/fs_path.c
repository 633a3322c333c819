/* fs_path.c: paths and partition directories of the filesystem connector. */
#include "engine/connector/connector.h"
#include <stdlib.h>

err_t *fs_local_path(const table_t *t, char **ret) {
    const char *path;
    TRY(option_required(t, "path", &path));
    if (strncmp(path, "file:", 5) == 0) {
        path += 5;
        if (strncmp(path, "//", 2) == 0) {
            path += 2;
            if (*path != '/') /* file://host/.. */
                return err_new(ERR_UNSUPPORTED, "table %s: path '%s' names a host; only local files are read", t->name, path);
        }
    } else {
        const char *colon = strstr(path, "://");
        if (colon)
            return err_hint(err_new(ERR_UNSUPPORTED, "table %s: paths with '%.*s://' are not supported", t->name,
                                    (int)(colon - path), path), "use a local path or file:///..");
    }
    size_t n = strlen(path);
    if (!n) return err_new(ERR_INVALID, "table %s: option 'path' is empty", t->name);
    while (n > 1 && path[n - 1] == '/') n--;
    *ret = xstrndup(path, n);
    return NULL;
}

/* Hive's list of characters that directory names do not take as they are. */
void fs_escape(buf_t *out, const char *p, size_t n) {
    static const char special[] = "\"#%'*/:=?\\{}[]^";
    for (size_t k = 0; k < n; k++) {
        uint8_t c = (uint8_t)p[k];
        if (c < 0x20 || c == 0x7f || strchr(special, c)) buf_printf(out, "%%%02X", c);
        else buf_put_u8(out, c);
    }
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *fs_partition_value(const char *path, const char *name) {
    size_t n = strlen(name);
    const char *found = NULL;
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        const char *slash = strchr(p, '/');
        if (slash && strncmp(p, name, n) == 0 && p[n] == '=') found = p + n + 1;
    }
    if (!found) return NULL;
    size_t len = strcspn(found, "/"), at = 0;
    char *v = xmalloc(len + 1);
    for (size_t k = 0; k < len; k++) {
        if (found[k] == '%' && k + 2 < len && hex(found[k + 1]) >= 0 && hex(found[k + 2]) >= 0) {
            v[at++] = (char)(hex(found[k + 1]) << 4 | hex(found[k + 2]));
            k += 2;
        } else {
            v[at++] = found[k];
        }
    }
    v[at] = 0;
    return v;
}

const char *fs_default_partition(const table_t *t) {
    const char *name = options_get(&t->options, "partition.default-name");
    return name ? name : "__DEFAULT_PARTITION__";
}
