/* meta_store_etcd.h: the metadata store in etcd 3.4 or later, for coordinators that stand by for one another.
 *
 * Keys, all below /tidegate/<cluster>/
 *   leader            under a lease; {"v":1,"name":..,"nonce":..,"beat_ms":..}; its create_revision is the leader epoch
 *   beat              under the same lease; a counter the leader raises, so that others see it live
 *   jobs/<id>/record  jobs/<id>/attempt  jobs/<id>/last     id: 16 hex digits; values as in meta_store.c
 *
 * The fence. A transaction whose answer is lost may still take effect much later, so reading the keys does not settle it. Every write
 * compares the leader key's create_revision *and* its mod_revision; after a lost answer the leader key is first written again. From
 * then on the lost transaction can never take effect: what is read after that is final, and the write is answered or made again. While
 * etcd cannot be reached for that, the answer is STORE_UNKNOWN, and the next write of whatever job begins with the fence.
 *
 * Taking over. A lease lasts two seconds at least, and a dead leader's as long as that. With `connect` a standby also speaks to the leader
 * directly (PROBE and ALIVE of proto/control.h) and revokes the lease when `leader_dead` says so (etcd_leader.c): the direct line *and* the
 * beat in etcd have stood still, and the term is not young. Coordinators that hear one another in one direction only, or whose etcd is slow,
 * so do not push each other out (hazards B6); who lost a lease waits, doubling, before it campaigns again.
 *
 * Losing leadership: when etcd says so (a keep-alive without a lease, a refused compare), or after `give_up_ms` without a word from
 * etcd. An etcd that restarts meanwhile keeps its leases, so a shorter outage costs no term. */
#pragma once
#include "coordinator/meta_store.h"
#include "proto/link.h"

typedef struct meta_etcd_conf {
    const char *endpoints;    /* URL[,URL]: taken in turn when one fails */
    const char *cluster;      /* letters, digits, '.', '_', '-' */
    const char *name;         /* of this process: the address others reach it by */
    /* 0: the default. Units: milliseconds but for ttl_s. */
    int ttl_s;                /* 2, the least etcd grants; */
    int beat_ms;              /* a third of the TTL; 100 with `connect`: three are missed before a take-over */
    int poll_ms;              /* 250; 50 with `connect`: how often a standby looks */
    int silence_ms;           /* 1000: a leader that keeps its connection but answers nothing for so long is hung */
    int request_ms;           /* 1500: one HTTP request */
    int operation_ms;         /* 5000: deadline of a call */
    int give_up_ms;           /* five TTLs */
    int compact_ms;           /* 60000: history older than that is compacted, of the *whole* etcd: give Tidegate its own */
    int minimum_term_ms;      /* 3000: no standby revokes a younger leader's lease */
    /* Opens a link to the coordinator of this name (rpc_connect); NULL: standbys wait for leases to expire. Store's thread. */
    err_t *(*connect)(void *arg, const char *name, const link_handler_t *h, link_t **ret);
    void (*notice)(void *arg, const char *text); /* for the log; any thread; NULL: none */
    void *arg;
} meta_etcd_conf_t;

/* Copies conf; does not touch the network: campaign waits until etcd answers. ERR_INVALID. */
err_t *meta_store_etcd_open(const meta_etcd_conf_t *conf, meta_store_t **ret);

/* Tests: stands still as under SIGSTOP; ends without giving the lease back, as under SIGKILL (frees m). */
void meta_store_etcd_pause(meta_store_t *m, bool pause);
void meta_store_etcd_abandon(meta_store_t *m);
