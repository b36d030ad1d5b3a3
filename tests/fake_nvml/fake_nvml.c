/* A stand-in for the NVIDIA driver's library: it reads a file at every call, so that a test can move a card's memory,
 * lose a card or hang one while resgate runs.
 *
 *   cc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c
 *
 * $FAKE_NVML_FILE has a line each:
 *   init RC               what nvmlInit answers: 9 no driver, 18 driver and library don't match
 *   inithang              nvmlInit never answers
 *   gpu USED TOTAL MODE   a card, in MiB; MODE is ok, lost, hang, unsupported (no memory of its own), nouuid or mig
 *   part GPU USED TOTAL   a MIG device of card GPU
 *   proc GPU PID USED     a process that computes on card GPU, in MiB
 *
 * With -DOLD there is no nvmlDeviceGetMemoryInfo_v2, as in drivers before 510.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15 };
enum { MAX = 32 };

typedef struct { int index, parent; char mode[16]; unsigned long long used, total; } card;
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;

static card cards[MAX], parts[MAX];
static struct { int gpu; unsigned pid; unsigned long long used; } procs[MAX];
static int n_cards, n_parts, n_procs, init_rc, init_hang;

static void load(void)
{
    char line[256];
    const char *path = getenv("FAKE_NVML_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    n_cards = n_parts = n_procs = init_rc = init_hang = 0;
    while (file && fgets(line, sizeof line, file)) {
        card *c = &cards[n_cards], *p = &parts[n_parts];
        if (sscanf(line, "gpu %llu %llu %15s", &c->used, &c->total, c->mode) == 3)
            c->index = n_cards++, c->parent = -1;
        else if (sscanf(line, "part %d %llu %llu", &p->parent, &p->used, &p->total) == 3)
            p->index = n_parts++, strcpy(p->mode, "ok");
        else if (sscanf(line, "proc %d %u %llu", &procs[n_procs].gpu, &procs[n_procs].pid, &procs[n_procs].used) == 3)
            n_procs++;
        else if (!strncmp(line, "inithang", 8))
            init_hang = 1;
        else
            sscanf(line, "init %d", &init_rc);
    }
    if (file)
        fclose(file);
}

static int is(const card *c, const char *mode) { return !strcmp(c->mode, mode); }

static int look(const card *c)
{
    load();
    while (is(c, "hang"))
        pause();
    return is(c, "lost") ? LOST : is(c, "unsupported") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlInit_v2(void)
{
    load();
    while (init_hang)
        pause();
    return init_rc;
}
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { load(); *count = n_cards; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, card **c)
{
    load();
    if (index >= (unsigned)n_cards)
        return INVALID;
    *c = &cards[index];
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(card *c, memory_v1 *m)
{
    int rc = look(c);
    m->total = c->total << 20, m->used = c->used << 20, m->free = m->total - m->used;
    return rc;
}
#ifndef OLD
int nvmlDeviceGetMemoryInfo_v2(card *c, memory_v2 *m)
{
    int rc = look(c);
    m->total = c->total << 20, m->used = c->used << 20, m->free = m->total - m->used, m->reserved = 0;
    return rc;
}
#endif
int nvmlDeviceGetUUID(card *c, char *text, unsigned size)
{
    if (is(c, "lost"))
        return LOST;
    if (is(c, "nouuid"))
        return NOT_SUPPORTED;
    if (c->parent >= 0)
        snprintf(text, size, "MIG-%08d-0000-0000-0000-%012d", c->parent, c->index);
    else
        snprintf(text, size, "GPU-%08d-0000-0000-0000-%012d", c->index, c->index);
    return SUCCESS;
}
int nvmlDeviceGetName(card *c, char *text, unsigned size)
{
    snprintf(text, size, "Fake GPU %d", c->index);
    return SUCCESS;
}
int nvmlDeviceGetMigMode(card *c, unsigned *current, unsigned *pending)
{
    *current = *pending = is(c, "mig");
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(card *c, unsigned *count) { (void)c; *count = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(card *c, unsigned index, card **part)
{
    int seen = 0;
    for (int i = 0; i < n_parts; i++)
        if (parts[i].parent == c->index && (unsigned)seen++ == index) {
            *part = &parts[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}
int nvmlDeviceGetComputeRunningProcesses_v3(card *c, unsigned *count, process *list)
{
    unsigned room = list ? *count : 0, n = 0;
    load();
    for (int i = 0; i < n_procs; i++)
        if (procs[i].gpu == c->index) {
            if (n < room)
                list[n] = (process){ procs[i].pid, procs[i].used << 20, -1, -1 };
            n++;
        }
    *count = n;
    return n > room ? TOO_SMALL : SUCCESS;
}
