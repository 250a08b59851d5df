/* Globals of a runtime without symbols: by which functions refer to them, and what is there. */
#include <string.h>

#include "code.h"
#include "layout.h"

/* What else must hold of a candidate. */
enum check {
    UNIQUE,      /* nothing: the code leaves no other */
    SLICE,       /* a slice with something in it */
    LENGTH,      /* the word that is the length of allgs */
    DATA,        /* the word that is where the elements of allgs are */
    SLICE_OF_PS, /* a slice of *p by their numbers */
    FIRST_M,     /* m0: an m whose g0 says that it is its */
    BUCKETS,     /* the first of buckets of a kind, ARGUMENT */
    QUEUED,      /* a block of finalizers that are to be run */
    BLOCKS,      /* the first of all blocks of finalizers */
    SWEEPER,     /* has the goroutine that sweeps */
    SIZES,       /* the sizes of objects: 16 bits each, from 0, 8, 16 on */
    VALUE,       /* a word that is ARGUMENT */
};

/*
 * Which functions refer to a global, so that exactly one address is left which all of them have
 * (names without "runtime.", with alternatives "a|b"; one that a program does not have does not
 * count, but two of them must be there where nothing else is checked), and which never do. In
 * order: a check may need those before.
 */
static const struct known_global {
    const char *name, *functions, *others;
    enum check check;
    uint64_t argument;
    unsigned last, first; /* minor versions that have it; 0: no bound */
} known[] = {
    {"mheap_", "getempty.func1 freeSomeWbufs.func1 stackpoolalloc", "", UNIQUE, 0, 0, 0},
    {"gcController", "gcinit (*mcache).releaseAll (*mcache).refill", "", UNIQUE, 0, 0, 0},
    {"memstats", "(*mcache).refill (*mheap).grow (*mheap).allocSpan", "", UNIQUE, 0, 0, 0},
    {"work", "putfull trygetfull endCheckmarks", "", UNIQUE, 0, 0, 0},
    {"sched", "oneNewExtraM newproc1", "procresize needm", UNIQUE, 0, 0, 0},
    {"allgs", "forEachG allgadd", "", SLICE, 0, 0, 0},
    {"allglen", "forEachGRace allgadd", "", LENGTH, 0, 0, 0},
    {"allgptr", "forEachGRace allgadd", "", DATA, 0, 0, 0},
    {"allp", "gcMarkTinyAllocs flushmcache preemptall", "", SLICE_OF_PS, 0, 0, 0},
    {"allm", "mcommoninit mexit schedtrace", "gcstopm", UNIQUE, 0, 0, 0},
    {"m0", "mstart1 rt0_go mexit", "", FIRST_M, 0, 0, 0},
    {"mbuckets", "mProf_FlushLocked stkbucket", "", UNIQUE, 0, 0, 0},
    {"bbuckets", "stkbucket", "", BUCKETS, 2, 0, 0},
    {"xbuckets", "stkbucket", "", BUCKETS, 3, 0, 0},
    {"mProf", "mProf_FlushLocked mProf_Malloc mProf_Free", "", UNIQUE, 0, 18, 0},
    {"mProfCycle", "mProf_Free mProf_Malloc gcSweep", "", UNIQUE, 0, 0, 0},
    {"MemProfileRate", "profilealloc allocmcache", "", UNIQUE, 0, 0, 0},
    {"blockprofilerate", "blockevent chansend chanrecv", "", UNIQUE, 0, 0, 0},
    {"mutexprofilerate", "semacquire1 (*lockTimer).begin|(*mLockProfile).storeSlow", "chanrecv",
     UNIQUE, 0, 0, 0},
    {"zerobase", "SetFinalizer growslice mallocgc", "", UNIQUE, 0, 0, 0},
    {"finq", "runfinq|runFinalizers queuefinalizer", "", QUEUED, 0, 0, 0},
    {"allfin", "queuefinalizer markroot", "", BLOCKS, 0, 0, 0},
    {"fingRunning", "isSystemGoroutine runfinq", "", UNIQUE, 0, 19, 0},
    {"fingStatus", "createfing finalizercommit isSystemGoroutine", "", UNIQUE, 0, 0, 20},
    {"sweep", "bgsweep gcSweep", "", SWEEPER, 0, 0, 0},
    {"class_to_size", "updatememstats|readmemstats_m makeBucketArray|initMetrics", "", SIZES, 0, 24,
     0},
    {"internal/runtime/gc.SizeClassToSize", "readmemstats_m", "", SIZES, 0, 0, 25},
    {"forcegcperiod", "gcTrigger.test|gcStart sysmon", "", VALUE, 120000000000, 0, 0},
    {"gcCleanups", "(*activeSweep).end freeSpecial findRunnable", "", UNIQUE, 0, 0, 0},
    {"gcphase", "(*gcWork).balance freeSomeWbufs GC", "", UNIQUE, 0, 0, 0},
    {"gcBlackenEnabled", "gcParkAssist checkIdleGCNoP gcBgMarkWorker", "", UNIQUE, 0, 0, 0},
    {"writeBarrier", "makechan send closechan", "", UNIQUE, 0, 0, 0},
    {"gomaxprocs", "flushallmcaches gcBgMarkStartWorkers (*gcControllerState).enlistWorker", "",
     UNIQUE, 0, 0, 0},
    {"runtimeInitTime", "doInit|doInit1 main gcMarkTermination", "", UNIQUE, 0, 0, 0},
    {"gcCPULimiter",
     "(*gcControllerState).findRunnableGCWorker gcAssistAlloc1 gcMarkDone procresize gcStart "
     "gcMarkTermination",
     "(*wakeableSleep).close", UNIQUE, 0, 0, 0},
    {"itabTable", "itabAdd getitab", "procresize", UNIQUE, 0, 0, 0},
    {"waitReasonStrings", "schedtrace.func1 (*waitReason).String waitReason.String", "", UNIQUE, 0,
     0, 0},
    {"stackpool", "stackcacherefill stackcacherelease stackcache_clear", "", UNIQUE, 0, 0, 0},
    {"stackLarge", "freeStackSpans stackalloc stackfree", "stackpoolfree schedinit stackinit",
     UNIQUE, 0, 0, 0},
    {"semtable", "semrelease1 semacquire1", "", UNIQUE, 0, 0, 0},
    {"iscgo", "setsig minitSignalStack traceback1", "", UNIQUE, 0, 0, 0},
    {"physPageSize",
     "(*linearAlloc).alloc (*pallocData).findScavengeCandidate (*pageAlloc).sysGrow", "", UNIQUE, 0,
     0, 0},
};
#define KNOWN_COUNT   (sizeof known / sizeof *known)
#define ELEMENTS_MOST (1ull << 32)

/* What checks need. */
struct layout {
    struct ms_go_place heap_stats, p_id, m_g0, g_m, bucket_kind, block_count, block_next, sweeper;
};
#define FIELD(type, path, into) MS_GO_FIELD(struct layout, type, path, into)
static const struct ms_go_field global_fields[] = {
    FIELD("runtime.mstats", "heapStats", heap_stats),
    FIELD("runtime.p", "id", p_id),
    FIELD("runtime.m", "g0", m_g0),
    FIELD("runtime.g", "m", g_m),
    FIELD("runtime.sweepdata", "g", sweeper),
    FIELD("runtime.bucket", "typ", bucket_kind),
    FIELD("runtime.finBlock|runtime.finblock", "cnt", block_count),
    FIELD("runtime.finBlock|runtime.finblock", "alllink", block_next),
};
MS_GO_EXPORT_FIELDS(globals, global_fields)

struct search {
    const struct ms_go *go;
    struct layout layout;
    struct ms_go_code_list code;
    MS_VECTOR(uint64_t) candidates;
};

/* --- what refers to it -------------------------------------------------------------------------
 */

/* The next of the names in *TEXT, separated by one of SEPARATORS; false at the end. */
static bool next_name(const char **text, const char *separators, const char **name, size_t *length)
{
    *text += strspn(*text, separators);
    *name = *text;
    *length = strcspn(*text, separators);
    *text += *length;
    return *length > 0;
}

static ms_result want_functions(struct ms_go_code_list *list, const char *names)
{
    const char *name;
    size_t length;
    while (next_name(&names, " |", &name, &length))
        MS_TRY(ms_go_code_want(list, name, length));
    return NULL;
}

/* The first of the alternatives "a|b" that the program has; NULL: none. */
static const struct ms_go_code *one_of(const struct search *search, const char *names,
                                       size_t length)
{
    const char *const end = names + length;
    while (names < end) {
        size_t one = strcspn(names, "| ");
        const struct ms_go_code *code = ms_go_code_named(&search->code, names, one);
        if (code && code->found)
            return code;
        names += one + 1;
    }
    return NULL;
}

static bool refers_to(const struct ms_go_code *code, uint64_t address)
{
    size_t low = 0, high = code->refers.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code->refers.items[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < code->refers.count && code->refers.items[low] == address;
}

/* Of the candidates stay those that CODE refers to, or does not. */
static void keep(struct search *search, const struct ms_go_code *code, bool referred)
{
    size_t kept = 0;
    for (size_t i = 0; i < search->candidates.count; i++)
        if (refers_to(code, search->candidates.items[i]) == referred)
            search->candidates.items[kept++] = search->candidates.items[i];
    search->candidates.count = kept;
}

static ms_result find_candidates(struct search *search, const struct known_global *global)
{
    const char *names = global->functions, *name;
    size_t length;
    unsigned present = 0;
    search->candidates.count = 0;
    while (next_name(&names, " ", &name, &length)) {
        const struct ms_go_code *code = one_of(search, name, length);
        if (!code)
            continue;
        if (present++)
            keep(search, code, true);
        else
            for (size_t i = 0; i < code->refers.count; i++) {
                uint64_t *slot = ms_vector_add(&search->candidates);
                if (!slot)
                    return ms_error_nomem("globals of the runtime");
                *slot = code->refers.items[i];
            }
    }
    if (present < 2 && global->check == UNIQUE)
        search->candidates.count = 0;
    names = global->others;
    while (next_name(&names, " ", &name, &length)) {
        const struct ms_go_code *code = one_of(search, name, length);
        if (code)
            keep(search, code, false);
    }
    return NULL;
}

/* --- what is there -----------------------------------------------------------------------------
 */

static uint64_t word_at(const struct search *search, uint64_t address)
{
    uint64_t word;
    ms_image_read_word(search->go->image, address, &word);
    return word;
}

static bool is_readable(const struct search *search, uint64_t address)
{
    uint64_t word;
    return address && address % 8 == 0 && ms_image_read_word(search->go->image, address, &word);
}

static bool is_slice(const struct search *search, uint64_t address)
{
    uint64_t length = word_at(search, address + 8), capacity = word_at(search, address + 16);
    return address % 8 == 0 && length && length <= capacity && capacity < ELEMENTS_MOST &&
           is_readable(search, word_at(search, address));
}

static bool has_number(const struct search *search, uint64_t p, uint64_t number)
{
    uint64_t id;
    return ms_go_get(search->go, p, search->layout.p_id, &id) && id == number;
}

static bool is_slice_of_ps(const struct search *search, uint64_t address)
{
    uint64_t data = word_at(search, address), length = word_at(search, address + 8);
    return is_slice(search, address) && has_number(search, word_at(search, data), 0) &&
           has_number(search, word_at(search, data + 8 * (length - 1)), length - 1);
}

static bool is_first_m(const struct search *search, uint64_t address)
{
    uint64_t g0, m;
    return ms_go_get(search->go, address, search->layout.m_g0, &g0) &&
           ms_go_get(search->go, g0, search->layout.g_m, &m) && m == address;
}

static bool is_list_of_buckets(const struct search *search, uint64_t address, uint64_t kind)
{
    uint64_t bucket = word_at(search, address), found;
    return is_readable(search, bucket) &&
           ms_go_get(search->go, bucket, search->layout.bucket_kind, &found) && found == kind;
}

static uint64_t found_before(const struct search *search, const char *name)
{
    const struct ms_go_layouts *kept = search->go->layouts;
    for (size_t i = 0; i < kept->globals.count; i++)
        if (!strcmp(kept->globals.items[i].name, name))
            return kept->globals.items[i].address;
    return 0;
}

/* Is WORD of allgs at ADDRESS too, though that is not in allgs itself? */
static bool is_copy_of_allgs(const struct search *search, uint64_t address, unsigned word)
{
    uint64_t allgs = found_before(search, "allgs");
    return allgs && address - allgs >= 24 &&
           word_at(search, address) == word_at(search, allgs + 8 * word);
}

/* A block of finalizers in the chain of all, COUNTED: with some in it. */
static bool is_block(const struct search *search, uint64_t block, bool counted)
{
    uint64_t count, next;
    return is_readable(search, block) &&
           ms_go_get(search->go, block, search->layout.block_count, &count) && count < MS_PAGE &&
           (count || !counted) && ms_go_get(search->go, block, search->layout.block_next, &next) &&
           (!next || is_readable(search, next));
}

/* bgsweep() is one of the first goroutines. */
#define FIRST_GS 64u
static bool has_sweeper(const struct search *search, uint64_t address)
{
    uint64_t allgs = found_before(search, "allgs"), count = allgs ? word_at(search, allgs + 8) : 0,
             g;
    if (!ms_go_get(search->go, address, search->layout.sweeper, &g) || !g)
        return false;
    for (uint64_t i = 0; i < count && i < FIRST_GS; i++)
        if (word_at(search, word_at(search, allgs) + 8 * i) == g)
            return true;
    return false;
}

static bool has_sizes(const struct search *search, uint64_t address)
{
    static const uint16_t first[] = {0, 8, 16};
    uint16_t sizes[sizeof first / sizeof *first];
    return ms_image_read(search->go->image, address, sizes, sizeof sizes) &&
           !memcmp(sizes, first, sizeof first);
}

static bool passes(const struct search *search, const struct known_global *global, uint64_t address)
{
    switch (global->check) {
    case UNIQUE:
        return is_readable(search, address & ~7ull);
    case SLICE:
        return is_slice(search, address);
    case LENGTH:
        return is_copy_of_allgs(search, address, 1);
    case DATA:
        return is_copy_of_allgs(search, address, 0);
    case SLICE_OF_PS:
        return is_slice_of_ps(search, address);
    case FIRST_M:
        return is_first_m(search, address);
    case BUCKETS:
        return is_list_of_buckets(search, address, global->argument);
    case QUEUED:
        return is_block(search, word_at(search, address), true);
    case BLOCKS:
        return is_block(search, word_at(search, address), false);
    case SWEEPER:
        return has_sweeper(search, address);
    case SIZES:
        return has_sizes(search, address);
    case VALUE:
        return word_at(search, address) == global->argument;
    }
    return false;
}

/* The one candidate that passes; 0: none, or several. */
static uint64_t choose(const struct search *search, const struct known_global *global)
{
    uint64_t chosen = 0;
    for (size_t i = 0; i < search->candidates.count; i++) {
        uint64_t address = search->candidates.items[i];
        if (!passes(search, global, address))
            continue;
        if (chosen)
            return 0;
        chosen = address;
    }
    return chosen;
}

/* --- all of them -------------------------------------------------------------------------------
 */

static ms_result keep_found(const struct search *search, const char *name, uint64_t address)
{
    struct ms_go_found *found = address ? ms_vector_add(&search->go->layouts->globals) : NULL;
    if (found)
        *found = (struct ms_go_found){name, address};
    return found || !address ? NULL : ms_error_nomem("globals of the runtime");
}

static ms_result find_all(struct search *search)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        MS_TRY(want_functions(&search->code, known[i].functions));
        MS_TRY(want_functions(&search->code, known[i].others));
    }
    MS_TRY(ms_go_code_read(search->go, &search->code));
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        if (search->go->minor < known[i].first ||
            (known[i].last && search->go->minor > known[i].last))
            continue;
        MS_TRY(find_candidates(search, &known[i]));
        uint64_t address = choose(search, &known[i]);
        /* The code has the address of its statistics, which to 1.18 are not its first field. */
        if (address && !strcmp(known[i].name, "memstats"))
            address -= search->layout.heap_stats.offset;
        MS_TRY(keep_found(search, known[i].name, address));
    }
    /* rt0_go makes g0 the one of m0. */
    uint64_t g0, m0 = found_before(search, "m0");
    if (m0 && ms_go_get(search->go, m0, search->layout.m_g0, &g0))
        MS_TRY(keep_found(search, "g0", g0));
    if (search->go->modules.count)
        MS_TRY(keep_found(search, "firstmoduledata", search->go->modules.items[0].address));
    return NULL;
}

uint64_t ms_go_find_global(const struct ms_go *go, const char *name)
{
    struct search search = {.go = go};
    if (!go->layouts->searched) {
        go->layouts->searched = true;
        struct ms_error *error =
            ms_go_bind((struct ms_go *)go, global_fields,
                       sizeof global_fields / sizeof *global_fields, &search.layout);
        if (!error)
            error = find_all(&search);
        ms_error_free(error); /* nothing found is nothing known */
        ms_go_code_free(&search.code);
        ms_vector_free(&search.candidates);
    }
    return found_before(&search, name);
}
