/* What goroutines wait for, in words: the runtime's own, else those of its version. */
#include <string.h>

#include "goroutines.h"

/*
 * waitReasonStrings of src/runtime/runtime2.go in the order of the constants; SINCE and UNTIL are
 * the minor versions that have it there, 0: no bound.
 */
static const struct {
    const char *text;
    uint8_t since, until;
} reasons[] = {
    {"", 0, 0},
    {"GC assist marking", 0, 0},
    {"IO wait", 0, 0},
    {"chan receive (nil chan)", 0, 25},
    {"chan send (nil chan)", 0, 25},
    {"dumping heap", 0, 0},
    {"garbage collection", 0, 0},
    {"garbage collection scan", 0, 0},
    {"panicwait", 0, 0},
    {"select", 0, 25},
    {"select (no cases)", 0, 25},
    {"GC assist wait", 0, 0},
    {"GC sweep wait", 0, 0},
    {"GC scavenge wait", 0, 0},
    {"chan receive", 0, 25},
    {"chan send", 0, 25},
    {"finalizer wait", 0, 0},
    {"force gc (idle)", 0, 0},
    {"GOMAXPROCS updater (idle)", 25, 0},
    {"semacquire", 0, 0},
    {"sleep", 0, 0},
    {"chan receive (nil chan)", 26, 0},
    {"chan send (nil chan)", 26, 0},
    {"select (no cases)", 26, 0},
    {"select", 26, 0},
    {"chan receive", 26, 0},
    {"chan send", 26, 0},
    {"sync.Cond.Wait", 0, 0},
    {"timer goroutine (idle)", 0, 19},
    {"sync.Mutex.Lock", 20, 0},
    {"sync.RWMutex.RLock", 20, 0},
    {"sync.RWMutex.Lock", 20, 0},
    {"sync.WaitGroup.Wait", 24, 0},
    {"trace reader (blocked)", 0, 0},
    {"wait for GC cycle", 0, 0},
    {"GC worker (idle)", 0, 0},
    {"GC worker (active)", 20, 0},
    {"preempted", 0, 0},
    {"debug call", 0, 0},
    {"GC mark termination", 20, 0},
    {"stopping the world", 20, 0},
    {"flushing proc caches", 22, 0},
    {"trace goroutine status", 22, 0},
    {"trace proc status", 22, 0},
    {"page trace flush", 22, 0},
    {"coroutine", 22, 0},
    {"GC weak to strong wait", 23, 0},
    {"synctest.Run", 24, 0},
    {"synctest.Wait", 24, 0},
    {"chan receive (synctest)", 24, 24},
    {"chan send (synctest)", 24, 24},
    {"select (synctest)", 24, 24},
    {"chan receive (durable)", 25, 0},
    {"chan send (durable)", 25, 0},
    {"select (durable)", 25, 0},
    {"sync.WaitGroup.Wait (durable)", 25, 0},
    {"cleanup wait", 25, 0},
};

const char *ms_go_wait_reason_of(unsigned minor, uint8_t number)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (minor >= reasons[i].since && (!reasons[i].until || minor <= reasons[i].until) &&
            number-- == 0)
            return reasons[i].text;
    return "unknown wait reason";
}
