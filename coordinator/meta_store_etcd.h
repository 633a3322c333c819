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
 * Losing leadership: when etcd says so (a keep-alive without a lease, a refused compare), or after `give_up_ms` without a word from
 * etcd. An etcd that restarts meanwhile keeps its leases, so a shorter outage costs no term. */
#pragma once
#include "coordinator/meta_store.h"

typedef struct meta_etcd_conf {
    const char *endpoints;    /* URL[,URL]: taken in turn when one fails */
    const char *cluster;      /* letters, digits, '.', '_', '-' */
    const char *name;         /* of this process: the address others reach it by */
    /* 0: the default. Units: milliseconds but for ttl_s. */
    int ttl_s;                /* 2, the least etcd grants; */
    int beat_ms;              /* a third of the TTL; 250 with `unreachable` */
    int poll_ms;              /* 250: how often a standby looks */
    int request_ms;           /* 1500: one HTTP request */
    int operation_ms;         /* 5000: deadline of a call */
    int give_up_ms;           /* five TTLs */
    int compact_ms;           /* 60000: history older than that is compacted, of the *whole* etcd: give Tidegate its own */
    int minimum_term_ms;      /* 3000: no standby revokes a younger leader's lease */
    /* Whether the leader of this name cannot be reached; NULL: standbys wait for the lease to expire. Asked only while the leader's beat
     * has stood still for three beats; if so, its lease is revoked. Store's thread; must answer from what is known. */
    bool (*unreachable)(void *arg, const char *leader_name);
    void (*notice)(void *arg, const char *text); /* for the log; any thread; NULL: none */
    void *arg;
} meta_etcd_conf_t;

/* Copies conf; does not touch the network: campaign waits until etcd answers. ERR_INVALID. */
err_t *meta_store_etcd_open(const meta_etcd_conf_t *conf, meta_store_t **ret);

/* Tests: stands still as under SIGSTOP; ends without giving the lease back, as under SIGKILL (frees m). */
void meta_store_etcd_pause(meta_store_t *m, bool pause);
void meta_store_etcd_abandon(meta_store_t *m);
