/* codec_int.h: conversions shared by the codecs; private to proto/. Encoding builds protobuf structs in an arena with strings borrowed from the
 * message; decoding copies. "" and NULL are the same on the wire: fields where NULL means something decode "" as NULL. */
#pragma once
#include "control.pb-c.h"
#include "proto/control.h"

#define PB_NEW(a, Type, INIT)                                                                      \
    ({                                                                                             \
        Type *pb_ = arena_alloc((a), sizeof(Type));                                                \
        *pb_ = (Type)INIT;                                                                         \
        pb_;                                                                                       \
    })
/* repeated field: dst->field[] = conv(a, &src[i]) */
#define PB_REPEAT(a, dst, field, n, conv, src)                                                     \
    do {                                                                                           \
        (dst)->n_##field = (size_t)(n);                                                            \
        (dst)->field = arena_alloc((a), sizeof *(dst)->field * (size_t)(n) + 1);                   \
        for (size_t i_ = 0; i_ < (size_t)(n); i_++) (dst)->field[i_] = conv((a), &(src)[i_]);      \
    } while (0)
#define PB_READ(dst, count, src, field, conv)                                                      \
    do {                                                                                           \
        (count) = (int)(src)->n_##field;                                                           \
        (dst) = xcalloc((src)->n_##field, sizeof *(dst));                                          \
        for (size_t i_ = 0; i_ < (src)->n_##field; i_++) (dst)[i_] = conv((src)->field[i_]);       \
    } while (0)

static inline char *pb_text(const char *s) { return (char *)(s ? s : ""); }
static inline char *pb_copy(const char *s) { return xstrdup(s ? s : ""); }
static inline char *pb_copy_or_null(const char *s) { return s && *s ? xstrdup(s) : NULL; }

Tidegate__Error *pb_error(arena_t *a, const err_t *e); /* NULL for NULL */
err_t *pb_read_error(const Tidegate__Error *p) NODISCARD;
Tidegate__JobSpec *pb_spec(arena_t *a, const job_spec_t *s);
job_spec_t pb_read_spec(const Tidegate__JobSpec *p); /* p may be NULL */
void pb_pack(buf_t *out, const ProtobufCMessage *m);
