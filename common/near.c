#include "common/near.h"

#include <ctype.h>

#define NEAR_LEN_MAX 64

/* Edit distance with swaps of neighbours, letters of other case at no cost. */
static int distance(const char *a, size_t n, const char *b, size_t m) {
    int rows[3][NEAR_LEN_MAX + 1];
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++) last[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            int best = MIN(last[j] + 1, now[j - 1] + 1);
            best = MIN(best, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]))
                best = MIN(best, before[j - 2] + 1);
            now[j] = best;
        }
        int *t = before;
        before = last;
        last = now;
        now = t;
    }
    return last[m];
}

void near_offer(near_t *n, const char *word) {
    size_t len = strlen(n->wanted), m = strlen(word);
    if (len == 0 || len > NEAR_LEN_MAX || m > NEAR_LEN_MAX) return;
    int d = distance(n->wanted, len, word, m);
    if (d > (int)(MAX(len, m) + 2) / 3) return;
    if (n->best && d >= n->distance) return;
    n->best = word;
    n->distance = d;
}

const char *near_word(const near_t *n) { return n->best; }
