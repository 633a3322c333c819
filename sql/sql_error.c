/* sql_error.c: an error under the line it is about. */
#include "sql/sql.h"

/* Begin and length of line number `line`, from 1; the last line when there are fewer. */
static const char *find_line(const char *text, int line, size_t *ret_len) {
    const char *p = text;
    for (int i = 1; i < line; i++) {
        const char *nl = strchr(p, '\n');
        if (!nl) break;
        p = nl + 1;
    }
    *ret_len = strcspn(p, "\r\n");
    return p;
}

#define LINE_MAX_SHOWN 300

static void caret(buf_t *out, const char *line, size_t len, int col) {
    size_t at = 0;
    for (int i = 1; i < col && at < len; i++) {
        buf_put_u8(out, line[at] == '\t' ? '\t' : ' '); /* tabs stay tabs, so the caret meets its column */
        at++;
        while (at < len && ((unsigned char)line[at] & 0xC0) == 0x80) at++;
    }
    buf_puts(out, "^\n");
}

void sql_error_print(buf_t *out, const err_t *e, const char *text, const char *file) {
    int line = err_line(e), col = err_col(e);
    if (file) buf_printf(out, "%s:", file);
    if (line) buf_printf(out, "%d:%d:", line, col);
    buf_printf(out, "%s%s\n", file || line ? " " : "", err_text(e));
    if (line && text) {
        size_t len;
        const char *p = find_line(text, line, &len);
        if (len <= LINE_MAX_SHOWN) {
            buf_printf(out, "%.*s\n", (int)len, p);
            caret(out, p, len, col);
        }
    }
    if (err_hint_text(e)) buf_printf(out, "hint: %s\n", err_hint_text(e));
}
